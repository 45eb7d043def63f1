"""Orders that are set aside meet nothing, and are afterwards as they were."""

from datetime import timedelta
from decimal import Decimal

import pytest

from pulse_domain.matching import MatchingEngine
from tests.unit.matching import make

DOWN = make.tick(90)


def filled(results) -> list[str]:
    return [order_id for order_id, _ in make.fills(results)]


@pytest.mark.parametrize("look", ["tick", "candle"])
def test_what_is_set_aside_meets_no_look(look):
    engine = MatchingEngine()
    for number in ("1", "2"):
        engine.submit(make.buy_limit(95, number))

    with engine.set_aside(["1"]):
        results = (
            engine.process_tick(DOWN) if look == "tick" else engine.process_candle(make.candle(90, 90, 90, 90))
        )

    assert filled(results) == ["2"]
    assert [order.order_id for order in engine.working_orders()] == ["1"]
    assert filled(engine.process_tick(DOWN)) == ["1"]


def test_places_in_time_and_what_has_fired_stay():
    engine = MatchingEngine()
    engine.submit(make.sell_stop(99, 95, "stop"))
    engine.process_tick(make.tick(94))
    for number in ("1", "2"):
        engine.submit(make.sell_limit(95, number))

    with engine.set_aside(["stop", "1"]):
        pass

    assert filled(engine.process_tick(make.tick(96))) == ["stop", "1", "2"]


def test_what_travels_or_is_unknown_is_left_alone():
    engine = MatchingEngine()
    engine.submit(make.buy_limit(95), at=make.AT + timedelta(seconds=1))

    with engine.set_aside(["1", "nobody"]):
        results = engine.process_tick(make.tick(90, at=make.AT + timedelta(seconds=2)))

    assert make.fills(results) == [("1", Decimal(90))]


def test_an_error_within_leaves_nothing_aside():
    engine = MatchingEngine()
    engine.submit(make.buy_limit(95))

    with pytest.raises(ZeroDivisionError), engine.set_aside(["1"]):
        raise ZeroDivisionError

    assert filled(engine.process_tick(DOWN)) == ["1"]
