"""Matching against candles: gap-true, and never at a price outside the candle."""

from decimal import Decimal

import pytest

from pulse_domain.matching import MatchingEngine
from pulse_domain.orders.model import Side, Validity
from tests.unit.matching import make


@pytest.fixture
def engine() -> MatchingEngine:
    return MatchingEngine()


@pytest.mark.parametrize(
    ("order", "price"),
    [
        (make.buy_limit("94.95"), None),
        (make.buy_limit("95.00"), None),
        (make.buy_limit("95.05"), "95.05"),
        (make.buy_limit("100.00"), "100.00"),
        (make.buy_limit("102.00"), "100.00"),
        (make.sell_limit("110.05"), None),
        (make.sell_limit("110.00"), None),
        (make.sell_limit("109.95"), "109.95"),
        (make.sell_limit("100.00"), "100.00"),
        (make.sell_limit("98.00"), "100.00"),
    ],
)
def test_limit_fills_inside_the_candle_or_at_the_open_beyond_it(engine, order, price):
    engine.submit(order)

    results = engine.process_candle(make.candle(100, 110, 95, 105))

    assert make.fills(results) == ([] if price is None else [("1", Decimal(price))])


def test_touching_the_low_fills_where_configured():
    engine = MatchingEngine(fill_on_touch=True)
    engine.submit(make.buy_limit(95))

    assert make.fills(engine.process_candle(make.candle(100, 110, 95, 105))) == [("1", 95)]


@pytest.mark.parametrize(
    ("order", "price"),
    [
        (make.buy_stop("110.05"), None),
        (make.buy_stop("110.00"), "110.00"),
        (make.buy_stop("104.00"), "104.00"),
        (make.buy_stop("100.00"), "100.00"),
        (make.buy_stop("97.00"), "100.00"),
        (make.sell_stop("94.95"), None),
        (make.sell_stop("95.00"), "95.00"),
        (make.sell_stop("98.00"), "98.00"),
        (make.sell_stop("103.00"), "100.00"),
    ],
)
def test_stop_fills_at_its_trigger_or_at_the_open_beyond_it(engine, order, price):
    engine.submit(order)

    results = engine.process_candle(make.candle(100, 110, 95, 105))

    assert make.fills(results) == ([] if price is None else [("1", Decimal(price))])


@pytest.mark.parametrize(
    ("order", "fill"),
    [
        # The market goes through the trigger and the limit lies beyond: filled at the trigger.
        (make.buy_stop(104, limit=106), "104"),
        # The open is beyond the trigger and within the limit: filled at the open.
        (make.buy_stop(98, limit=106), "100"),
        # The open is beyond both; whatever follows comes after it, so the low fills it at the limit.
        (make.buy_stop(97, limit=98), "98"),
        # The open is beyond both and the price does not come back.
        (make.buy_stop(94, limit="94.50"), None),
        # Fired within the candle: nobody knows whether the low came before or after.
        (make.buy_stop(104, limit=102), None),
        (make.sell_stop(97, limit=96), "97"),
        (make.sell_stop(102, limit=101), "101"),
    ],
)
def test_stop_limit_fills_only_where_the_candle_is_certain(engine, order, fill):
    engine.submit(order)

    results = engine.process_candle(make.candle(100, 110, 95, 105))

    assert make.kinds(results) == ["Triggered"] + (["Filled"] if fill else [])
    assert make.fills(results) == ([("1", Decimal(fill))] if fill else [])


def test_fired_stop_limit_that_rests_fills_in_a_later_candle(engine):
    engine.submit(make.buy_stop(104, limit=102))
    engine.process_candle(make.candle(100, 110, 95, 105))

    assert make.fills(engine.process_candle(make.candle(105, 106, 101, 103))) == [("1", 102)]


@pytest.mark.parametrize("side", Side)
def test_order_sent_while_a_candle_is_open_fills_at_the_next_open(engine, side):
    engine.process_candle(make.candle(100, 110, 95, 105))
    engine.submit(make.order(side=side))

    assert make.fills(engine.process_candle(make.candle("104.50", 106, 104, 105))) == [("1", Decimal("104.50"))]


def test_ioc_limit_meets_the_next_open_and_no_later_price(engine):
    engine.submit(make.buy_limit(99, validity=Validity.IOC))

    assert make.kinds(engine.process_candle(make.candle(100, 110, 95, 105))) == ["Cancelled"]


def test_candle_of_one_price_is_a_trade_at_that_price(engine):
    engine.submit(make.buy_limit(100, "at"))
    engine.submit(make.buy_limit(101, "above"))
    engine.submit(make.buy_stop(100, order_id="stop"))

    assert make.fills(engine.process_candle(make.candle(100, 100, 100, 100))) == [("stop", 100), ("above", 100)]
