"""Values that the engine cannot use are refused, and leave it as it was."""

from datetime import datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace

from pulse_domain.errors import MatchingError
from pulse_domain.matching import MatchingEngine
from pulse_domain.orders.model import OrderType
from tests.unit.matching import make

NAN, INFINITY = Decimal("NaN"), Decimal("Infinity")


@pytest.fixture
def engine() -> MatchingEngine:
    engine = MatchingEngine()
    engine.submit(make.buy_limit(100))
    return engine


@pytest.mark.parametrize(
    "tick",
    [
        make.tick("NaN"),
        make.tick("sNaN"),
        make.tick("Infinity"),
        make.tick(0),
        make.tick(-1),
        replace(make.tick(99), price=99.5),
        make.tick(99, bid="NaN"),
        make.tick(99, ask="0"),
        make.tick(99, bid=101, ask=100),
        make.tick(99, day_low=NAN),
        make.tick(99, volume=-1),
        make.tick(99, at=datetime(2026, 1, 5, 9, 15)),
    ],
)
def test_bad_tick_changes_nothing(engine, tick):
    with pytest.raises(MatchingError):
        engine.process_tick(tick)
    with pytest.raises(MatchingError):
        engine.submit(make.order("2"), tick)
    with pytest.raises(MatchingError):
        engine.modify("1", quantity=1, quote=tick)

    assert engine.working_orders() == (make.buy_limit(100),)
    assert make.fills(engine.process_tick(make.tick(99))) == [("1", 99)]


@pytest.mark.parametrize(
    "candle",
    [
        make.candle(99, 98, 101, 99),
        make.candle(99, 100, 98, 101),
        make.candle(97, 100, 98, 99),
        make.candle("NaN", 100, 98, 99),
        make.candle(99, "Infinity", 98, 99),
        make.candle(99, 100, 0, 99),
        make.candle(99, 100, -1, 99),
        make.candle(99, 100, 98, 99, volume=-1),
        replace(make.candle(99, 100, 98, 99), close=99.0),
        make.candle(99, 100, 98, 99, start=datetime(2026, 1, 5, 9, 15)),
    ],
)
def test_bad_candle_changes_nothing(engine, candle):
    with pytest.raises(MatchingError):
        engine.process_candle(candle)

    assert engine.working_orders() == (make.buy_limit(100),)


@pytest.mark.parametrize(
    "order",
    [
        make.order("2", quantity=0),
        make.order("2", quantity=-5),
        make.order("2", quantity=2.5),
        make.order("2", quantity=True),
        make.order("2", limit_price=Decimal(1)),
        make.order("2", trigger_price=Decimal(1)),
        make.order("2", order_type=OrderType.LIMIT),
        make.order("2", order_type=OrderType.SL, limit_price=Decimal(1)),
        make.buy_limit("NaN", "2"),
        make.buy_limit(0, "2"),
        make.buy_stop("Infinity", order_id="2"),
        make.buy_limit(100, "1"),
    ],
)
def test_bad_order_changes_nothing(engine, order):
    with pytest.raises(MatchingError):
        engine.submit(order)

    assert engine.working_orders() == (make.buy_limit(100),)


@pytest.mark.parametrize(
    "change", [{"quantity": 0}, {"limit_price": NAN}, {"limit_price": INFINITY}, {"trigger_price": Decimal(1)}]
)
def test_bad_modification_changes_nothing(engine, change):
    with pytest.raises(MatchingError):
        engine.modify("1", **change)

    assert engine.working_orders() == (make.buy_limit(100),)
    assert make.fills(engine.process_tick(make.tick(99))) == [("1", 99)]


def test_quote_of_another_instrument_is_refused(engine):
    with pytest.raises(MatchingError):
        engine.submit(make.order("2"), make.tick(99, instrument=make.TCS))
