"""Matching against ticks: the behaviours that an Indian paper broker should show."""

from decimal import Decimal

import pytest

from pulse_domain.matching import Cancelled, Filled, MatchingEngine, Rejected
from pulse_domain.orders.model import Side, Validity
from tests.unit.matching import make


@pytest.fixture
def engine() -> MatchingEngine:
    return MatchingEngine()


@pytest.fixture
def touchy() -> MatchingEngine:
    return MatchingEngine(fill_on_touch=True)


# --- at once -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "100.10"), (Side.SELL, "99.90")])
def test_market_order_takes_the_opposite_quote(engine, side, price):
    results = engine.submit(make.order(side=side), make.tick(100, "99.90", "100.10"))

    assert make.kinds(results) == ["Accepted", "Filled"]
    assert make.fills(results) == [("1", Decimal(price))]
    assert engine.working_orders() == ()


def test_market_order_takes_the_last_price_where_no_quote_is_known(engine):
    assert make.fills(engine.submit(make.order(), make.tick(100))) == [("1", 100)]


def test_market_order_without_a_quote_meets_the_next_tick(engine):
    submitted = engine.submit(make.order())

    results = engine.process_tick(make.tick(100, 99, 101))

    assert make.kinds(submitted) == ["Accepted"]
    assert make.fills(results) == [("1", 101)]


@pytest.mark.parametrize(
    ("order", "price"),
    [
        (make.buy_limit("101"), "100.10"),
        (make.buy_limit("100.10"), "100.10"),
        (make.sell_limit("99"), "99.90"),
        (make.sell_limit("99.90"), "99.90"),
    ],
)
def test_marketable_limit_fills_at_the_better_price(engine, order, price):
    assert make.fills(engine.submit(order, make.tick(100, "99.90", "100.10"))) == [("1", Decimal(price))]


def test_limit_inside_the_spread_rests(engine):
    results = engine.submit(make.buy_limit(100), make.tick(100, "99.90", "100.10"))

    assert make.kinds(results) == ["Accepted"]
    assert [o.order_id for o in engine.working_orders()] == ["1"]


# --- at rest -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "price", "filled"),
    [
        (make.buy_limit(100), "100.05", False),
        (make.buy_limit(100), "100.00", False),
        (make.buy_limit(100), "99.95", True),
        (make.sell_limit(100), "99.95", False),
        (make.sell_limit(100), "100.00", False),
        (make.sell_limit(100), "100.05", True),
    ],
)
def test_resting_limit_fills_when_the_price_trades_through_it(engine, order, price, filled):
    engine.submit(order)

    assert bool(make.fills(engine.process_tick(make.tick(price)))) is filled


def test_touching_the_limit_fills_where_configured(touchy):
    touchy.submit(make.buy_limit(100))

    assert make.fills(touchy.process_tick(make.tick(100))) == [("1", 100)]


@pytest.mark.parametrize(
    ("order", "bid", "ask", "price"),
    [
        (make.buy_limit(100), "99.95", "100.00", "100.00"),
        (make.buy_limit(100), "99.85", "99.90", "99.90"),
        (make.sell_limit(100), "100.00", "100.05", "100.00"),
        (make.sell_limit(100), "100.10", "100.15", "100.10"),
    ],
)
def test_resting_limit_fills_against_a_quote_that_meets_it(engine, order, bid, ask, price):
    engine.submit(order)

    # The last trade is an old one, on the far side of the limit.
    last = "101" if order.side is Side.BUY else "99"
    assert make.fills(engine.process_tick(make.tick(last, bid, ask))) == [("1", Decimal(price))]


def test_best_prices_fill_first_and_equal_prices_in_order_of_time(engine):
    for order_id, price in (("low", 99), ("first", 100), ("second", 100), ("high", 101)):
        engine.submit(make.buy_limit(price, order_id))

    results = engine.process_tick(make.tick(98))

    assert [order_id for order_id, _ in make.fills(results)] == ["high", "first", "second", "low"]


def test_ticks_of_another_instrument_fill_nothing(engine):
    engine.submit(make.buy_limit(100))

    assert engine.process_tick(make.tick(50, instrument=make.TCS)) == ()
    assert engine.instruments() == (make.INFY,)


def test_filled_order_does_not_fill_again(engine):
    engine.submit(make.buy_limit(100))
    engine.process_tick(make.tick(99))

    assert engine.process_tick(make.tick(99)) == ()
    assert engine.instruments() == ()


@pytest.mark.parametrize("price", [90, 110])
def test_price_outside_its_own_day_range_fills_nothing(engine, price):
    off_day = make.tick(price, day_low=Decimal(95), day_high=Decimal(105))
    engine.submit(make.buy_limit(100, "buy"))
    engine.submit(make.sell_limit(100, "sell"))
    engine.submit(make.order("market"))

    assert engine.process_tick(off_day) == ()
    assert make.kinds(engine.submit(make.order("late"), off_day)) == ["Accepted"]
    assert len(engine.working_orders()) == 4


# --- stops -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "price", "fires"),
    [
        (make.buy_stop(100), "99.95", False),
        (make.buy_stop(100), "100.00", True),
        (make.buy_stop(100), "100.05", True),
        (make.sell_stop(100), "100.05", False),
        (make.sell_stop(100), "100.00", True),
        (make.sell_stop(100), "99.95", True),
    ],
)
def test_stop_fires_at_or_beyond_its_trigger(engine, order, price, fires):
    engine.submit(order)

    results = engine.process_tick(make.tick(price))

    assert make.kinds(results) == (["Triggered", "Filled"] if fires else [])
    assert make.fills(results) == ([("1", Decimal(price))] if fires else [])


def test_stop_beyond_its_trigger_on_arrival_fires_at_once(engine):
    results = engine.submit(make.buy_stop(100), make.tick(101, 100, 102))

    assert make.kinds(results) == ["Accepted", "Triggered", "Filled"]
    assert make.fills(results) == [("1", 102)]


@pytest.mark.parametrize("order", [make.buy_stop(100), make.sell_stop(100)])
def test_stop_at_its_trigger_on_arrival_fires_at_once(engine, order):
    assert make.fills(engine.submit(order, make.tick(100))) == [("1", 100)]


def test_stop_fires_on_trades_not_on_quotes(engine):
    engine.submit(make.buy_stop(100))

    assert engine.process_tick(make.tick("99.95", "99.90", "100.05")) == ()


def test_fired_stop_limit_that_is_not_marketable_rests_as_a_limit(engine):
    engine.submit(make.buy_stop(100, limit="100.50"))

    fired = engine.process_tick(make.tick(102, "101.95", "102.05"))
    filled = engine.process_tick(make.tick(99, "98.95", "99.05"))

    assert make.kinds(fired) == ["Triggered"]
    assert make.kinds(filled) == ["Filled"]
    assert make.fills(filled) == [("1", Decimal("99.05"))]


# --- IOC ---------------------------------------------------------------------------------------


def test_ioc_that_cannot_fill_is_cancelled(engine):
    results = engine.submit(make.buy_limit(99, validity=Validity.IOC), make.tick(100, 99, 101))

    assert results[1:] == (Cancelled(order_id="1", reason_code="IOC"),)
    assert engine.working_orders() == ()


def test_ioc_without_a_quote_meets_the_next_tick_only(engine):
    engine.submit(make.buy_limit(99, validity=Validity.IOC))

    assert make.kinds(engine.process_tick(make.tick(100))) == ["Cancelled"]


def test_ioc_stop_waits_for_its_trigger(engine):
    engine.submit(make.buy_stop(100, limit=100, validity=Validity.IOC), make.tick(99))

    assert engine.process_tick(make.tick(99)) == ()
    assert make.kinds(engine.process_tick(make.tick(101))) == ["Triggered", "Cancelled"]


# --- cancel and modify -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order", [make.buy_limit(100), make.sell_limit(100), make.buy_stop(100), make.sell_stop(100), make.order()]
)
def test_cancelled_order_does_not_fill(engine, order):
    engine.submit(order)

    assert engine.cancel("1") == (Cancelled(order_id="1", reason_code="REQUESTED"),)
    assert engine.process_tick(make.tick(90)) == engine.process_tick(make.tick(110)) == ()


def test_cancel_and_modify_of_what_does_not_work_are_rejected(engine):
    engine.submit(make.order(), make.tick(100))

    rejected = (Rejected(order_id="1", reason_code="UNKNOWN_ORDER"),)
    assert engine.cancel("1") == engine.modify("1", quantity=5) == rejected


def test_modified_order_has_its_new_price_and_quantity(engine):
    engine.submit(make.buy_limit(90))

    engine.modify("1", quantity=7, limit_price=Decimal(100))

    assert engine.process_tick(make.tick(99)) == (
        Filled(order_id="1", quantity=7, price=Decimal(99), at=make.AT),
    )


def test_modify_to_a_marketable_price_fills_at_once(engine):
    engine.submit(make.buy_limit(90), make.tick(100))

    results = engine.modify("1", limit_price=Decimal(105), quote=make.tick(100, 99, 101))

    assert make.kinds(results) == ["Modified", "Filled"]
    assert make.fills(results) == [("1", 101)]


def test_stop_can_be_modified_before_it_fires(engine):
    engine.submit(make.buy_stop(100))

    engine.modify("1", trigger_price=Decimal(110))

    assert engine.process_tick(make.tick(105)) == ()
    assert make.kinds(engine.process_tick(make.tick(110))) == ["Triggered", "Filled"]


@pytest.mark.parametrize(
    ("change", "order_of_fills"),
    [
        ({"quantity": 5}, ["1", "2"]),
        ({"quantity": 20}, ["2", "1"]),
        ({"limit_price": Decimal(100)}, ["1", "2"]),
    ],
)
def test_modified_order_keeps_its_place_unless_it_asks_for_more(engine, change, order_of_fills):
    engine.submit(make.buy_limit(100, "1"))
    engine.submit(make.buy_limit(100, "2"))

    engine.modify("1", **change)

    assert [order_id for order_id, _ in make.fills(engine.process_tick(make.tick(99)))] == order_of_fills
