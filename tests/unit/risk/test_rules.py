"""Each risk rule: where it refuses, where it lets pass, and that it refuses what it cannot judge."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import OrderRequest, OrderType, Side
from pulse_domain.risk import (
    RULES,
    Breach,
    OrderCounts,
    PriceFacts,
    ResultFacts,
    RiskFacts,
    RiskLimits,
    RiskRule,
    Waiver,
    check_counts,
    check_risk,
    effective_price,
    reduces,
    waived,
)

NOW = datetime(2026, 1, 20, 9, 0, tzinfo=UTC)  # 14:30 in India
TCS = Instrument.parse("NSE:TCS")
PRICE = PriceFacts(
    at=NOW,
    last_price=Decimal(100),
    minute_vwap=Decimal(100),
    lower_circuit=Decimal(80),
    upper_circuit=Decimal(120),
)
FACTS = RiskFacts(
    now=NOW,
    killed=False,
    price=PRICE,
    result=ResultFacts(at=NOW, net=Decimal(0)),
    position=0,
    net_position=0,
    open_orders=0,
    open_positions=0,
    recent_orders=(),
    same_orders=(),
    session_open=True,
)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def order(side: Side = Side.BUY, quantity: int = 10, **fields: Any) -> OrderRequest:
    return OrderRequest(instrument=TCS, side=side, total_quantity=quantity, **fields)


def limit(price: str, side: Side = Side.BUY) -> OrderRequest:
    return order(side, order_type=OrderType.LIMIT, limit_price=Decimal(price))


def price(**changes: Any) -> dict[str, Any]:
    return {"price": replace(PRICE, **changes)}


def sent(first_s: float, last_s: float) -> dict[str, Any]:
    return {"sends": (ago(-first_s), ago(-last_s))}


SELL = order(Side.SELL)
R, D = RiskRule, Decimal
LOSS: dict[str, Any] = {"max_daily_loss": D(1000)}
FAT = {"fat_finger_percent": D(5)}
BAND: dict[str, Any] = {"circuit_percent": D(1)}
VALUE = {"max_order_value": D(1000)}
TWICE = {"duplicate_window": timedelta(seconds=30)}

# rule, limits, facts that differ, the order, whether it passes
CASES: list[tuple[RiskRule, dict[str, Any], dict[str, Any], OrderRequest, bool]] = [
    (R.KILL_SWITCH, {}, {}, order(), True),
    (R.KILL_SWITCH, {}, {"killed": True}, order(), False),
    (R.KILL_SWITCH, {}, {"killed": True, "position": 10}, SELL, False),
    (R.SESSION, {"in_session_only": True}, {}, order(), True),
    (R.SESSION, {"in_session_only": True}, {"session_open": False}, order(), False),
    (R.SESSION, {}, {"session_open": False}, order(), True),
    (R.CUT_OFF, {"cut_off": time(14, 31)}, {}, order(), True),
    (R.CUT_OFF, {"cut_off": time(14, 30)}, {}, order(), False),
    (R.CUT_OFF, {"cut_off": time(14, 31)}, sent(0, 60), order(), True),
    (R.CUT_OFF, {"cut_off": time(14, 31)}, sent(0, 61), order(), False),
    (R.CUT_OFF, {"cut_off": time(14, 31)}, sent(60, 60), order(), False),
    (R.CUT_OFF, {"cut_off": time(14, 31)}, sent(30, 86_400), order(), False),
    (R.CUT_OFF, {"cut_off": time(14, 30)}, sent(86_300, 86_400), order(), True),
    (R.CUT_OFF, {"cut_off": time(14, 30)}, {"position": 10}, SELL, True),
    (R.CUT_OFF, {"cut_off": time(14, 30)}, {"position": 9}, SELL, False),
    (R.DUPLICATE_SIGNAL, TWICE, {"same_orders": (ago(30),)}, order(), True),
    (R.DUPLICATE_SIGNAL, TWICE, {"same_orders": (ago(29),)}, order(), False),
    (R.ORDER_RATE, {"max_orders": 2}, {"recent_orders": (ago(60), ago(59))}, order(), True),
    (R.ORDER_RATE, {"max_orders": 2}, {"recent_orders": (ago(59), ago(1))}, order(), False),
    (R.ORDER_RATE, {"max_orders": 0}, {}, order(), False),
    (R.ORDER_QUANTITY, {"max_order_quantity": 10}, {}, order(quantity=10), True),
    (R.ORDER_QUANTITY, {"max_order_quantity": 10}, {}, order(quantity=11), False),
    (R.ORDER_VALUE, VALUE, {}, order(quantity=10), True),
    (R.ORDER_VALUE, VALUE, {}, order(quantity=11), False),
    (R.ORDER_VALUE, VALUE, {}, limit("100.05"), False),
    (R.ORDER_VALUE, VALUE, price(last_price=D("100.05")), limit("1"), False),
    (R.ORDER_VALUE, VALUE, price(at=ago(5)), order(), True),
    (R.OPEN_ORDERS, {"max_open_orders": 3}, {"open_orders": 2}, order(), True),
    (R.OPEN_ORDERS, {"max_open_orders": 3}, {"open_orders": 3}, order(), False),
    (R.OPEN_POSITIONS, {"max_open_positions": 2}, {"open_positions": 1}, order(), True),
    (R.OPEN_POSITIONS, {"max_open_positions": 2}, {"open_positions": 2}, order(), False),
    (R.OPEN_POSITIONS, {"max_open_positions": 2}, {"open_positions": 2, "net_position": 5}, order(), True),
    (R.OPEN_POSITIONS, {"max_open_positions": 2}, {"open_positions": 2, "position": 5}, order(), False),
    (R.DAILY_LOSS, LOSS, {"result": ResultFacts(at=NOW, net=D("-999.99"))}, order(), True),
    (R.DAILY_LOSS, LOSS, {"result": ResultFacts(at=NOW, net=D(-1000))}, order(), False),
    (R.DAILY_LOSS, LOSS, {"result": ResultFacts(at=NOW, net=D(-1000)), "position": -10}, order(), True),
    (R.DAILY_LOSS, LOSS, {"result": ResultFacts(at=ago(31), net=D(0))}, order(), False),
    (R.FAT_FINGER, FAT, {}, limit("105"), True),
    (R.FAT_FINGER, FAT, {}, limit("105.05"), False),
    (R.FAT_FINGER, FAT, {}, limit("95"), True),
    (R.FAT_FINGER, FAT, {}, limit("94.95", Side.SELL), False),
    (R.FAT_FINGER, FAT, price(last_price=D(110)), order(), False),
    (R.FAT_FINGER, FAT, {}, order(order_type=OrderType.SL_M, trigger_price=D(106)), False),
    (R.FAT_FINGER, FAT, price(minute_vwap=None), order(), False),
    (R.CIRCUIT_BAND, BAND, {}, limit("118.75"), True),
    (R.CIRCUIT_BAND, BAND, {}, limit("118.80"), False),
    (R.CIRCUIT_BAND, BAND, {}, limit("80.80"), False),
    (R.CIRCUIT_BAND, BAND, {}, limit("130"), False),
    (R.CIRCUIT_BAND, BAND, price(last_price=D(119)), limit("100"), False),
    (R.CIRCUIT_BAND, BAND, price(last_price=D(119)) | {"position": 10}, SELL, True),
]  # fmt: skip

# What each rule that looks something up cannot do without.
BLIND: list[tuple[RiskRule, dict[str, Any], dict[str, Any]]] = [
    (R.SESSION, {"in_session_only": True}, {"session_open": None}),
    (R.DUPLICATE_SIGNAL, TWICE, {"same_orders": None}),
    (R.ORDER_RATE, {"max_orders": 2}, {"recent_orders": None}),
    (R.ORDER_VALUE, VALUE, {"price": None}),
    (R.ORDER_VALUE, VALUE, price(at=ago(5.1))),
    (R.ORDER_VALUE, VALUE, price(at=ago(-5.1))),
    (R.OPEN_ORDERS, {"max_open_orders": 3}, {"open_orders": None}),
    (R.OPEN_POSITIONS, {"max_open_positions": 3}, {"open_positions": None}),
    (R.OPEN_POSITIONS, {"max_open_positions": 3}, {"net_position": None}),
    (R.DAILY_LOSS, LOSS, {"result": None}),
    (R.FAT_FINGER, FAT, {"price": None}),
    (R.CIRCUIT_BAND, BAND, {"price": None}),
    (R.CIRCUIT_BAND, BAND, price(upper_circuit=None)),
]


@pytest.mark.parametrize(("rule", "limits", "facts", "request_", "passes"), CASES)
def test_a_rule_draws_its_line(
    rule: RiskRule, limits: dict[str, Any], facts: dict[str, Any], request_: OrderRequest, passes: bool
) -> None:
    breaches = check_risk(request_, replace(FACTS, **facts), RiskLimits(**limits))

    assert [breach.rule for breach in breaches] == ([] if passes else [rule])


@pytest.mark.parametrize(("rule", "limits", "facts"), BLIND)
def test_a_rule_refuses_what_it_cannot_judge(
    rule: RiskRule, limits: dict[str, Any], facts: dict[str, Any]
) -> None:
    [breach] = check_risk(order(), replace(FACTS, **facts), RiskLimits(**limits))

    assert (breach.rule, breach.stale) == (rule, True)
    assert "not known" in breach.reason


WAIVER = Waiver(
    breaches=(Breach(R.DAILY_LOSS, "lost"), Breach(R.CUT_OFF, "late", stale=True)), since=NOW, carried=0
)


# Units to close, those that open orders are to close already, those asked for, whether it passes.
@pytest.mark.parametrize(
    ("closable", "closing", "quantity", "passes"),
    [
        (10, 0, 10, True),
        (10, 0, 11, False),
        (10, 4, 6, True),
        (10, 4, 7, False),
        (0, 0, 1, False),
        (-10, 0, 1, False),
        (None, 0, 1, False),
        (10, None, 1, False),
    ],
)
def test_a_waiver_holds_for_as_many_units_as_nothing_open_is_to_close(
    closable: int | None, closing: int | None, quantity: int, passes: bool
) -> None:
    counts = OrderCounts(now=NOW, closable=closable, closing=closing)

    breaches = check_counts(order(Side.SELL, quantity), counts, RiskLimits(waiver=WAIVER))

    told = [(breach.rule, breach.reason.split(";")[0], breach.stale) for breach in breaches]
    assert told == ([] if passes else [(R.DAILY_LOSS, "lost", False), (R.CUT_OFF, "late", True)])


@pytest.mark.parametrize(
    ("facts", "asked", "expected"),
    [
        ({"position": 10}, SELL, [R.CUT_OFF, R.DAILY_LOSS]),
        ({"position": 9}, SELL, []),
        ({"position": 10}, order(), []),
        ({"position": -10, "sends": (ago(60), ago(60))}, order(), [R.DAILY_LOSS]),
        ({"position": 10, "sends": (ago(60), ago(60)), "result": ResultFacts(at=NOW, net=D(0))}, SELL, []),
    ],
)
def test_what_is_waived_is_what_would_refuse_an_order_that_opens(
    facts: dict[str, Any], asked: OrderRequest, expected: list[RiskRule]
) -> None:
    known = replace(FACTS, **({"result": ResultFacts(at=NOW, net=D(-1000))} | facts))
    limits = RiskLimits(**LOSS, **BAND, cut_off=time(14, 30), max_order_quantity=10, max_open_positions=1)

    assert [breach.rule for breach in waived(asked, known, limits)] == expected


def test_every_rule_has_cases_of_both_kinds() -> None:
    assert {rule for rule, _, _, _, passes in CASES if passes} == set(RiskRule)
    assert {rule for rule, _, _, _, passes in CASES if not passes} == set(RiskRule) == set(RULES)


def test_without_limits_nothing_is_looked_at() -> None:
    assert check_risk(order(), RiskFacts(now=NOW, killed=False), RiskLimits()) == ()


def test_all_that_refuses_is_told() -> None:
    facts = replace(FACTS, killed=True, open_orders=5)

    breaches = check_risk(order(quantity=20), facts, RiskLimits(max_open_orders=5, max_order_quantity=10))

    assert [b.rule for b in breaches] == [R.KILL_SWITCH, R.ORDER_QUANTITY, R.OPEN_ORDERS]


@given(side=st.sampled_from(Side), quantity=st.integers(1, 100), position=st.none() | st.integers(-100, 100))
def test_an_order_that_reduces_never_turns_a_position_round(
    side: Side, quantity: int, position: int | None
) -> None:
    after = (position or 0) + (quantity if side is Side.BUY else -quantity)

    taken = reduces(order(side, quantity), position)

    assert taken == (bool(position) and abs(after) < abs(position or 0) and after * (position or 0) >= 0)


@given(
    killed=st.booleans(),
    side=st.sampled_from(Side),
    quantity=st.integers(1, 50),
    position=st.none() | st.integers(-50, 50),
)
def test_the_kill_switch_lets_pass_only_what_closes(
    killed: bool, side: Side, quantity: int, position: int | None
) -> None:
    facts, asked = replace(FACTS, killed=killed, position=position), order(side, quantity)

    assert bool(check_risk(asked, facts, RiskLimits())) is killed
    assert bool(check_risk(asked, facts, RiskLimits(), squares_off=True)) is not reduces(asked, position)


def test_an_orders_price_is_its_limit_then_its_trigger_then_the_markets() -> None:
    both = order(order_type=OrderType.SL, limit_price=D(101), trigger_price=D(102))
    trigger = order(order_type=OrderType.SL_M, trigger_price=D(102))

    assert [effective_price(each, PRICE) for each in (both, trigger, order())] == [101, 102, 100]
