"""What a desk allows itself."""

from datetime import datetime, time, timedelta
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.risk.breaches import Breach


class Waiver(Struct, frozen=True, kw_only=True):
    """That an order is let pass because it takes a position down, and for no other reason.

    It is held where the order is stored: the units to close are counted there, and those that open orders are
    to close already.

    breaches: what refuses it otherwise.
    carried: units of its instrument and product held before `since`; below zero when short.
    """

    breaches: tuple[Breach, ...]
    since: datetime
    carried: int


class RiskLimits(Struct, frozen=True, kw_only=True):
    """None switches a rule off. Money in rupees, quantities in units, percentages of the price named.

    max_daily_loss: of the day, realised and not, after charges.
    fat_finger_percent: of the volume-weighted average price of the last minute.
    circuit_percent: how near to a circuit limit nothing is opened.
    max_open_orders, max_open_positions: over all instruments.
    max_orders, orders_window: so many orders within so long.
    duplicate_window: within which the same order of the same strategy counts as one signal told twice.
    in_session_only: nothing while the market is shut, or not known to be open.
    cut_off: Indian time of day from which nothing is opened.
    price_max_age, result_max_age: older facts are none.
    waiver: of one order, which the gate sets; None for those that need none.
    """

    max_daily_loss: Decimal | None = None
    fat_finger_percent: Decimal | None = None
    circuit_percent: Decimal | None = None
    max_order_value: Decimal | None = None
    max_order_quantity: int | None = None
    max_open_orders: int | None = None
    max_open_positions: int | None = None
    max_orders: int | None = None
    orders_window: timedelta = timedelta(minutes=1)
    duplicate_window: timedelta | None = None
    in_session_only: bool = False
    cut_off: time | None = None
    price_max_age: timedelta = timedelta(seconds=5)
    result_max_age: timedelta = timedelta(seconds=30)
    waiver: Waiver | None = None

    @property
    def any_set(self) -> bool:
        return self != replace(_OFF, **{name: getattr(self, name) for name in _NO_RULES})

    @property
    def by_count(self) -> bool:
        """Whether orders are to be counted: that is done where the order is stored."""
        return self != self.without_counts()

    def without_counts(self) -> "RiskLimits":
        return replace(self, max_open_orders=None, max_orders=None, duplicate_window=None, waiver=None)


_OFF = RiskLimits()
_NO_RULES = ("orders_window", "price_max_age", "result_max_age")
