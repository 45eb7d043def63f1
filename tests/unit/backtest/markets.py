"""Hypothesis: prices of several instruments over several days, orders, and settings."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.account import Holding
from pulse_domain.backtest import BacktestSettings, CandleSeries, TickSeries, TimedOrder
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import Candle, MatchingSettings, Tick
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side, SplitConfig, Validity
from pulse_domain.splitting import Twap, Weighted
from tests.unit.backtest import make
from tests.unit.matching.markets import settings_of_engines

GRID = Decimal("0.05")
INSTRUMENTS = (make.INFY, make.TCS, make.SBIN)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

levels = st.integers(0, 8).map(lambda steps: 10 + steps * GRID)
volumes = st.sampled_from([300, 1000, 1000, 50, 1, 0])
# From one row to the next, in seconds; -1 is 09:15 on the day after.
steps = st.sampled_from([60, 60, 60, 60, 60, 120, 300, 1200, 20, -1])
bars = st.tuples(steps, levels, levels, levels, levels, st.booleans(), volumes)
looks = st.tuples(
    st.sampled_from([0, 1, 1, 7, 30, 60, -1]),
    levels,
    st.sampled_from([None, None, (0, 0), (0, 1), (1, 1), (2, 1)]),
    st.sampled_from([0, 0, 5, 90]),
)


class Story(NamedTuple):
    """What a run is given. `data`: the plain candles or ticks that the series are made of."""

    data: tuple[list[Any], ...]
    orders: list[TimedOrder]
    settings: BacktestSettings
    seed: int

    @property
    def series(self) -> list[CandleSeries | TickSeries]:
        return [series_of(rows) for rows in self.data]

    @property
    def begin(self) -> datetime:
        return min(row.at if isinstance(row, Tick) else row.start for rows in self.data for row in rows)

    @property
    def is_long(self) -> bool:
        return any(map(are_long, self.data))


def series_of(rows: list[Any]) -> CandleSeries | TickSeries:
    if isinstance(rows[0], Tick):
        return TickSeries.from_ticks(rows)
    return CandleSeries.from_candles(rows, interval=length_of(rows[0]))


def are_long(rows: list[Any]) -> bool:
    """Whether they are candles of a day or more, or some that a midnight may be in."""
    return isinstance(rows[0], Candle) and length_of(rows[0]) >= timedelta(hours=4)


def length_of(candle: Candle) -> timedelta:
    return candle.end - candle.start if candle.end else timedelta()


def last_at(rows: list[Any]) -> datetime:
    return max(row.at if isinstance(row, Tick) else row.end for row in rows)


def then(now: datetime, step: int) -> datetime:
    if step < 0:
        return (now + timedelta(days=1)).replace(hour=9, minute=15, second=0, microsecond=0)
    return now + step * SECOND


@st.composite
def candles_of(draw: st.DrawFn, instrument: Instrument) -> list[Candle]:
    """Of one minute or of five; a step that is shorter cuts the one before off. Some of days, or of hours."""
    now = make.at("09:15") + draw(st.sampled_from([0, 0, 0, 30, 600])) * SECOND
    interval = draw(st.sampled_from([60, 60, 300])) * SECOND
    drawn = draw(st.lists(bars, min_size=2, max_size=12))
    kind = draw(st.integers(0, 9))
    if kind == 0:
        now = make.at("13:00")
        interval = timedelta(hours=4)
        drawn = [(interval // SECOND if step < 1000 else step, *rest) for step, *rest in drawn]
    elif kind == 1:
        now = make.at(draw(st.sampled_from(["00:00", "05:30", "09:15"])))
        interval = timedelta(days=draw(st.sampled_from([1, 1, 7])))
        drawn = [(interval // SECOND if step < 1000 else 3 * 86_400, *rest) for step, *rest in drawn]
    rows = []
    for step, *prices, falls, volume in drawn:
        low, *inner, high = sorted(prices)
        opened, closed = reversed(inner) if falls else inner
        rows.append(Candle(instrument, now, opened, high, low, closed, volume, now + interval))
        now = then(now, step)
    return rows


@st.composite
def ticks_of(draw: st.DrawFn, instrument: Instrument) -> list[Tick]:
    """Several may share an instant. The last is at an odd one, at which no order is due."""
    now, traded = make.at("09:15"), 0
    rows = []
    for step, price, spread, volume in draw(st.lists(looks, min_size=2, max_size=14)):
        later = then(now, step)
        traded = volume if later.date() != now.date() else traded + volume
        now = later
        bid, ask = (None, None) if spread is None else (price - spread[0] * GRID, price + spread[1] * GRID)
        rows.append(Tick(instrument, now, price, bid, ask, traded))
    rows.append(Tick(instrument, now + timedelta(microseconds=1_234_567), Decimal(10), None, None, traded))
    return rows


@st.composite
def orders_of(
    draw: st.DrawFn, data: tuple[list[Any], ...], lots: dict[Instrument, int], products: list[Product]
) -> list[TimedOrder]:
    """Most arrive at or near the time of a row, many of them at the same one."""
    times = sorted({time for rows in data for row in rows for time in _times(row)})
    first, last = times[0].replace(hour=0, minute=0, second=0, microsecond=0), max(map(last_at, data))
    near = st.sampled_from([-90 * SECOND, -make.MICROSECOND, 0 * SECOND, 0 * SECOND, 17 * SECOND, 45 * SECOND])
    orders = []
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.sampled_from(times[: len(times) * 3 // 4 + 1])) + draw(near)
        at = min(max(at, first), last - make.MICROSECOND)
        kind = draw(st.sampled_from([OrderType.MARKET, OrderType.MARKET, *OrderType]))
        instrument = draw(st.sampled_from([rows[0].instrument for rows in data]))
        lot_size = lots[instrument]
        request = OrderRequest(
            instrument=instrument,
            side=draw(st.sampled_from(Side)),
            total_quantity=lot_size * draw(st.integers(1, 40)),
            order_type=kind,
            validity=draw(st.sampled_from([Validity.DAY, Validity.DAY, Validity.IOC])),
            limit_price=draw(levels) if kind.has_limit else None,
            trigger_price=draw(levels) if kind.has_trigger else None,
            product=draw(st.sampled_from(products)),
        )
        orders.append(draw(_spread(at, request, lot_size)))
    return orders


@st.composite
def _spread(draw: st.DrawFn, at: datetime, request: OrderRequest, lot_size: int) -> TimedOrder:
    """Whole, or in slices over time that may run past the end of the day and of the data."""
    ahead = draw(st.sampled_from([None, None, timedelta(), 90 * SECOND, timedelta(hours=25)]))
    most = min(6, request.total_quantity // lot_size)
    how = draw(st.sampled_from(["whole", "whole", "split", "schedule"]))
    if most < 2 or request.order_type.has_trigger:
        how = "whole"
    if how == "split":
        split = SplitConfig(
            num_splits=draw(st.integers(2, most)),
            duration_minutes=draw(st.sampled_from([1, 2, 3, 7, 60, 1440])),
            randomize=draw(st.booleans()),
        )
        request = replace(request, split_config=split)
    if how == "schedule":
        span = draw(st.sampled_from([timedelta(), make.MICROSECOND, 100 * SECOND, timedelta(hours=24)]))
        weights = draw(st.lists(st.integers(1, 9), min_size=1, max_size=most))
        session = st.tuples(st.integers(-60, 60), st.integers(1, 300)).map(
            lambda drawn: (at + drawn[0] * SECOND, at + sum(drawn) * SECOND)
        )
        open_now = (at - SECOND, at + SECOND)
        sessions = draw(st.none() | st.lists(session, max_size=3).map(lambda some: [open_now, *some]))
        return TimedOrder(
            request=request,
            at=at,
            schedule=Twap(most) if draw(st.booleans()) else Weighted(weights),
            ends_at=at + span,
            sessions=sessions,
            randomize=draw(st.booleans()),
        )
    if ahead is None:
        return TimedOrder(request=request, at=at)
    request = replace(request, start_at=at + ahead)
    return TimedOrder(request=request, at=at if ahead else None)


@st.composite
def settings_of(draw: st.DrawFn, lots: dict[Instrument, int], *, tight: bool) -> BacktestSettings:
    # What fills at the open as it is goes another way through the runner: every other run does.
    matching = draw(st.builds(MatchingSettings, fill_on_touch=st.booleans()) | settings_of_engines)
    tick_sizes = draw(st.sampled_from([{}, {make.INFY: Decimal("0.1")}, {make.TCS: Decimal("0.15")}]))
    lot_size = lots[make.INFY]
    freeze = draw(st.sampled_from([None, 4, 10]))
    terms = InstrumentTerms(lot_size=lot_size, freeze_quantity=freeze and freeze * lot_size)
    held = draw(st.lists(st.sampled_from(INSTRUMENTS), unique=True, max_size=2))
    return BacktestSettings(
        capital=Decimal(draw(st.sampled_from([10_000_000, 3000, 500]))) if tight else Decimal(10_000_000),
        holdings=tuple([Holding(instrument=it, quantity=60, average_price=Decimal("9.9")) for it in held]),
        matching=replace(matching, tick_sizes=tick_sizes),
        default_terms=terms,
        terms={make.TCS: InstrumentTerms(lot_size=lots[make.TCS], tick_size=Decimal("0.01"))},
    )


@st.composite
def stories(draw: st.DrawFn, kinds: tuple[str, ...] = ("candles", "candles", "candles", "ticks")) -> Story:
    instruments = INSTRUMENTS[: draw(st.integers(1, 3))]
    data: tuple[list[Any], ...] = tuple(
        draw(candles_of(it)) if draw(st.sampled_from(kinds)) == "candles" else draw(ticks_of(it))
        for it in instruments
    )
    lots = dict.fromkeys(INSTRUMENTS, draw(st.sampled_from([1, 1, 5]))) | {make.TCS: 2}
    # Fills of long candles are known sooner than the naive runner knows them: it must not matter.
    long = any(map(are_long, data))
    settings = draw(settings_of(lots, tight=not long))
    if long:
        settings = replace(settings, matching=replace(settings.matching, latency=None))
    return Story(
        data=data,
        orders=draw(orders_of(data, lots, [Product.MIS] if long else [Product.MIS, Product.MIS, Product.CNC])),
        settings=settings,
        seed=draw(st.integers(0, 3)),
    )


def _times(row: Candle | Tick) -> list[datetime]:
    return [row.at] if isinstance(row, Tick) else [row.start, row.end or row.start]
