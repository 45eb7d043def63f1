"""Candles, ticks, orders and strategies with defaults, so that a test shows only what matters to it."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pulse_domain.backtest import (
    BacktestFill,
    BacktestOrder,
    BacktestResult,
    BacktestSettings,
    CandleSeries,
    OrderUpdate,
    Strategy,
    TickSeries,
    TimedOrder,
    run_backtest,
)
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, MatchingSettings, Tick
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, SplitConfig
from pulse_domain.units import INDIA

INFY = Instrument.parse("NSE:INFY")
TCS = Instrument.parse("NSE:TCS")
SBIN = Instrument.parse("NSE:SBIN")
FUTURE = Instrument.parse("NFO:NIFTY26JANFUT")
CALL = Instrument.parse("NFO:NIFTY26JAN26000CE")

MINUTE = timedelta(minutes=1)
MICROSECOND = timedelta(microseconds=1)

Price = Decimal | str | int
Bar = tuple[Price, Price, Price, Price]


def at(clock: str, day: int = 5) -> datetime:
    """A time of day in January 2026, in India; the 5th is a Monday."""
    return datetime.fromisoformat(f"2026-01-{day:02}T{clock}").replace(tzinfo=INDIA)


def bars(
    *rows: Bar | Price,
    instrument: Instrument = INFY,
    start: datetime | None = None,
    interval: timedelta = MINUTE,
    volume: int | Sequence[int] = 1000,
) -> list[Candle]:
    """Candles one after the other from 09:15 on: open, high, low, close; or one price that stands still."""
    begin = start or at("09:15")
    volumes = [volume] * len(rows) if isinstance(volume, int) else volume
    candles = []
    for place, row in enumerate(rows):
        opened, high, low, close = [Decimal(price) for price in (row if isinstance(row, tuple) else (row,) * 4)]
        starts = begin + place * interval
        candles.append(Candle(instrument, starts, opened, high, low, close, volumes[place], starts + interval))
    return candles


def series(*rows: Bar | Price, **said: Any) -> CandleSeries:
    """The same as a series."""
    interval = said.get("interval", MINUTE)
    return CandleSeries.from_candles(bars(*rows, **said), interval=interval)


def ticks(*rows: tuple[str, Price] | tuple[str, Price, Price, Price], **said: Any) -> TickSeries:
    """Ticks: clock, price, and perhaps bid and ask."""
    instrument = said.pop("instrument", INFY)
    volumes = said.pop("volume", [0] * len(rows))
    made = []
    for row, volume in zip(rows, volumes, strict=True):
        clock, price, *quotes = row
        bid, ask = [Decimal(quote) for quote in quotes] or (None, None)
        made.append(Tick(instrument, at(clock), Decimal(price), bid, ask, volume))
    return TickSeries.from_ticks(made)


def request(side: Side = Side.BUY, quantity: int = 10, **fields: Any) -> OrderRequest:
    """A MIS market order where nothing else is said; a price makes it LIMIT, SL-M or SL."""
    limit, trigger = [
        None if fields.get(name) is None else Decimal(fields[name]) for name in ("limit", "trigger")
    ]
    kinds = {(0, 0): OrderType.MARKET, (1, 0): OrderType.LIMIT, (0, 1): OrderType.SL_M, (1, 1): OrderType.SL}
    values: dict[str, Any] = {
        "instrument": INFY,
        "side": side,
        "total_quantity": quantity,
        "product": Product.MIS,
        "order_type": kinds[limit is not None, trigger is not None],
        "limit_price": limit,
        "trigger_price": trigger,
    }
    return OrderRequest(**(values | {k: v for k, v in fields.items() if k not in ("limit", "trigger")}))


def split(splits: int, minutes: int, *, randomize: bool = False) -> SplitConfig:
    return SplitConfig(num_splits=splits, duration_minutes=minutes, randomize=randomize)


def timed(
    when: str | datetime,
    side: Side = Side.BUY,
    quantity: int = 10,
    *,
    key: str | None = None,
    schedule: Any = None,
    ends_at: datetime | None = None,
    sessions: Any = None,
    **fields: Any,
) -> TimedOrder:
    return TimedOrder(
        at=at(when) if isinstance(when, str) else when,
        request=request(side, quantity, **fields),
        order_unique_key=key,
        schedule=schedule,
        ends_at=ends_at,
        sessions=sessions,
    )


def settings(*, matching: dict[str, Any] | None = None, **fields: Any) -> BacktestSettings:
    return BacktestSettings(matching=MatchingSettings(**(matching or {})), **fields)


def run(what: Any, data: Any, *, seed: int = 0, **fields: Any) -> BacktestResult:
    """Run and check: whatever a test is about, the sums add up and every order has come to its end."""
    result = run_backtest(what, data, settings=settings(**fields), seed=seed)
    result.check()
    assert [order.order_unique_key for order in result.orders if not order.summary.done] == []
    return result


class Script(Strategy):
    """Does what it is told at a candle or tick, by their number from 0, and notes all that it hears.

    steps: by number; each is called with the strategy.
    heard: (kind, time of the desk, what) in order.
    """

    def __init__(
        self,
        steps: dict[int, Callable[["Script"], object]] | None = None,
        on_update: Callable[["Script", OrderUpdate], object] | None = None,
        on_start: Callable[["Script"], object] | None = None,
    ) -> None:
        self.steps = steps or {}
        self.on_update = on_update
        self.starting = on_start
        self.heard: list[tuple[str, datetime, Any]] = []
        self.keys: list[str] = []

    def send(self, side: Side = Side.BUY, quantity: int = 10, **fields: Any) -> str:
        """Hand in `make.request`."""
        key = self.desk.submit(request(side, quantity, **fields))
        self.keys.append(key)
        return key

    def hear(self, kind: str, what: Any) -> None:
        seen = sum(row[0] == kind for row in self.heard)
        self.heard.append((kind, self.now, what))
        step = self.steps.get(seen)
        if step is not None:
            step(self)

    def on_start(self) -> None:
        if self.starting is not None:
            self.starting(self)

    def on_order_update(self, update: OrderUpdate) -> None:
        self.heard.append(("update", self.now, update))
        if self.on_update is not None:
            self.on_update(self, update)

    @property
    def updates(self) -> list[OrderUpdate]:
        return [what for kind, _, what in self.heard if kind == "update"]


class OnCandles(Script):
    def on_candle(self, candle: Candle) -> None:
        self.hear("candle", candle)


class OnTicks(Script):
    def on_tick(self, tick: Tick) -> None:
        self.hear("tick", tick)


def clock(when: datetime) -> str:
    """As short as it can be said: 09:15, 09:15:30, 09:15:30.000001."""
    text = when.astimezone(INDIA).time().isoformat()
    return text.removesuffix(":00")


def rows(fills: Iterable[BacktestFill]) -> list[tuple[str, int, Decimal]]:
    """When, how much (negative for a sale) and at which price."""
    return [
        (clock(fill.at), fill.quantity if fill.side is Side.BUY else -fill.quantity, fill.price)
        for fill in fills
    ]


def last_event(order: BacktestOrder) -> Any:
    """What its journal ends with."""
    return order.journal[-1].event


def states(result: BacktestResult) -> list[str]:
    return [str(order.summary.state) for order in result.orders]


def ends(order: BacktestOrder) -> list[str | None]:
    """Why each execution has ended; None where it has filled."""
    return [
        None if execution.terminal is None else str(execution.terminal)
        for slice_ in order.slices
        for execution in slice_.executions
    ]
