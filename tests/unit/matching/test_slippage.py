"""Slippage is against the order, on the grid, and never worse than the limit."""

from decimal import Decimal

import pytest

from pulse_domain.matching import (
    BasisPoints,
    FixedTicks,
    ImpactShape,
    MatchingEngine,
    MatchingSettings,
    VolumeImpact,
)
from pulse_domain.orders.model import Side
from tests.unit.matching import make

WIDE = make.candle(100, 110, 90, 100, volume=1000)


def engine_with(slippage, **changes) -> MatchingEngine:
    return MatchingEngine(MatchingSettings(slippage=slippage, **changes))


@pytest.mark.parametrize(
    ("slippage", "bought", "sold"),
    [
        (FixedTicks(3), "100.15", "99.85"),
        (BasisPoints(Decimal(10)), "100.10", "99.90"),
        (BasisPoints(Decimal("0.1")), "100.05", "99.95"),
        # 10 of 1000 is a hundredth, its root a tenth.
        (VolumeImpact(Decimal("0.1")), "101.00", "99.00"),
        (VolumeImpact(Decimal("0.1"), ImpactShape.LINEAR), "100.10", "99.90"),
        (None, "100", "100"),
    ],
)
def test_slippage_is_against_the_order_and_on_the_grid(slippage, bought, sold):
    for side, price in ((Side.BUY, bought), (Side.SELL, sold)):
        engine = engine_with(slippage)
        engine.submit(make.order(side=side))

        assert make.fills(engine.process_candle(WIDE)) == [("1", Decimal(price))]


def test_each_instrument_has_its_own_tick():
    engine = engine_with(FixedTicks(3), tick_sizes={make.TCS: Decimal("0.10")})

    assert make.fills(engine.submit(make.order(instrument=make.TCS), make.tick(100, instrument=make.TCS))) == [
        ("1", Decimal("100.30"))
    ]


@pytest.mark.parametrize(
    ("order", "price"),
    [(make.buy_limit("100.05"), "100.05"), (make.sell_limit("99.95"), "99.95"), (make.buy_limit(95), "95")],
)
def test_slippage_stops_at_the_limit(order, price):
    engine = engine_with(FixedTicks(10))
    engine.submit(order)

    assert make.fills(engine.process_candle(WIDE)) == [("1", Decimal(price))]


@pytest.mark.parametrize(("beyond", "price"), [(False, "100.10"), (True, "100.50")])
def test_slippage_leaves_the_candle_only_if_told_so(beyond, price):
    engine = engine_with(FixedTicks(10), slip_beyond_candle=beyond)
    engine.submit(make.order())

    assert make.fills(engine.process_candle(make.candle(100, "100.10", 99, 100))) == [("1", Decimal(price))]


def test_ticks_and_basis_points_are_added_to_the_last_price_but_not_to_a_quote():
    engine = engine_with(FixedTicks(2))

    assert make.fills(engine.submit(make.order(), make.tick(100))) == [("1", Decimal("100.10"))]
    assert make.fills(engine.submit(make.order(), make.tick(100, 99, 101))) == [("1", 101)]


def test_sell_never_slips_to_nothing():
    engine = engine_with(FixedTicks(50))

    assert make.fills(engine.submit(make.order(side=Side.SELL), make.tick("0.10"))) == [("1", Decimal("0.05"))]
