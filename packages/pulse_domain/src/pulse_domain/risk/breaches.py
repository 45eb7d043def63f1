"""The rules by name, and what is told of one that refuses."""

from enum import StrEnum

from msgspec import Struct


class RiskRule(StrEnum):
    """Reason codes, in the order in which they are looked at."""

    KILL_SWITCH = "KILL_SWITCH"
    SESSION = "SESSION"
    CUT_OFF = "CUT_OFF"
    DUPLICATE_SIGNAL = "DUPLICATE_SIGNAL"
    ORDER_RATE = "ORDER_RATE"
    ORDER_QUANTITY = "ORDER_QUANTITY"
    ORDER_VALUE = "ORDER_VALUE"
    OPEN_ORDERS = "OPEN_ORDERS"
    OPEN_POSITIONS = "OPEN_POSITIONS"
    DAILY_LOSS = "DAILY_LOSS"
    FAT_FINGER = "FAT_FINGER"
    CIRCUIT_BAND = "CIRCUIT_BAND"


class Breach(Struct, frozen=True):
    """A rule that refuses an order, and why. `stale`: for want of a fact, not because of one."""

    rule: RiskRule
    reason: str
    stale: bool = False
