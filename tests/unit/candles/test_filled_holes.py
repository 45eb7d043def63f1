"""Candles of a feed that had holes, which the market tells of afterwards, against those of one without."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec import Struct

from pulse_domain.candles import CandleBuilder, ClosedCandle, SessionHours
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from tests.unit.candles.test_candles import HOURS, OPEN, SHORT, TCS, at, builder, feed, of, ohlcv, tick

MINUTE = timedelta(minutes=1)
END_S = 32 * 60 + 60
Told = dict[int, list[tuple[datetime, object]]]


class Outage(Struct):
    """In seconds of the session. noticed_s: how long after its beginning the feed knows of it.
    first_s, second_s: how long after its end its minutes are told of, and the last after that of its own."""

    begins: int
    ends: int
    noticed_s: int
    first_s: int
    second_s: int


def minutes_of(candles: Sequence[ClosedCandle], first: datetime, until: datetime) -> list[ClosedCandle]:
    return [it for it in candles if it.minutes == 1 and it.candle is not None and first <= it.start < until]


def minute_of(when: datetime) -> datetime:
    return when - (when - OPEN) % MINUTE


def whole(ticks: Sequence[Tick]) -> list[ClosedCandle]:
    """As a feed without a hole gives them."""
    made = builder(SHORT)
    return feed(made, *ticks) + made.on_time(SHORT.closes + timedelta(seconds=1))


def torn(
    ticks: Sequence[Tick], outages: Sequence[Outage], history: Sequence[ClosedCandle]
) -> list[ClosedCandle]:
    """What is told, in the order in which it is."""
    made, told = builder(SHORT), list[ClosedCandle]()
    last: Tick | None = None
    due = defaultdict(list)
    for second in range(END_S + 1300):
        now = at(0, second)
        of_now = [it for it in ticks if it.at == now] if second < END_S else []
        lost = next((it for it in outages if it.begins <= second < it.ends), None)
        if of_now and lost is None:
            over = None
            if last is not None:
                over = next((it for it in outages if last.at < at(0, it.ends) <= now), None)
            if over is not None and last is not None and any(last.at < it.at < now for it in ticks):
                made.on_gap([TCS], last.at, now)
                first, back = minute_of(last.at), minute_of(now)
                due[second + over.first_s].append(minutes_of(history, first, back))
                ends = int((back + MINUTE - OPEN).total_seconds())
                due[max(ends + over.second_s, second + over.first_s)].append(
                    minutes_of(history, back, back + MINUTE)
                )
            for each in of_now:
                told += made.on_tick(each)
            last = of_now[-1]
        for candles in due.pop(second, ()):
            told += made.fill(candles)
        told += made.on_time(now, is_fed=lost is None or second < lost.begins + lost.noticed_s)
    assert not due
    return told


def as_told_in_order(told: Sequence[ClosedCandle]) -> Told:
    """To one that is told of nothing that is older than what it knows."""
    seen: Told = {1: [], 5: [], 15: []}
    for each in told:
        own = seen[each.minutes]
        if each.candle is not None and (not own or each.start > own[-1][0]):
            own.append((each.start, ohlcv(each)))
    return seen


def as_stored(told: Sequence[ClosedCandle]) -> dict[tuple[int, datetime], object]:
    return {(each.minutes, each.start): ohlcv(each) for each in told if each.candle is not None}


rows = st.lists(
    st.tuples(st.integers(0, 32 * 60 - 1), st.integers(90, 110), st.integers(0, 50)), min_size=20, max_size=120
)


def outages(noticed: "st.SearchStrategy[int]", second: "st.SearchStrategy[int]"):
    one = st.tuples(st.integers(1, 31 * 60), st.integers(1, 14 * 60), noticed, st.integers(0, 10), second)
    return st.lists(one, min_size=1, max_size=2).map(
        lambda found: [Outage(begins, begins + lasts, *rest) for begins, lasts, *rest in found]
    )


def ticks_of(found: Sequence[tuple[int, int, int]]) -> list[Tick]:
    total, ticks = 0, []
    for second, price, grows in sorted(found):
        total += grows
        ticks.append(tick(at(0, second), price, total))
    return ticks


def until_ticks(ticks: Sequence[Tick], every: Sequence[Outage]) -> list[Outage]:
    """Such that a tick came before each, and one ends it."""
    apart = sorted(every, key=lambda it: it.begins)
    assume(all(one.ends + 120 < next_.begins for one, next_ in pairwise(apart)))
    seconds = [int((each.at - OPEN).total_seconds()) for each in ticks]
    for each in apart:
        later = [second for second in seconds if second >= each.ends]
        assume(later and seconds[0] < each.begins)
        each.ends = min(later)
    assume(all(one.ends < next_.begins for one, next_ in pairwise(apart)))
    return apart


@given(rows, outages(st.just(0), st.integers(0, 20)))
def test_after_a_hole_the_same_is_told_as_without_one(found, every) -> None:
    ticks = ticks_of(found)
    every = until_ticks(ticks, every)
    expected = whole(ticks)

    told = torn(ticks, every, expected)

    assert as_told_in_order(told) == as_told_in_order(expected)
    assert as_stored(told) == as_stored(expected)


@given(rows, outages(st.integers(0, 600), st.integers(0, 600)))
def test_whenever_it_is_filled_what_is_stored_is_the_same(found, every) -> None:
    """Also where the hole was noticed after candles were told, and filled after nobody waited any more."""
    ticks = ticks_of(found)
    every = until_ticks(ticks, every)
    expected = whole(ticks)

    told = torn(ticks, every, expected)

    assert as_stored(told) == as_stored(expected)


# --- one by one


def candle(minute: int, price: int = 100, volume: int = 10, instrument: Instrument = TCS) -> ClosedCandle:
    paid = tick(at(), price).price
    made = Candle(instrument, at(minute), paid, paid, paid, paid, volume)
    return ClosedCandle(instrument, 1, at(minute), made)


def test_both_torn_minutes_are_those_of_the_market() -> None:
    made = builder()
    feed(made, tick(at(0, 10), 100, 10))
    assert made.on_time(at(2), is_fed=False) == []
    made.on_gap([TCS], at(0, 10), at(2, 20))

    feed(made, tick(at(2, 20), 120, 500))
    told = made.fill([candle(0, 101), candle(1, 110)])
    assert of(1, told) == [(101, 101, 101, 101, 10), (110, 110, 110, 110, 10)]
    assert made.on_time(at(3, 6)) == []
    assert of(1, made.fill([candle(2, 121)])) == [(121, 121, 121, 121, 10)]
    assert of(1, feed(made, tick(at(3, 20), 130, 540)) + made.on_time(at(4, 1))) == [(130, 130, 130, 130, 40)]


def test_what_nobody_fills_is_told_from_ticks_in_the_end() -> None:
    made = builder()
    feed(made, tick(at(0, 10), 100, 10))
    made.on_time(at(2), is_fed=False)
    made.on_gap([TCS], at(0, 10), at(2, 20))

    told = feed(made, tick(at(2, 20), 120, 500), tick(at(2, 40), 121, 530)) + made.on_time(at(3, 29))
    assert told == []
    # What was traded in the hole is in no minute.
    assert of(1, made.on_time(at(3, 30))) == [(100, 100, 100, 100, 10), None, (120, 121, 120, 121, 30)]


def test_a_hole_within_a_minute_counts_all_of_its_volume() -> None:
    made = builder()
    feed(made, tick(at(0, 10), 100, 10))
    made.on_gap([TCS], at(0, 10), at(0, 50))
    feed(made, tick(at(0, 50), 120, 500))

    assert of(1, made.on_time(at(1, 30))) == [(100, 120, 100, 120, 500)]


def test_one_without_a_hole_does_not_wait_for_another() -> None:
    made = builder()
    infy = Instrument.parse("NSE:INFY")
    feed(made, tick(at(0, 10), 100, 10), tick(at(0, 11), 200, 10, infy))
    made.on_gap([TCS], at(0, 10), at(0, 50))
    feed(made, tick(at(0, 50), 120, 20))

    assert [each.instrument for each in made.on_time(at(1, 1)) if each.minutes == 1] == [infy]
    assert [each.instrument for each in made.fill([candle(0)]) if each.minutes == 1] == [TCS]


def test_one_that_no_tick_comes_of_is_waited_for_a_while_only() -> None:
    made = builder()
    feed(made, tick(at(0, 10), 100, 10))
    made.on_time(at(2), is_fed=False)

    assert made.on_time(at(2, 29)) == []
    assert feed(made, tick(at(0, 10), 100, 10)) == [], "it is told again when the connection is new"
    assert of(1, made.on_time(at(2, 30))) == [(100, 100, 100, 100, 10), None]


def test_a_tick_from_the_future_makes_no_hole_until_then() -> None:
    made = builder()
    made.on_time(at(0, 5))
    feed(made, tick(at(0, 5), 100, 10))
    made.on_gap([TCS], at(0, 5), at(300))

    assert len(of(1, made.on_time(at(3, 1)))) == 3


def test_the_end_of_a_day_is_filled_on_the_next_one() -> None:
    tomorrow = SessionHours(HOURS.opens + timedelta(days=1), HOURS.closes + timedelta(days=1))
    days, day = (HOURS, tomorrow), 24 * 60
    made = CandleBuilder(lambda _, when: next((d for d in days if d.opens <= when < d.closes), None))
    feed(made, tick(at(372, 30), 100, 1000))
    made.on_time(at(day), is_fed=False)
    made.on_gap([TCS], at(372, 30), at(day, 5))

    assert feed(made, tick(at(day, 5), 105, 7)) == []
    told = made.fill([candle(minute, minute) for minute in (372, 373, 374)])
    assert [each.start for each in told if each.minutes == 1 and each.candle] == [at(372), at(373), at(374)]
    assert of(5, told) == [(372, 374, 372, 374, 30)]
    assert of(1, made.on_time(at(day + 1, 6))) == []
    assert of(1, made.fill([candle(day, 104, 9)])) == [(104, 104, 104, 104, 9)]
    assert of(1, feed(made, tick(at(day + 1, 9), 106, 12), tick(at(day + 2, 2), 106, 12))) == [
        (106, 106, 106, 106, 5)
    ]


def test_what_waits_is_given_away_at_the_end() -> None:
    made = builder()
    feed(made, tick(at(0, 10), 100, 10))
    made.on_time(at(1, 1), is_fed=False)

    assert of(1, made.release()) == [(100, 100, 100, 100, 10)]


def test_minutes_of_what_is_not_known_are_given_on_as_they_are() -> None:
    assert builder().fill([candle(3)]) == [candle(3)]
