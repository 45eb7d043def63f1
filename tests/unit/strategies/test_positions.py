"""How much is traded, and what becomes of a position, whatever becomes of the orders."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.account import Holding
from pulse_domain.backtest import BacktestResult, CandleSeries
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import MatchingSettings
from pulse_domain.orders.model import Product
from pulse_domain.orders.status import OrderState
from pulse_domain.strategies.sizing import quantity_by_risk
from pulse_domain.units import INDIA
from tests.unit.strategies.make import INFY, RSI, TCS, candles, orders, run, sides
from tests.unit.strategies.test_signals import FALL, RISE

# --- how much ----------------------------------------------------------------------------------


def size(**given: Any) -> int:
    fields: dict[str, Any] = {
        "equity": Decimal(1_000_000), "cash": Decimal(1_000_000), "price": Decimal(100), "stop_distance": 5.0,
        "risk_percent": 1.0, "max_leverage": 1.0, "max_quantity": 100_000, "lot_size": 1,
    }  # fmt: skip
    return quantity_by_risk(**fields | given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 2000),  # 10,000 may be lost, 5 on each
        ({"risk_percent": 0.5}, 1000),
        ({"stop_distance": 3.0}, 3333),
        ({"lot_size": 75}, 1950),
        ({"lot_size": 2000}, 2000),
        ({"lot_size": 2001}, 0),
        ({"max_quantity": 700}, 700),
        ({"max_quantity": 700, "lot_size": 75}, 675),
        ({"max_quantity": 1, "lot_size": 75}, 0),
        ({"cash": Decimal(50_000)}, 500),
        ({"cash": Decimal(50_099)}, 500),
        ({"cash": Decimal(50_000), "max_leverage": 5.0}, 2500 - 500),
        ({"cash": Decimal(0)}, 0),
        ({"cash": Decimal(-5)}, 0),
        ({"equity": Decimal(0)}, 0),
        ({"equity": Decimal(-1)}, 0),
        ({"stop_distance": 0.0}, 0),
        ({"stop_distance": 5e-324, "max_quantity": 10}, 10),
    ],
)
def test_quantity(given: dict[str, Any], expected: int) -> None:
    assert size(**given) == expected


@given(
    risk=st.integers(1, 100),
    distance=st.floats(0.05, 500),
    cash=st.integers(1, 10**8),
    price=st.integers(1, 10**5),
    lot=st.integers(1, 5000),
)
def test_a_quantity_is_in_lots_and_within_every_bound(
    risk: int, distance: float, cash: int, price: int, lot: int
) -> None:
    quantity = size(
        risk_percent=float(risk), stop_distance=distance, cash=Decimal(cash), price=Decimal(price), lot_size=lot
    )

    assert quantity % lot == 0
    assert 0 <= quantity <= 100_000
    assert quantity * distance <= 1_000_000 * risk / 100 * (1 + 1e-12)
    assert quantity * price <= cash


def test_an_entry_risks_what_it_may_at_its_stop() -> None:
    # Entered at 100.5 with an average true range of 1.5: a stop of 2 of them is 3 away.
    chosen = RSI | {"stop_atrs": 2, "risk_percent": 0.2, "max_quantity": 10**6}

    result = run("rsi", candles(RISE), chosen, capital=Decimal(1_000_000))

    assert orders(result)[0] == (5, "BUY", 666)


def test_lots_are_those_of_the_host() -> None:
    terms = {TCS: InstrumentTerms(lot_size=75)}

    assert orders(run("rsi", candles(RISE), RSI | {"max_quantity": 200}, terms=terms)) == [
        (5, "BUY", 150), (11, "SELL", 150),
    ]  # fmt: skip
    assert orders(run("rsi", candles(RISE), RSI | {"max_quantity": 74}, terms=terms)) == []


def test_what_the_cash_does_not_pay_for_is_not_ordered() -> None:
    result = run("rsi", candles(RISE), RSI | {"stop_atrs": 0.01}, capital=Decimal(10_000))

    assert orders(result)[0] == (5, "BUY", 99)
    assert {order.summary.state for order in result.orders} == {OrderState.FILLED}


def test_the_product_is_the_one_that_is_chosen() -> None:
    by_default, chosen = run("rsi", candles(RISE), RSI), run("rsi", candles(RISE), RSI | {"product": "CNC"})

    assert {order.request.product for order in by_default.orders} == {Product.MIS}
    assert {order.request.product for order in chosen.orders} == {Product.CNC}


def holding(instrument: Instrument, quantity: int) -> Holding:
    return Holding(instrument=instrument, quantity=quantity, average_price=Decimal(90))


# --- what becomes of orders --------------------------------------------------------------------


def thin(series: CandleSeries, **parameters: Any) -> BacktestResult:
    """In a market that gives ten units a candle."""
    return run("rsi", series, RSI | parameters, matching=MatchingSettings(participation=Decimal("0.01")))


def test_an_entry_that_is_a_candle_old_is_cancelled_and_its_part_managed() -> None:
    entry, exit_ = thin(candles(RISE)).orders

    assert (entry.summary.state, entry.summary.quantities.filled) == (OrderState.PARTIALLY_FILLED, 10)
    assert (exit_.request.total_quantity, exit_.summary.state) == (10, OrderState.FILLED)


def test_an_exit_under_way_is_waited_for() -> None:
    holdings = (holding(TCS, 40),)

    result = run(
        "rsi", candles([*FALL, *FALL]), RSI | {"product": "CNC", "leave": 59},
        holdings=holdings, matching=MatchingSettings(participation=Decimal("0.01")),
    )  # fmt: skip

    first, *_ = result.orders
    assert (first.request.side.value, first.request.total_quantity) == ("SELL", 40)
    assert [fill.quantity for fill in first.fills] == [10, 10, 10, 10]
    sent = [number for number, *_ in orders(result)]
    assert all(number > sent[0] + 4 for number in sent[1:])


def test_what_is_to_be_closed_is_tried_again_whatever_the_signals_say() -> None:
    # The exit is sent with the last candle of a day, and expires with the day.
    days = [datetime(2026, 1, day, 9, 15, tzinfo=INDIA) for day in (5, 6)]
    fall = candles([110, 110, 110, 105], opens_at=days[0])
    rise = candles([115, 117, 120, 123, 126], opens_at=days[1])
    series = CandleSeries.from_candles([*fall, *rise], interval=fall.interval)
    chosen = {"product": "CNC", "leave": 1, "stop_atrs": 0.01, "flat_at": "never", "atr_length": 2}

    result = run(
        "rsi", series, RSI | chosen, holdings=(holding(TCS, 40),),
        matching=MatchingSettings(participation=Decimal("0.02")),
    )  # fmt: skip

    assert [order.summary.state for order in result.orders] == [OrderState.EXPIRED, OrderState.FILLED]


# --- positions from before ---------------------------------------------------------------------


def test_a_position_from_before_gets_a_stop_and_is_closed_at_it() -> None:
    holdings = (holding(TCS, 40), holding(INFY, 7))
    # The average true range is known at candle 2: 1.5, by a close of 100. Its stop is at 98.5.
    closes = [100, 100.5, 100, 100.5, 99.5, 98.6, 98.5, 98]
    chosen = RSI | {"product": "CNC", "leave": 0.1, "stop_atrs": 1}

    result = run("rsi", candles(closes), chosen, holdings=holdings)

    assert orders(result) == [(6, "SELL", 40)]


def test_a_position_from_before_is_closed_by_the_signals() -> None:
    holdings = (holding(TCS, 40),)

    result = run("rsi", candles(RISE), RSI | {"product": "CNC", "leave": 45}, holdings=holdings)

    # At candle 4 the RSI is 44.4. The way up follows.
    assert [(number, side) for number, side, _ in orders(result)][:2] == [(4, "SELL"), (5, "BUY")]


def test_of_a_position_from_before_whole_lots_are_closed() -> None:
    terms = {TCS: InstrumentTerms(lot_size=30)}
    chosen = RSI | {"product": "CNC", "flat_at": "09:20"}

    result = run("rsi", candles(RISE), chosen, holdings=(holding(TCS, 80),), terms=terms)

    assert orders(result) == [(4, "SELL", 60)]


def test_what_was_squared_off_by_others_is_not_closed_again() -> None:
    closes = [*RISE[:9], *range(105, 115)]
    squared_off = run(
        "rsi", candles(closes), RSI | {"flat_at": "09:30"}, square_off_at=datetime(2026, 1, 5, 9, 25).time()
    )

    assert [order.order_unique_key for order in squared_off.orders] == ["order-1", "square-off-2"]
    assert sides(squared_off)[0] == (5, "BUY")
