"""The desk's risk limits as the environment sets them: texts in, values out. Every process reads the same."""

from collections.abc import Callable, Mapping
from datetime import time, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from msgspec import Struct

from pulse_domain.risk import RiskLimits

_AMOUNT_MAX = Decimal(10) ** 15
_COUNT_MAX = 1_000_000_000
_DAY_S = 86_400.0


class SquareOff(StrEnum):
    """What the kill switch does about positions, once nothing works any more."""

    NONE = "none"
    MARKET = "market"  # closes them by market orders


class RiskSettings(Struct, frozen=True, kw_only=True):
    """kill_on_daily_loss: whether the kill switch trips by itself at `limits.max_daily_loss`."""

    limits: RiskLimits = RiskLimits()
    square_off: SquareOff = SquareOff.NONE
    kill_on_daily_loss: bool = False


def read_risk(environ: Mapping[str, str]) -> RiskSettings:
    """Read and check the variables of the risk gate; an empty one counts as absent.

    Raises:
        ValueError: one is wrong; the text is one line that names it.
    """
    limits: dict[str, Any] = {}
    for name, (field, read) in _LIMITS.items():
        if text := environ.get(name, ""):
            limits[field] = read(name, text)
    square_off = environ.get("RISK_SQUARE_OFF", "") or SquareOff.NONE
    if square_off not in list(SquareOff):
        raise ValueError(f"RISK_SQUARE_OFF must be one of {', '.join(SquareOff)}")
    kills = _yes("RISK_KILL_ON_DAILY_LOSS", environ.get("RISK_KILL_ON_DAILY_LOSS", "") or "false")
    settings = RiskSettings(
        limits=RiskLimits(**limits),
        square_off=SquareOff(square_off),
        kill_on_daily_loss=kills,
    )
    if settings.kill_on_daily_loss and settings.limits.max_daily_loss is None:
        raise ValueError("RISK_KILL_ON_DAILY_LOSS needs RISK_MAX_DAILY_LOSS")
    return settings


def _amount(name: str, text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{name} must be an amount of rupees") from None
    if not amount.is_finite() or not 0 < amount <= _AMOUNT_MAX:
        raise ValueError(f"{name} must be an amount of rupees above 0")
    return amount


def _percent(name: str, text: str) -> Decimal:
    try:
        percent = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{name} must be a percentage") from None
    if not percent.is_finite() or not 0 < percent <= 100:
        raise ValueError(f"{name} must be above 0 and at most 100")
    return percent


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _COUNT_MAX):
        raise ValueError(f"{name} must be a whole number from 1 to {_COUNT_MAX}")
    return int(text)


def _window(name: str, text: str) -> timedelta:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number of seconds") from None
    if not 0 < seconds <= _DAY_S:
        raise ValueError(f"{name} must be above 0 and at most {_DAY_S:.0f} seconds")
    return timedelta(seconds=seconds)


def _clock_time(name: str, text: str) -> time:
    try:
        at = time.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is not None:
        raise ValueError(f"{name} must be an Indian time of day such as 15:15")
    return at


def _yes(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{name} must be true or false")
    return text == "true"


_LIMITS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "RISK_MAX_DAILY_LOSS": ("max_daily_loss", _amount),
    "RISK_FAT_FINGER_PERCENT": ("fat_finger_percent", _percent),
    "RISK_CIRCUIT_PERCENT": ("circuit_percent", _percent),
    "RISK_MAX_ORDER_VALUE": ("max_order_value", _amount),
    "RISK_MAX_ORDER_QUANTITY": ("max_order_quantity", _count),
    "RISK_MAX_OPEN_ORDERS": ("max_open_orders", _count),
    "RISK_MAX_OPEN_POSITIONS": ("max_open_positions", _count),
    "RISK_MAX_ORDERS": ("max_orders", _count),
    "RISK_ORDERS_WINDOW_SECONDS": ("orders_window", _window),
    "RISK_DUPLICATE_WINDOW_SECONDS": ("duplicate_window", _window),
    "RISK_IN_SESSION_ONLY": ("in_session_only", _yes),
    "RISK_CUT_OFF": ("cut_off", _clock_time),
    "RISK_PRICE_MAX_AGE_SECONDS": ("price_max_age", _window),
    "RISK_RESULT_MAX_AGE_SECONDS": ("result_max_age", _window),
}
VARIABLES = (*_LIMITS, "RISK_SQUARE_OFF", "RISK_KILL_ON_DAILY_LOSS")
