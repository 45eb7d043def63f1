"""With a path the price goes from point to point of a candle, and meets orders in that order."""

from decimal import Decimal

import pytest

from pulse_domain.matching import CandlePath, MatchingEngine, MatchingSettings
from tests.unit.matching import make

PATHS = [CandlePath.OPEN_HIGH_LOW_CLOSE, CandlePath.NEAREST_EXTREME_FIRST]


def engine_on(path: CandlePath, **changes) -> MatchingEngine:
    return MatchingEngine(MatchingSettings(candle_path=path, **changes))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("order", "price"),
    [
        (make.buy_limit("95.00"), None),
        (make.buy_limit("95.05"), "95.05"),
        (make.buy_limit("102.00"), "100.00"),
        (make.sell_limit("110.00"), None),
        (make.sell_limit("98.00"), "100.00"),
        (make.buy_stop("110.00"), "110.00"),
        (make.buy_stop("97.00"), "100.00"),
        (make.sell_stop("95.00"), "95.00"),
        (make.sell_stop("103.00"), "100.00"),
    ],
)
def test_gapped_orders_fill_at_the_open_and_others_at_their_own_price(path, order, price):
    engine = engine_on(path)
    engine.submit(order)

    results = engine.process_candle(make.candle(100, 110, 95, 105))

    assert make.fills(results) == ([] if price is None else [("1", Decimal(price))])


@pytest.mark.parametrize(
    ("path", "filled"),
    [
        (CandlePath.UNKNOWN, []),
        (CandlePath.OPEN_HIGH_LOW_CLOSE, [("1", 102)]),
        (CandlePath.NEAREST_EXTREME_FIRST, []),
    ],
)
def test_stop_limit_fills_behind_its_trigger_where_the_path_comes_back(path, filled):
    engine = engine_on(path)
    engine.submit(make.buy_stop(104, limit=102))

    # The low is the nearer extreme, and the close is above the limit.
    assert make.fills(engine.process_candle(make.candle(100, 110, 95, 105))) == filled


def test_extremes_at_the_same_distance_come_high_first():
    engine = engine_on(CandlePath.NEAREST_EXTREME_FIRST)
    engine.submit(make.buy_limit(96, "low"))
    engine.submit(make.sell_limit(104, "high"))

    results = engine.process_candle(make.candle(100, 105, 95, 100))

    assert make.fills(results) == [("high", 104), ("low", 96)]


@pytest.mark.parametrize(
    ("path", "order"),
    [
        (CandlePath.OPEN_HIGH_LOW_CLOSE, ["stop", "high", "low"]),
        (CandlePath.NEAREST_EXTREME_FIRST, ["low", "stop", "high"]),
    ],
)
def test_orders_fill_as_the_price_comes_to_them(path, order):
    engine = engine_on(path)
    engine.submit(make.buy_limit(96, "low"))
    engine.submit(make.sell_limit(106, "high"))
    engine.submit(make.buy_stop(103, order_id="stop"))

    results = engine.process_candle(make.candle(100, 110, 95, 105))

    assert [order_id for order_id, _ in make.fills(results)] == order
