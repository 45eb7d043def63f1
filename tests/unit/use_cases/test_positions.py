"""What is held and what came of it, as read from a store, a board of prices and stored candles."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from pulse_domain.candles import ClosedCandle
from pulse_domain.charges import NO_CHARGES, ZERODHA, ChargesSchedule, charges_at
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId, ClientId
from pulse_domain.orders.model import Product, Side
from pulse_domain.ports.order_store import Booking, BookResult
from pulse_domain.positions import LedgerFill, charges_of_fills, fold, total
from pulse_domain.risk import PriceFacts, ResultFacts
from pulse_domain.testing.factories import split_order
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_market_data import InMemoryCandleStore
from pulse_domain.testing.memory_prices import InMemoryPriceBoard
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.sequential_ids import SequentialIds
from pulse_domain.use_cases.positions import DayResult, PositionReport, ReadPositions, Result

TCS, INFY = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:INFY")
BUY, SELL = Side.BUY, Side.SELL
# A morning in India.
NOW = datetime(2026, 1, 6, 4, 0, tzinfo=UTC)
DAY = timedelta(days=1)
DESK = ClientId("desk-1")


class House:
    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.store = InMemoryOrderStore(self.clock)
        self.prices = InMemoryPriceBoard()
        self.candles = InMemoryCandleStore()
        self.ids = SequentialIds()
        self._trades = 0

    async def trade(
        self,
        side: Side,
        quantity: int,
        price: str,
        *,
        at: datetime = NOW,
        tag: str | None = "macd",
        instrument: Instrument = TCS,
        product: Product = Product.MIS,
        client: ClientId = DESK,
    ) -> None:
        """An order that is filled by one trade."""
        self._trades += 1
        order = await split_order(
            self.store, self.ids, total_quantity=quantity, side=side, strategy_tag=tag, instrument=instrument,
            product=product, client_id=client,
        )  # fmt: skip
        await self.store.claim_executions(1, "executor", 60.0)
        fill = ev.Fill(
            trade_id=f"T-{self._trades}",
            broker_order_id=BrokerOrderId(f"B-{self._trades}"),
            quantity=quantity,
            price=Decimal(price),
            at=at,
        )
        booking = Booking(order_id=order.order_id, event=ev.ExecutionFilled(seq=1, chunk=0, fill=fill))
        assert [booked.result for booked in await self.store.book([booking])] == [BookResult.APPLIED]

    async def price(self, price: str, instrument: Instrument = TCS, *, age_s: float = 1.0) -> None:
        at = self.clock.now() - timedelta(seconds=age_s)
        await self.prices.publish({instrument: PriceFacts(at=at, last_price=Decimal(price))})

    async def close(self, price: str, at: datetime, instrument: Instrument = TCS) -> None:
        """A candle of a quarter of an hour that ends at a price."""
        amount = Decimal(price)
        candle = Candle(instrument, at, amount, amount, amount, amount, 1)
        await self.candles.save([ClosedCandle(instrument, 15, at, candle)])

    def reading(self, charges: ChargesSchedule | None = NO_CHARGES) -> ReadPositions:
        return ReadPositions(self.store, self.prices, charges, self.candles)

    def day(self, charges: ChargesSchedule | None = NO_CHARGES) -> DayResult:
        return DayResult(self.store, self.prices, charges, self.candles)


@pytest.fixture
def house() -> House:
    return House()


def shown(report: PositionReport) -> list[tuple[Any, ...]]:
    return [
        (
            it.key.strategy_tag,
            str(it.key.instrument),
            it.standing.quantity,
            it.result.realised,
            it.result.unrealised,
        )
        for it in report.positions
    ]


def told(*amounts: Any) -> tuple[Any, ...]:
    """So that decimals can be compared with plain numbers."""
    return amounts


def of(realised: str | None, unrealised: str | None, charges: str | None = "0") -> Result:
    amounts = [None if it is None else Decimal(it) for it in (realised, unrealised, charges)]
    return Result(realised=amounts[0], unrealised=amounts[1], charges=amounts[2])


async def test_nothing_was_traded(house: House) -> None:
    report = await house.reading()()

    assert (report.at, report.positions, report.strategies) == (NOW, (), {})
    assert report.overall == of("0", "0")
    assert report.today.net == 0


async def test_positions_and_results_by_strategy(house: House) -> None:
    await house.trade(BUY, 10, "100", tag="rsi", instrument=INFY)
    await house.trade(BUY, 10, "100")
    await house.trade(SELL, 4, "110")
    await house.price("105")
    await house.price("90", INFY)

    report = await house.reading()()

    assert shown(report) == [("macd", "NSE:TCS", 6, 40, 30), ("rsi", "NSE:INFY", 10, 0, -100)]
    assert report.strategies == {"macd": of("40", "30"), "rsi": of("0", "-100")}
    assert told(report.overall, report.overall.net) == (of("40", "-70"), -30)
    assert told(report.today.realised, report.today.unrealised, report.today.net) == (40, -70, -30)
    assert report.positions[0].traded_at == NOW


async def test_one_strategy_and_one_client_are_told_alone(house: House) -> None:
    await house.trade(BUY, 10, "100")
    await house.trade(BUY, 3, "100", tag="rsi")
    await house.trade(SELL, 2, "100", client=ClientId("desk-2"))

    macd = await house.reading()(strategy_tag="macd")
    desk = await house.reading()(DESK)

    assert [it.standing.quantity for it in macd.positions] == [8]
    assert set(macd.strategies) == {"macd"}
    assert [it.standing.quantity for it in desk.positions] == [10, 3]
    assert await house.reading().held("macd") == {(TCS, Product.MIS): 8}
    assert await house.reading().held(None) == {}
    assert await house.reading().held_by_all() == {(TCS, Product.MIS): 11}
    begins, carried = await house.reading().carried(TCS, Product.MIS)
    assert carried + sum((await house.store.units_since(begins)).values()) == 11


async def test_what_is_flat_is_not_held(house: House) -> None:
    await house.trade(BUY, 10, "100")
    await house.trade(SELL, 10, "100", tag="rsi")
    await house.trade(SELL, 5, "100", instrument=INFY, product=Product.CNC)

    assert await house.reading().held_by_all() == {(INFY, Product.CNC): -5}
    assert await house.reading().held("rsi") == {(TCS, Product.MIS): -10}


@pytest.mark.parametrize(("age_s", "stale"), [(60.0, False), (61.0, True), (-60.0, False), (-61.0, True)])
async def test_an_old_price_is_shown_and_does_not_count(house: House, age_s: float, stale: bool) -> None:
    await house.trade(BUY, 10, "100")
    await house.price("105", age_s=age_s)

    report = await house.reading()()

    [position] = report.positions
    assert position.price is not None
    assert told(position.price.last_price, position.stale) == (105, stale)
    assert position.result.unrealised == (None if stale else 50)
    assert report.overall.net == (None if stale else 50)


async def test_without_a_board_nothing_open_has_a_result(house: House) -> None:
    await house.trade(BUY, 10, "100")
    await house.trade(SELL, 10, "101")
    await house.trade(BUY, 10, "100", tag="rsi")

    report = await ReadPositions(house.store, None, NO_CHARGES)()

    assert report.strategies == {"macd": of("10", "0"), "rsi": of("0", None)}
    assert [(it.price, it.stale) for it in report.positions] == [(None, False), (None, False)]


async def test_what_was_closed_on_an_earlier_day_is_listed_only_where_asked_for(house: House) -> None:
    await house.trade(BUY, 10, "100", at=NOW - DAY)
    await house.trade(SELL, 10, "101", at=NOW - DAY)
    await house.trade(BUY, 1, "100", instrument=INFY, at=NOW - DAY)
    await house.trade(BUY, 2, "100", tag="rsi")
    await house.trade(SELL, 2, "103", tag="rsi")

    usual, whole = await house.reading()(), await house.reading()(closed=True)

    assert [str(it.key.instrument) for it in usual.positions] == ["NSE:INFY", "NSE:TCS"]
    assert len(whole.positions) == 3
    assert usual.strategies == whole.strategies
    assert whole.strategies["rsi"] == of("6", "0")
    assert usual.today.realised == 6


async def test_charges_come_off_and_are_not_guessed(house: House) -> None:
    await house.trade(BUY, 10, "100")
    await house.trade(SELL, 10, "110")

    charged = await house.reading(ZERODHA)()
    unknown = await house.reading(charges_at("kotak"))()

    assert charged.overall.charges is not None
    assert charged.overall.charges > 0
    assert charged.overall.net == 100 - charged.overall.charges
    assert charged.today.net == charged.overall.net
    assert told(unknown.overall.realised, unknown.overall.charges, unknown.overall.net) == (100, None, None)
    assert (unknown.today.net, unknown.today.facts) == (None, None)


async def test_what_is_charged_once_a_day_is_charged_to_one_whoever_looks(house: House) -> None:
    for tag in ("macd", "rsi"):
        await house.trade(BUY, 10, "100", tag=tag, product=Product.CNC, at=NOW - DAY)
    for tag in ("macd", "rsi"):
        await house.trade(SELL, 10, "100", tag=tag, product=Product.CNC)
    reading = house.reading(ZERODHA)

    whole = await reading()
    alone = [(await reading(strategy_tag=tag)).overall.charges for tag in ("macd", "rsi")]

    assert [whole.strategies[tag].charges for tag in ("macd", "rsi")] == alone
    assert alone[0] is not None
    assert alone[1] is not None
    assert alone[0] - alone[1] == Decimal("15.34")


# --- the day


async def test_the_day_counts_what_was_done_on_it(house: House) -> None:
    await house.trade(BUY, 10, "90", at=NOW - DAY)
    await house.trade(SELL, 10, "100", at=NOW - DAY)
    await house.trade(SELL, 10, "100", tag="rsi")
    await house.trade(BUY, 4, "98", tag="rsi")
    await house.price("99")

    day = await house.day()(house.clock.now())

    assert told(day.realised, day.unrealised, day.charges, day.net) == (8, 6, 0, 14)
    assert day.facts == ResultFacts(at=NOW, net=Decimal(14))


async def test_a_day_begins_at_midnight_in_india(house: House) -> None:
    midnight = datetime(2026, 1, 5, 18, 30, tzinfo=UTC)
    await house.trade(BUY, 1, "100", at=midnight - timedelta(microseconds=1))
    await house.trade(SELL, 1, "107", at=midnight)

    assert (await house.day()(NOW)).realised == 7
    assert (await house.day()(midnight - timedelta(seconds=1))).realised == 0


async def test_what_was_held_overnight_counts_from_the_last_close(house: House) -> None:
    await house.trade(BUY, 10, "100", at=NOW - 5 * DAY)
    await house.close("118", NOW - 2 * DAY)
    await house.close("120", NOW - DAY)
    await house.close("500", NOW)  # of this day
    await house.price("117")

    held = await house.day()(NOW)
    await house.trade(SELL, 10, "119")
    sold = await house.day()(NOW)

    assert told(held.realised, held.unrealised, held.net) == (0, -30, -30)
    # The sale realises what came of all days; of this one it is the step from 120 to 119.
    assert told(sold.realised, sold.unrealised, sold.net) == (190, -200, -10)


async def test_without_a_close_what_was_held_overnight_counts_from_its_cost(house: House) -> None:
    await house.trade(BUY, 10, "100", at=NOW - 5 * DAY)
    await house.price("117")

    assert (await house.day()(NOW)).net == 170
    assert (await DayResult(house.store, house.prices, NO_CHARGES)(NOW)).net == 170


async def test_an_open_position_without_a_fresh_price_leaves_the_day_unknown(house: House) -> None:
    await house.trade(BUY, 10, "100")
    await house.trade(SELL, 5, "101")

    day = await house.day()(NOW)

    assert told(day.realised, day.unrealised, day.net, day.facts) == (5, None, None, None)


@pytest.mark.parametrize(
    ("shown_", "charges", "net", "known"),
    [
        ({}, NO_CHARGES, None, -50),
        ({"TCS": ("80", 61.0)}, NO_CHARGES, None, -150),
        ({"TCS": ("80", 59.0)}, NO_CHARGES, None, -150),
        ({"TCS": ("80", 1.0), "INFY": ("101", 90_000.0)}, NO_CHARGES, None, -148),
        ({"TCS": ("80", 1.0), "INFY": ("101", 1.0)}, NO_CHARGES, -148, -148),
        ({"TCS": ("80", 1.0), "INFY": ("101", 1.0)}, None, None, -148),
    ],
)
async def test_what_is_known_of_a_day_is_told_whatever_is_not(
    house: House,
    shown_: dict[str, tuple[str, float]],
    charges: ChargesSchedule | None,
    net: Any,
    known: Any,
) -> None:
    await house.trade(BUY, 10, "100")
    await house.trade(SELL, 5, "90")
    await house.trade(BUY, 2, "100", instrument=INFY)
    for symbol, (price, age_s) in shown_.items():
        await house.price(price, Instrument.parse(f"NSE:{symbol}"), age_s=age_s)

    day = await house.day(charges)(NOW)

    assert (day.net, day.known, day.is_open) == (net, known, True)


@pytest.mark.parametrize(
    ("symbol", "expired"),
    [
        ("NIFTY25DECFUT", True),
        ("NIFTY25D3024000CE", True),
        ("NIFTY26JANFUT", False),
        ("NIFTY2610524000CE", True),
        ("NIFTY2610624000CE", False),
    ],
)
async def test_a_contract_that_has_expired_is_no_part_of_the_day(
    house: House, symbol: str, expired: bool
) -> None:
    contract = Instrument.parse(f"NFO:{symbol}")
    await house.trade(BUY, 75, "100", instrument=contract, product=Product.NRML, at=NOW - 20 * DAY)
    await house.trade(BUY, 10, "100")
    await house.price("101")

    day = await house.day()(NOW)
    report = await house.reading()()

    assert (day.net, report.today.net) == ((10, 10) if expired else (None, None))
    assert {it.key.instrument: it.expired for it in report.positions} == {contract: expired, TCS: False}


async def test_where_only_what_has_expired_is_held_nothing_is_open(house: House) -> None:
    await house.trade(BUY, 75, "100", instrument=Instrument.parse("NFO:NIFTY25DECFUT"), at=NOW - 20 * DAY)

    day = await house.day()(NOW)

    assert (day.net, day.is_open) == (Decimal(0), False)


async def test_a_fill_whose_price_nobody_knows_hides_no_loss_beside_it(house: House) -> None:
    await house.trade(BUY, 10, "100", instrument=INFY)
    await house.trade(SELL, 10, "90", instrument=INFY)
    await _fill_at_an_unknown_price(house)

    day = await house.day()(NOW)

    assert (day.net, day.known, day.is_open) == (None, Decimal(-100), True)


async def _fill_at_an_unknown_price(house: House) -> None:
    order = await split_order(house.store, house.ids, strategy_tag="macd", instrument=TCS)
    await house.store.claim_executions(1, "executor", 60.0)
    events = (
        ev.ExecutionAccepted(seq=1, chunk=0, broker_order_id=BrokerOrderId("B-1")),
        ev.ExecutionCompleted(seq=1, chunk=0),
    )
    await house.store.book([Booking(order_id=order.order_id, event=event) for event in events])


async def test_a_position_that_rests_on_no_known_price_is_told_as_such(house: House) -> None:
    await _fill_at_an_unknown_price(house)
    await house.price("105")

    [position] = (await house.reading()()).positions

    assert (position.standing.quantity, position.provisional) == (100, True)
    assert position.result == of(None, None, "0")
    assert (await house.day()(NOW)).net is None


# --- what is remembered of earlier days


class CountingStore(InMemoryOrderStore):
    """Counts the reads of fills before a day."""

    reads = 0

    async def fills(self, *, since: datetime | None = None, until: datetime | None = None) -> list[LedgerFill]:
        self.reads += since is None
        return await super().fills(since=since, until=until)


async def test_earlier_days_are_folded_once_and_again_when_they_have_changed(house: House) -> None:
    house.store = CountingStore(house.clock)
    await house.trade(BUY, 10, "100", at=NOW - DAY)
    reading, day = house.reading(), house.day()
    await reading()
    await day(house.clock.now())
    # The double's mark is made of the fills themselves, hence one more read with each look.
    first = house.store.reads

    await house.trade(SELL, 4, "101")
    assert (await reading()).positions[0].standing.quantity == 6
    assert await reading.held_by_all() == {(TCS, Product.MIS): 6}
    assert house.store.reads == first

    await house.trade(SELL, 1, "101", at=NOW - DAY)
    await house.clock.advance(29)
    assert await reading.held_by_all() == {(TCS, Product.MIS): 6}
    await house.clock.advance(1)
    assert await reading.held_by_all() == {(TCS, Product.MIS): 5}
    assert (await reading()).positions[0].standing.quantity == 5
    assert (await day(house.clock.now())).realised == 4

    # The next day begins with what this one has left.
    await house.clock.advance(DAY.total_seconds())
    assert (await reading()).today.realised == 0
    assert await reading.held("macd") == {(TCS, Product.MIS): 5}


async def test_charges_that_are_unknown_of_earlier_days_leave_the_day_known(house: House) -> None:
    await house.trade(BUY, 10, "100", at=NOW - 4000 * DAY)
    await house.trade(SELL, 10, "101")

    report = await house.reading(ZERODHA)()

    assert told(report.overall.charges, report.overall.net) == (None, None)
    assert report.today.charges is not None
    assert report.today.net is not None


@pytest.mark.parametrize("seed", range(15))
async def test_what_is_read_day_by_day_is_what_folding_whole_gives(house: House, seed: int) -> None:
    rng = Random(seed)  # repeatable, not secret
    owners = [ClientId("desk-1"), ClientId("desk-2")]
    for _ in range(40):
        await house.trade(
            rng.choice([BUY, SELL]), rng.randint(1, 20), str(Decimal(rng.randint(900, 1100)) / 10),
            at=NOW - timedelta(hours=rng.randint(0, 72), seconds=rng.randint(0, 3)),
            tag=rng.choice(["macd", "rsi", None]), instrument=rng.choice([TCS, INFY]),
            product=rng.choice([Product.MIS, Product.CNC]), client=rng.choice(owners),
        )  # fmt: skip
    await house.price("101")
    await house.price("99", INFY)
    fills = await house.store.fills()
    charged = charges_of_fills(fills, ZERODHA)
    reading = house.reading(ZERODHA)

    for owner in (None, *owners):
        report = await reading(owner, closed=True)

        own = [it for it in fills if owner in (None, it.client_id)]
        assert {it.key: it.standing for it in report.positions} == fold(own)
        for view in report.positions:
            keys = {it.charged_with for it in own if it.key == view.key}
            assert view.result.charges == total(charged[key] for key in keys)
            assert view.traded_at == max(it.at for it in own if it.key == view.key)
        days = [await house.day(ZERODHA)(NOW - n * DAY) for n in range(5)] if owner is None else []
        assert total(day.realised for day in days) == (report.overall.realised if days else 0)
        assert total(day.charges for day in days) == (report.overall.charges if days else 0)
    held = {key: it.quantity for key, it in fold(fills).items()}
    for tag in ("macd", "rsi", None):
        assert await reading.held(tag) == {
            (key.instrument, key.product): units
            for key, units in held.items()
            if key.strategy_tag == tag and units
        }
