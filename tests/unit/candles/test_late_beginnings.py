"""Candles of a builder, or an instrument, that begins within a session: as after a restart."""

from datetime import timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from pulse_domain.candles import CandleBuilder, ClosedCandle
from pulse_domain.instruments import Instrument
from tests.unit.candles.test_candles import (
    HOURS,
    INFY,
    SHORT,
    TCS,
    at,
    builder,
    feed,
    hours_of,
    of,
    ohlcv,
    tick,
)
from tests.unit.candles.test_filled_holes import as_stored, candle, rows, ticks_of, whole

MINUTE = timedelta(minutes=1)


def late(minutes: float, seconds: float = 0) -> CandleBuilder:
    return CandleBuilder(hours_of(HOURS), since=at(minutes, seconds))


def untraded(minute: int) -> ClosedCandle:
    return ClosedCandle(TCS, 1, at(minute), None)


def test_a_last_price_of_before_makes_no_candle_and_is_counted() -> None:
    made = late(75)
    made.on_time(at(75))

    told = feed(made, tick(at(9, 55), 114, 10_000)) + made.on_time(at(75, 1))
    told += feed(made, tick(at(75, 20), 120, 10_300)) + made.on_time(at(76, 1))

    assert [(each.minutes, each.start, ohlcv(each)) for each in told] == [
        (1, at(75), (120, 120, 120, 120, 300)),
    ]  # fmt: skip
    assert made.late == 1


def test_it_begins_with_the_next_whole_minute() -> None:
    made = late(10, 30)

    told = feed(made, tick(at(10, 31), 100, 9_000), tick(at(10, 50), 101, 9_040), tick(at(11, 5), 102, 9_100))
    told += feed(made, tick(at(11, 10), 200, 70, INFY)) + made.on_time(at(12, 1))

    assert {(each.instrument, each.start): ohlcv(each) for each in told if each.minutes == 1} == {
        (TCS, at(11)): (102, 102, 102, 102, 60),
        (INFY, at(11)): (200, 200, 200, 200, 0),
    }
    assert made.late == 0


def test_one_that_begins_before_the_session_counts_from_nothing() -> None:
    made = late(-30)

    assert of(1, feed(made, tick(at(2, 1), 100, 80)) + made.on_time(at(3, 1))) == [
        None, None, (100, 100, 100, 100, 80),
    ]  # fmt: skip


def test_what_is_not_whole_is_a_gap() -> None:
    made = late(13)

    told = feed(made, *[tick(at(minute, 5), 100 + minute, 5000 + minute) for minute in range(13, 30)])
    told += made.on_time(at(30, 1))

    assert [each is None for each in of(5, told)] == [True, False, False, False]
    assert [each is None for each in of(15, told)] == [True, False]
    assert [each.start for each in told if each.minutes == 15] == [at(0), at(15)]


def test_one_that_begins_late_tells_nothing_of_before() -> None:
    made = late(345)
    instruments = [Instrument.parse(f"NSE:S{number}") for number in range(20)]

    told = feed(made, *[tick(at(345), 100, 5, instrument) for instrument in instruments])
    told += made.on_time(at(345, 1))

    assert told == []


def test_an_instrument_begins_when_it_is_watched() -> None:
    made = late(-60)
    made.watch([TCS], at(-60))
    made.watch([TCS, INFY], at(105))

    told = feed(made, tick(at(105, 5), 100, 5_000, TCS), tick(at(105, 5), 100, 5_000_000, INFY))
    told += feed(made, tick(at(105, 40), 100, 5_000_200, INFY)) + made.on_time(at(106, 1))

    assert [ohlcv(each) for each in told if each.instrument == INFY and each.minutes == 1] == [
        (100, 100, 100, 100, 200)
    ]
    assert of(1, [each for each in told if each.instrument == TCS])[-1] == (100, 100, 100, 100, 5_000)


def test_one_that_is_not_watched_any_more_begins_anew() -> None:
    made = late(-60)
    made.watch([TCS], at(-60))
    made.watch([], at(5))
    made.watch([TCS], at(20))

    told = feed(made, tick(at(20, 5), 100, 700)) + made.on_time(at(21, 1))

    assert of(1, told) == [(100, 100, 100, 100, 0)]


def test_it_begins_when_the_feed_does() -> None:
    made = late(-60)
    made.on_time(at(44, 30), is_fed=False)

    told = feed(made, tick(at(44, 40), 100, 4_000), tick(at(45, 5), 101, 4_010)) + made.on_time(at(46, 1))

    assert of(1, told) == [(101, 101, 101, 101, 10)]


def test_what_is_told_of_makes_the_torn_ones_whole() -> None:
    made = late(38, 30)
    made.on_gap([TCS], at(32), at(38, 35))
    feed(made, tick(at(38, 35), 100, 900))
    told = made.fill([candle(minute, 200 + minute) for minute in range(30, 38)])
    assert [each.start for each in told if each.minutes > 1] == [at(30)], "the next is not whole yet"

    assert feed(made, tick(at(39, 5), 300, 910)) + made.on_time(at(39, 4)) == []
    told = made.fill([candle(38, 238)])
    for minute in range(40, 46):
        told += feed(made, tick(at(minute, 5), 300, 910)) + made.on_time(at(minute, 30))

    assert [(each.start, ohlcv(each)) for each in told if each.minutes == 5] == [
        (at(35), (235, 300, 235, 300, 50)),
        (at(40), (300, 300, 300, 300, 0)),
    ]
    assert of(15, told) == [(230, 300, 230, 300, 100)]


def test_a_longer_one_is_a_gap_as_long_as_a_minute_is_not_told_of() -> None:
    made = late(13, 30)
    made.on_gap([TCS], at(12), at(13, 35))
    feed(made, tick(at(13, 35), 100, 900))
    made.fill([candle(minute) for minute in range(13)])
    told = feed(made, tick(at(14, 5), 100, 900)) + made.on_time(at(16))
    assert (of(1, told), of(5, told), of(15, told)) == ([(100, 100, 100, 100, 0)], [None], [None])

    told = made.fill([candle(13, 150)])
    assert of(5, told) == [(100, 150, 100, 100, 40)]
    assert of(15, told) == [(100, 150, 100, 100, 140)]


def test_a_minute_without_a_trade_is_told_of_too() -> None:
    made = late(13, 30)
    made.on_gap([TCS], at(5), at(14, 35))
    feed(made, tick(at(14, 35), 100, 900))
    told = made.fill([candle(5), *map(untraded, range(6, 14))])

    assert [(each.minutes, each.start) for each in told] == [(1, at(5)), (5, at(5))]
    made.fill([candle(14)])
    assert of(5, made.on_time(at(15, 1))) == [(100, 100, 100, 100, 10)]


def test_one_without_a_trade_that_ticks_were_seen_in_is_not_told_of() -> None:
    made = late(13, 30)
    made.on_gap([TCS], at(5), at(13, 35))
    feed(made, tick(at(13, 35), 100, 900))
    made.fill([candle(5), *map(untraded, range(6, 13))])

    assert made.fill([untraded(13)]) == []
    feed(made, tick(at(14, 35), 100, 905))
    assert of(5, made.on_time(at(15, 1))) == [None]


@given(rows, st.integers(1, 31 * 60), st.integers(0, 40))
def test_a_restart_that_is_filled_leaves_what_there_is_without_one(found, second, away) -> None:
    """What two builders store, one after the other, is what one of them would."""
    ticks = ticks_of(found)
    expected = whole(ticks)
    before, after = builder(SHORT), CandleBuilder(hours_of(SHORT), since=at(0, second + away))
    ends, begins = at(0, second), at(0, second + away)
    told = feed(before, *[each for each in ticks if each.at < ends]) + before.on_time(ends)
    stored = [each.start for each in told if each.minutes == 1 and each.candle is not None]
    last = [each for each in ticks if each.at < begins][-1:]
    told += feed(after, *last)  # as the broker gives it to whoever subscribes
    left = [each for each in ticks if each.at >= begins]
    assume(left and stored)

    since, until = stored[-1] + MINUTE, left[0].at
    after.on_gap([TCS], since, until)
    told += feed(after, left[0])
    first, torn = at((since - at(0)) // MINUTE // 15 * 15), at((until - at(0)) // MINUTE)
    history = [each for each in expected if each.minutes == 1]
    told += after.fill([each for each in history if first <= each.start < torn])
    told += feed(after, *[each for each in left[1:] if each.at < torn + MINUTE])
    told += after.fill([each for each in history if each.start == torn])
    told += feed(after, *[each for each in left[1:] if each.at >= torn + MINUTE])
    told += after.on_time(SHORT.closes + timedelta(seconds=40))

    assert as_stored(told) == as_stored(expected)
