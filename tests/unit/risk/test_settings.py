"""The risk limits as the environment sets them."""

from datetime import time, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_adapters.risk_settings import VARIABLES, RiskSettings, SquareOff, read_risk
from pulse_domain.risk import RiskLimits

# The variable, its field, and a good value with what becomes of it.
GOOD: dict[str, tuple[str, str, Any]] = {
    "RISK_MAX_DAILY_LOSS": ("max_daily_loss", "25000.50", Decimal("25000.50")),
    "RISK_FAT_FINGER_PERCENT": ("fat_finger_percent", "2.5", Decimal("2.5")),
    "RISK_CIRCUIT_PERCENT": ("circuit_percent", "100", Decimal(100)),
    "RISK_MAX_ORDER_VALUE": ("max_order_value", "1e6", Decimal(1_000_000)),
    "RISK_MAX_ORDER_QUANTITY": ("max_order_quantity", "5000", 5000),
    "RISK_MAX_OPEN_ORDERS": ("max_open_orders", "20", 20),
    "RISK_MAX_OPEN_POSITIONS": ("max_open_positions", "1", 1),
    "RISK_MAX_ORDERS": ("max_orders", "30", 30),
    "RISK_ORDERS_WINDOW_SECONDS": ("orders_window", "10", timedelta(seconds=10)),
    "RISK_DUPLICATE_WINDOW_SECONDS": ("duplicate_window", "0.5", timedelta(seconds=0.5)),
    "RISK_IN_SESSION_ONLY": ("in_session_only", "true", True),
    "RISK_CUT_OFF": ("cut_off", "15:15", time(15, 15)),
    "RISK_PRICE_MAX_AGE_SECONDS": ("price_max_age", "3", timedelta(seconds=3)),
    "RISK_RESULT_MAX_AGE_SECONDS": ("result_max_age", "60", timedelta(seconds=60)),
}
AMOUNTS = ("RISK_MAX_DAILY_LOSS", "RISK_MAX_ORDER_VALUE")
PERCENTAGES = ("RISK_FAT_FINGER_PERCENT", "RISK_CIRCUIT_PERCENT")
COUNTS = ("RISK_MAX_ORDER_QUANTITY", "RISK_MAX_OPEN_ORDERS", "RISK_MAX_OPEN_POSITIONS", "RISK_MAX_ORDERS")
WINDOWS = tuple(name for name in GOOD if name.endswith("_SECONDS"))
BAD = [
    *((name, text) for name in AMOUNTS for text in ("0", "-1", "NaN", "much")),
    *((name, text) for name in PERCENTAGES for text in ("0", "101", "1%")),
    *((name, text) for name in COUNTS for text in ("0", "-1", "1.5", "\u0661", "99999999999")),
    *((name, text) for name in WINDOWS for text in ("0", "-1", "nan", "inf", "86401", "a while")),
    ("RISK_IN_SESSION_ONLY", "yes"),
    ("RISK_CUT_OFF", "25:00"),
    ("RISK_CUT_OFF", "15:15+05:30"),
    ("RISK_SQUARE_OFF", "limit"),
    ("RISK_KILL_ON_DAILY_LOSS", "1"),
]


def test_without_variables_nothing_is_on() -> None:
    settings = read_risk(dict.fromkeys(VARIABLES, ""))

    assert settings == read_risk({}) == RiskSettings(limits=RiskLimits())
    assert not settings.limits.any_set


@pytest.mark.parametrize("name", GOOD)
def test_every_limit_is_set_by_its_variable(name: str) -> None:
    field, text, value = GOOD[name]

    assert read_risk({name: text}).limits == RiskLimits(**{field: value})


def test_every_limit_has_a_variable() -> None:
    of_one_order = {"waiver"}
    assert {field for field, _, _ in GOOD.values()} == set(RiskLimits.__struct_fields__) - of_one_order
    assert set(VARIABLES) == {*GOOD, "RISK_SQUARE_OFF", "RISK_KILL_ON_DAILY_LOSS"}


@pytest.mark.parametrize(("name", "text"), BAD)
def test_a_wrong_one_is_named_in_one_line(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} [^\n]+$"):
        read_risk({name: text, "RISK_MAX_DAILY_LOSS": text if name == "RISK_MAX_DAILY_LOSS" else "1"})


def test_the_kill_switch_is_set_by_variables() -> None:
    settings = read_risk(
        {"RISK_SQUARE_OFF": "market", "RISK_KILL_ON_DAILY_LOSS": "true", "RISK_MAX_DAILY_LOSS": "100"}
    )

    assert (settings.square_off, settings.kill_on_daily_loss) == (SquareOff.MARKET, True)


def test_the_kill_switch_trips_by_no_loss_that_is_not_told() -> None:
    with pytest.raises(ValueError, match=r"^RISK_KILL_ON_DAILY_LOSS needs RISK_MAX_DAILY_LOSS$"):
        read_risk({"RISK_KILL_ON_DAILY_LOSS": "true"})
