"""Candles from ticks as they come, against a recomputation from all of them at once."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.candles import CandleBuilder, ClosedCandle, SessionHours
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick

TCS, INFY = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:INFY")
OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)  # 09:15 in India
HOURS = SessionHours(OPEN, OPEN + timedelta(minutes=375))
SHORT = SessionHours(OPEN, OPEN + timedelta(minutes=32))
GRACE_S = 1.0
PRICE = Decimal("100.05")
Row = tuple[float, float, float, float, int]


def at(minutes: float = 0, seconds: float = 0) -> datetime:
    return OPEN + timedelta(minutes=minutes, seconds=seconds)


def tick(when: datetime, price: float | str, volume: int = 0, instrument: Instrument = TCS) -> Tick:
    return Tick(instrument, when, Decimal(str(price)), volume=volume)


def hours_of(hours: SessionHours):
    return lambda instrument, when: hours if hours.opens <= when < hours.closes else None


def builder(hours: SessionHours = HOURS) -> CandleBuilder:
    return CandleBuilder(hours_of(hours), grace=timedelta(seconds=GRACE_S))


def feed(made: CandleBuilder, *ticks: Tick) -> list[ClosedCandle]:
    return [closed for each in ticks for closed in made.on_tick(each)]


def ohlcv(closed: ClosedCandle) -> Row | None:
    c = closed.candle
    return None if c is None else (float(c.open), float(c.high), float(c.low), float(c.close), c.volume)


def of(minutes: int, told: list[ClosedCandle]) -> list[Row | None]:
    return [ohlcv(closed) for closed in told if closed.minutes == minutes]


def test_a_minute_is_told_once_its_grace_is_over() -> None:
    made = builder()
    told = feed(made, tick(at(0, 1), 100, 10), tick(at(0, 30), 103, 30), tick(at(0, 59), 101, 45))
    assert told == []
    assert feed(made, tick(at(1, 0.9), 99, 50)) == []

    [closed] = feed(made, tick(at(1, 1), 98, 60))

    assert (closed.start, closed.minutes, ohlcv(closed)) == (at(0), 1, (100, 103, 100, 101, 45))


def test_a_minute_is_told_by_the_clock_without_a_tick() -> None:
    made = builder()
    feed(made, tick(at(0, 1), 100, 10))

    assert made.on_time(at(1, 0.5)) == []
    assert of(1, made.on_time(at(1, 1))) == [(100, 100, 100, 100, 10)]
    assert of(1, made.on_time(at(3, 1))) == [None, None]


def test_ticks_within_the_grace_may_come_in_any_order() -> None:
    made = builder()

    told = feed(
        made,
        tick(at(0, 30), 103, 30),
        tick(at(1, 0.2), 97, 60),
        tick(at(0, 59), 101, 45),
        tick(at(0, 1), 100, 10),
        tick(at(1, 1), 98, 70),
    )

    assert of(1, told) == [(100, 103, 100, 101, 45)]
    assert made.late == 0


def test_a_tick_after_the_grace_changes_nothing_and_is_counted() -> None:
    made = builder()
    feed(made, tick(at(0, 1), 100, 10), tick(at(1, 1), 98, 70))

    assert feed(made, tick(at(0, 59), 500, 500)) == []
    assert made.late == 1
    assert of(1, made.on_time(at(2, 1))) == [(98, 98, 98, 98, 60)]


def test_ticks_outside_the_session_are_in_no_candle() -> None:
    made = builder()

    told = feed(made, tick(at(0, -1), 90, 5), tick(at(0, 0), 100, 10), tick(at(375), 110, 20))

    assert of(1, told)[0] == (100, 100, 100, 100, 10)
    assert len(of(1, told)) == 374
    assert made.outside == 2


def test_a_tick_from_the_future_moves_no_watermark() -> None:
    made = builder()
    made.on_time(at(0, 1))

    assert feed(made, tick(at(300), 100), tick(at(0, 2), 100, 1), tick(at(1, 0.5), 101, 2)) == []
    assert (made.ahead, made.late) == (1, 0)


def test_the_same_tick_twice_counts_once() -> None:
    made = builder()

    told = feed(made, *[tick(at(0, 1), 100, 10)] * 3, *[tick(at(0, 2), 101, 12)] * 2, tick(at(1, 1), 99, 12))

    assert of(1, told) == [(100, 101, 100, 101, 12)]


def test_a_total_that_steps_back_takes_no_volume_away() -> None:
    made = builder()

    told = feed(made, tick(at(0, 1), 100, 50), tick(at(1, 5), 100, 40), tick(at(2, 5), 100, 65))
    told += made.on_time(at(3, 1))

    assert [row[-1] for row in of(1, told) if row] == [50, 0, 15]


def test_longer_candles_are_aligned_to_the_opening_and_cut_at_the_close() -> None:
    made = builder(SHORT)
    feed(made, tick(at(0, 1), 100, 1))

    told = made.on_time(at(40))

    assert [(c.start, c.candle is None) for c in told if c.minutes == 15] == [
        (at(0), False), (at(15), True), (at(30), True),
    ]  # fmt: skip
    assert len(of(1, told)) == 32
    assert len(of(5, told)) == 7


def test_instruments_do_not_mix() -> None:
    made = builder()

    told = feed(made, tick(at(0, 1), 100, 1), tick(at(0, 2), 200, 5, INFY), tick(at(1, 1), 101, 2))

    assert [(c.instrument, ohlcv(c)) for c in told] == [
        (TCS, (100, 100, 100, 100, 1)), (INFY, (200, 200, 200, 200, 5)),
    ]  # fmt: skip


def test_a_new_day_tells_the_old_one_to_its_end_and_counts_volume_anew() -> None:
    tomorrow = SessionHours(HOURS.opens + timedelta(days=1), HOURS.closes + timedelta(days=1))
    days = (HOURS, tomorrow)
    made = CandleBuilder(lambda _, when: next((d for d in days if d.opens <= when < d.closes), None))
    feed(made, tick(at(374, 30), 100, 1000))

    told = feed(made, tick(at(24 * 60, 1), 105, 7), tick(at(24 * 60 + 1, 1), 106, 9))

    assert [row for row in of(1, told) if row] == [(100, 100, 100, 100, 1000), (105, 105, 105, 105, 7)]


# --- against all ticks at once ------------------------------------------------------------------

arrivals = st.lists(
    st.tuples(
        st.integers(-30, 33 * 60),
        st.integers(-90, 20),
        st.integers(90, 110),
        st.integers(0, 500),
        st.booleans(),
    ),
    max_size=60,
)


@given(arrivals)
def test_what_is_told_equals_a_recomputation_from_all_ticks(
    rows: list[tuple[int, int, int, int, bool]],
) -> None:
    # In order of arrival: some ticks are behind their time, some come twice, totals step back.
    ticks = []
    for second, behind, price, total, twice in sorted(rows, key=lambda row: row[0]):
        one = tick(at(0, second + behind), price, total)
        ticks += [one] * (2 if twice else 1)
    made = builder(SHORT)

    told = feed(made, *ticks) + made.on_time(SHORT.closes + timedelta(seconds=GRACE_S))

    expected, late = recompute(ticks)
    assert {(c.minutes, c.start): ohlcv(c) for c in told} == expected
    assert made.late == late
    starts = [c.start for c in told if c.minutes == 1]
    assert starts == sorted(set(starts))


def recompute(ticks: list[Tick]) -> tuple[dict[tuple[int, datetime], Row | None], int]:
    """The candles of one session by definition: which ticks were in time, then all of them at once."""
    inside = [t for t in ticks if SHORT.opens <= t.at < SHORT.closes]
    if not inside:
        return {}, 0
    known_from = ticks.index(inside[0])
    minutes: dict[datetime, list[tuple[int, Tick]]] = defaultdict(list)
    watermark, late = datetime.min.replace(tzinfo=UTC), 0
    for index, each in enumerate(ticks):
        if SHORT.opens <= each.at < SHORT.closes:
            start = each.at - (each.at - OPEN) % timedelta(minutes=1)
            end = min(start + timedelta(minutes=1), SHORT.closes)
            if index > known_from and end + timedelta(seconds=GRACE_S) <= watermark:
                late += 1
            else:
                minutes[start].append((index, each))
        watermark = max(watermark, each.at)
    candles: dict[tuple[int, datetime], Row | None] = {}
    total = 0
    for start in (at(minute) for minute in range(32)):
        row, total = _candle_of(minutes[start], total)
        candles[1, start] = row
    for length in (5, 15):
        for first in range(0, 32, length):
            parts = [row for minute in range(first, min(first + length, 32)) if (row := candles[1, at(minute)])]
            candles[length, at(first)] = (parts and (
                parts[0][0], max(p[1] for p in parts), min(p[2] for p in parts), parts[-1][3],
                sum(p[4] for p in parts),
            )) or None  # fmt: skip
    return candles, late


def _candle_of(ticks: list[tuple[int, Tick]], total: int) -> tuple[Row | None, int]:
    if not ticks:
        return None, total
    prices = [float(each.price) for _, each in ticks]
    by_time = sorted(ticks, key=lambda pair: pair[1].at)
    first = by_time[0][1]
    last = max(ticks, key=lambda pair: (pair[1].at, pair[0]))[1]
    highest = max(each.volume for _, each in ticks)
    row = (float(first.price), max(prices), min(prices), float(last.price), max(0, highest - total))
    return row, max(total, highest)


@pytest.mark.parametrize("timeframes", [(1,), (1, 5), (15,)])
def test_only_what_was_asked_for_is_told(timeframes: tuple[int, ...]) -> None:
    made = CandleBuilder(hours_of(SHORT), timeframes=timeframes)
    feed(made, tick(at(0, 1), 100))

    assert {c.minutes for c in made.on_time(at(40))} == {1, *timeframes}


def test_a_candle_is_what_the_matching_engine_takes() -> None:
    made = builder()
    feed(made, tick(at(0, 1), "100.05", 10))

    [closed] = made.on_time(at(1, 1))

    assert closed.candle == Candle(TCS, at(0), PRICE, PRICE, PRICE, PRICE, 10)
