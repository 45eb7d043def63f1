"""Fills are a share of what was traded; what is left of an order works on."""

from decimal import Decimal

import pytest

from pulse_domain.errors import MatchingError
from pulse_domain.matching import CandlePath, Filled, MatchingEngine, MatchingSettings
from pulse_domain.orders.model import Side, Validity
from tests.unit.matching import make


@pytest.fixture
def engine() -> MatchingEngine:
    return MatchingEngine(MatchingSettings(participation=Decimal("0.1")))


def parts(results) -> list[tuple[str, int]]:
    return [(result.order_id, result.quantity) for result in results if isinstance(result, Filled)]


def flat(volume: int, price: int = 100):
    return make.candle(price, price, price, price, volume=volume)


def test_the_rest_of_a_capped_order_stays_open_and_fills_later(engine):
    engine.submit(make.order(quantity=25))

    first, second, third = [parts(engine.process_candle(flat(100))) for _ in range(3)]

    assert (first, second, third) == ([("1", 10)], [("1", 10)], [("1", 5)])
    assert engine.working_orders() == ()


def test_cap_is_rounded_down_to_whole_lots():
    instrument = make.order().instrument
    settings = MatchingSettings(participation=Decimal("0.1"), lot_sizes={instrument: 25})
    engine = MatchingEngine(settings)
    engine.submit(make.order(quantity=75))

    assert parts(engine.process_candle(flat(749))) == [("1", 50)]
    assert parts(engine.process_candle(flat(249))) == []
    assert parts(engine.process_candle(flat(250))) == [("1", 25)]


def test_a_lot_is_a_whole_number():
    instrument = make.order().instrument
    with pytest.raises(MatchingError, match="lot"):
        MatchingEngine(MatchingSettings(lot_sizes={instrument: 0}))


def test_cap_is_rounded_down_to_whole_units(engine):
    engine.submit(make.order(quantity=25))

    assert parts(engine.process_candle(flat(19))) == [("1", 1)]
    assert parts(engine.process_candle(flat(9))) == []


def test_orders_share_one_candle_by_price_and_then_by_time(engine):
    engine.submit(make.buy_limit(101, "low", quantity=30))
    engine.submit(make.buy_limit(102, "first", quantity=30))
    engine.submit(make.buy_limit(102, "second", quantity=30))
    engine.submit(make.order("market", quantity=30))

    assert parts(engine.process_candle(flat(1000))) == [
        ("market", 30),
        ("first", 30),
        ("second", 30),
        ("low", 10),
    ]


def test_partly_filled_order_keeps_its_place(engine):
    engine.submit(make.buy_limit(101, "first", quantity=15))
    engine.submit(make.buy_limit(101, "second", quantity=15))

    engine.process_candle(flat(100))

    assert parts(engine.process_candle(flat(100))) == [("first", 5), ("second", 5)]


def test_path_gives_volume_to_what_the_price_meets_first():
    engine = MatchingEngine(
        MatchingSettings(participation=Decimal("0.1"), candle_path=CandlePath.OPEN_HIGH_LOW_CLOSE)
    )
    engine.submit(make.buy_limit(96, "low", quantity=10))
    engine.submit(make.sell_limit(106, "high", quantity=10))

    assert parts(engine.process_candle(make.candle(100, 110, 95, 105, volume=100))) == [("high", 10)]


@pytest.mark.parametrize("order", [make.order(), make.buy_stop(90), make.order(validity=Validity.IOC)])
def test_candle_without_volume_fills_and_fires_nothing(engine, order):
    engine.submit(order)

    assert engine.process_candle(flat(0)) == ()
    assert engine.working_orders() == (order,)


def test_candle_without_volume_fills_in_full_if_told_so():
    engine = MatchingEngine(MatchingSettings(participation=Decimal("0.1"), fill_without_volume=True))
    engine.submit(make.order(quantity=500))

    assert parts(engine.process_candle(flat(0))) == [("1", 500)]


def test_candle_without_volume_can_be_passed_over_without_a_cap():
    engine = MatchingEngine(MatchingSettings(fill_without_volume=False))
    engine.submit(make.order(quantity=500))

    assert parts(engine.process_candle(flat(0))) == []
    assert parts(engine.process_candle(flat(1))) == [("1", 500)]


def test_ioc_fills_what_it_can_and_cancels_the_rest(engine):
    engine.submit(make.order(quantity=25, validity=Validity.IOC))

    results = engine.process_candle(flat(100))

    assert make.kinds(results) == ["Filled", "Cancelled"]
    assert parts(results) == [("1", 10)]
    assert engine.working_orders() == ()


def test_stop_fires_where_no_volume_is_left_and_fills_in_the_next_candle(engine):
    engine.submit(make.order("market", quantity=10))
    engine.submit(make.sell_stop(100, order_id="stop"))

    first, second = engine.process_candle(flat(100)), engine.process_candle(flat(100, price=99))

    assert make.kinds(first) == ["Filled", "Triggered"]
    assert make.fills(second) == [("stop", 99)]


def test_tick_fills_a_share_of_what_was_traded_since_the_last_one(engine):
    engine.submit(make.order(quantity=100))

    looks = [parts(engine.process_tick(make.tick(100, volume=volume))) for volume in (5000, 5100, 5100, 5300)]

    assert looks == [[], [("1", 10)], [], [("1", 20)]]


def test_smaller_count_of_a_tick_is_that_of_a_new_session(engine):
    engine.process_tick(make.tick(100, volume=5000))
    engine.submit(make.order(quantity=100))

    assert parts(engine.process_tick(make.tick(100, volume=300))) == [("1", 30)]


def test_cancel_and_modify_reach_what_is_open_of_a_partly_filled_order(engine):
    engine.submit(make.order(quantity=25, side=Side.SELL))
    engine.process_candle(flat(100))

    with pytest.raises(MatchingError):
        engine.modify("1", quantity=10)
    engine.modify("1", quantity=12)

    assert engine.open_quantity("1") == 2
    assert make.kinds(engine.cancel("1")) == ["Cancelled"]
    assert engine.open_quantity("1") == 0
    assert engine.process_candle(flat(100)) == ()
