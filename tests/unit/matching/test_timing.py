"""When an order meets the market: sent inside a candle, or late."""

from datetime import timedelta
from random import Random

import pytest

from pulse_domain.errors import MatchingError
from pulse_domain.matching import CandleEntry, FixedTicks, Latency, MatchingEngine, MatchingSettings
from pulse_domain.matching.values import Filled
from tests.unit.matching import make

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
FIRST_END = make.AT + MINUTE
FIRST = make.candle(100, 110, 95, 105, end=FIRST_END)
SECOND_CANDLE = make.candle(104, 106, 103, 105, start=make.AT + MINUTE, end=make.AT + 2 * MINUTE)


@pytest.fixture
def same_close() -> MatchingEngine:
    return MatchingEngine(MatchingSettings(candle_entry=CandleEntry.SAME_CLOSE))


def late(shortest: int, longest: int | None = None) -> MatchingSettings:
    return MatchingSettings(latency=Latency(shortest * SECOND, (longest or shortest) * SECOND))


def test_order_sent_inside_a_candle_fills_no_earlier_than_the_next_open():
    engine = MatchingEngine()
    engine.submit(make.order(), at=make.AT + SECOND)

    assert engine.process_candle(FIRST) == ()
    assert make.fills(engine.process_candle(SECOND_CANDLE)) == [("1", 104)]


def test_order_sent_as_a_candle_opens_fills_at_its_open():
    engine = MatchingEngine()
    engine.submit(make.order(), at=make.AT)

    assert make.fills(engine.process_candle(FIRST)) == [("1", 100)]


def test_order_sent_inside_a_candle_fills_at_its_close_where_configured(same_close):
    same_close.submit(make.order(), at=make.AT + SECOND)

    [filled] = same_close.process_candle(FIRST)

    assert filled == Filled(order_id="1", quantity=10, price=FIRST.close, at=FIRST_END)


@pytest.mark.parametrize("at", [None, make.AT + SECOND])
def test_order_sent_after_its_candle_was_seen_fills_at_its_close_where_configured(same_close, at):
    same_close.process_candle(FIRST)

    assert make.fills(same_close.submit(make.order(), at=at)) == [("1", 105)]


def test_order_of_a_later_minute_does_not_fill_at_an_earlier_close(same_close):
    same_close.submit(make.order(), at=FIRST_END + SECOND)

    assert same_close.process_candle(FIRST) == ()
    assert make.fills(same_close.process_candle(SECOND_CANDLE)) == [("1", 105)]


def test_order_meets_the_first_tick_after_its_delay():
    engine = MatchingEngine(late(2))
    submitted = engine.submit(make.order(), make.tick(100))

    early = engine.process_tick(make.tick(101, at=make.AT + SECOND))
    due = engine.process_tick(make.tick(102, at=make.AT + 2 * SECOND))

    assert make.kinds(submitted) == ["Accepted"]
    assert (early, make.fills(due)) == ((), [("1", 102)])


def test_order_that_is_late_for_a_candle_meets_the_next_one():
    engine = MatchingEngine(late(2))
    engine.submit(make.order(), at=make.AT - SECOND)

    assert engine.process_candle(FIRST) == ()
    assert make.fills(engine.process_candle(SECOND_CANDLE)) == [("1", 104)]


def test_delays_come_from_the_given_source_only():
    def arrival(seed: int) -> list[int]:
        engine = MatchingEngine(late(1, 60), rng=Random(seed))
        for number in range(10):
            engine.submit(make.order(str(number)), at=make.AT)
        return [len(engine.process_tick(make.tick(100, at=make.AT + n * SECOND))) for n in range(61)]

    assert arrival(1) == arrival(1) != arrival(2)
    assert sum(arrival(1)) == 10


def test_order_on_its_way_can_be_changed_and_cancelled():
    engine = MatchingEngine(late(2))
    engine.submit(make.order("kept"), at=make.AT)
    engine.submit(make.order("gone"), at=make.AT)

    engine.modify("kept", quantity=7)
    engine.cancel("gone")

    assert engine.instruments() == (make.INFY,)
    results = engine.process_tick(make.tick(100, at=make.AT + 2 * SECOND))
    assert [(r.order_id, r.quantity) for r in results if isinstance(r, Filled)] == [("kept", 7)]
    assert engine.instruments() == ()


def test_latency_needs_a_time_and_where_it_varies_a_source():
    with pytest.raises(MatchingError):
        MatchingEngine(late(1)).submit(make.order())
    with pytest.raises(MatchingError):
        MatchingEngine(late(1, 2))


@pytest.mark.parametrize(
    "change",
    [
        {"participation": 0.1},
        {"participation": make.tick(2).price},
        {"slippage": FixedTicks(-1)},
        {"tick_size": 0},
        {"latency": Latency(2 * SECOND, SECOND)},
    ],
)
def test_settings_that_make_no_sense_are_refused(change):
    with pytest.raises(MatchingError):
        MatchingEngine(MatchingSettings(**change))
