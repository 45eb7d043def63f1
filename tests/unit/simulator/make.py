"""Venues and desks for tests, with one share that stands where it is put."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from pulse_adapters.simulator.catalog import Catalog, Listing, LotContracts
from pulse_adapters.simulator.clock import VenueClock
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.entries import Arrived, Entry, Opened, Placed
from pulse_adapters.simulator.faults import FaultRule, Faults
from pulse_adapters.simulator.journal import Journal
from pulse_adapters.simulator.pace import INSTANT, Pace
from pulse_adapters.simulator.prices import Pinned, Prices
from pulse_adapters.simulator.values import Ask, Record, Terms
from pulse_adapters.simulator.venue import Venue, trading_day
from pulse_domain.errors import MarketDataUnavailable
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.matching import Tick
from pulse_domain.orders.model import OrderType, Product, Side
from pulse_domain.ports.market_data import Quote
from pulse_domain.testing.fake_clock import FakeClock

INFY = Instrument(Exchange.NSE, "INFY")
CRUDE = Instrument(Exchange.MCX, "CRUDEOIL26DECFUT")
START = datetime(2026, 11, 20, 4, 30, tzinfo=UTC)  # 10:00 in India
CATALOG = Catalog(
    [
        Listing(
            instrument=INFY, token=408065, exchange_token=1594, tick_size=Decimal("0.05"), segment="NSE",
            freeze_quantity=10_000,
        ),
        Listing(
            instrument=CRUDE, token=100_103, exchange_token=391, tick_size=Decimal(1), segment="MCX-FUT",
            kind="FUT", expiry=date(2026, 12, 18),
        ),
    ]
)  # fmt: skip


def limit(quantity: int = 10, price: int | str = 1400, **more: Any) -> Terms:
    return Terms(quantity=quantity, order_type=OrderType.LIMIT, limit_price=Decimal(price), **more)


def ask(terms: Terms | None = None, side: Side = Side.BUY, **more: Any) -> Ask:
    fields: dict[str, Any] = {"instrument": INFY, "product": Product.MIS, "label": "MIS", **more}
    return Ask(side=side, terms=terms or limit(), **fields)


def tick(price: int | str, at: datetime = START, **more: Any) -> Tick:
    value = Decimal(price)
    return Tick(instrument=more.pop("instrument", INFY), at=at, price=value, bid=value, ask=value, **more)


class Stage:
    """A venue and the entries that made it, a second apart."""

    def __init__(self, capital: int = 10_000_000, **opened: Any) -> None:
        self.venue = Venue(LotContracts())
        self.entries: list[Entry] = []
        self.now = START
        self.apply(Opened(at=self.now, capital=Decimal(capital), **opened))

    def apply(self, entry: Entry) -> None:
        self.venue.apply(entry)
        self.entries.append(entry)

    def later(self, seconds: float = 1.0) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    def place(self, asked: Ask, **more: Any) -> Record:
        self.apply(Placed(at=self.later(), ask=asked, worth=Decimal(1500), **more))
        return list(self.venue.records.values())[-1]

    def arrive(self, record: Record, price: int | str | None = 1500) -> Record:
        at = self.later()
        met = None if price is None else tick(price, at, instrument=record.ask.instrument)
        self.apply(Arrived(at=at, order_id=record.order_id, tick=met))
        return record

    def rested(self, asked: Ask | None = None, price: int | str | None = 1500) -> Record:
        return self.arrive(self.place(asked or ask()), price)


class FixedMarket:
    """No prices but those pinned by hand."""

    async def quote(self, instrument: Instrument) -> Quote:
        raise MarketDataUnavailable(f"there is no price for {instrument}")


def make_desk(
    folder: Path,
    clock: FakeClock,
    *,
    pace: Pace = INSTANT,
    rules: tuple[FaultRule, ...] = (),
    price: str = "1500",
    wrap: Callable[[Journal], Journal] = lambda journal: journal,
) -> tuple[Desk, Journal]:
    journal = wrap(Journal(folder / "journal.db"))
    venue_clock = VenueClock(clock)
    prices = Prices(FixedMarket(), venue_clock.now, CATALOG.tick_size, trading_day)
    prices.pin(INFY, Pinned(last_price=Decimal(price)))
    desk = Desk(journal, CATALOG, prices, venue_clock, Random(1), pace, Faults(Random(2), rules))
    return desk, journal
