"""What the exchange takes in one order, and the broker in one window."""

from msgspec import Struct

from pulse_domain.errors import CannotSplit, LimitsExceeded


def largest_chunk(lot_size: int, freeze_quantity: int) -> int:
    """The largest order that the exchange takes, in whole lots.

    Raises:
        CannotSplit: not even one lot is below the freeze quantity.
    """
    largest = freeze_quantity // lot_size * lot_size
    if largest == 0:
        raise CannotSplit(
            f"one lot of {lot_size} is above the freeze quantity {freeze_quantity}",
            lot_size=lot_size, freeze_quantity=freeze_quantity,
        )  # fmt: skip
    return largest


def chunks(quantity: int, *, lot_size: int, freeze_quantity: int | None) -> list[int]:
    """Cut a slice into orders that the exchange takes: whole lots, none above the freeze quantity.

    Raises:
        CannotSplit: not even one lot is below the freeze quantity.
    """
    if freeze_quantity is None or quantity <= freeze_quantity:
        return [quantity]
    largest = largest_chunk(lot_size, freeze_quantity)
    full, rest = divmod(quantity, largest)
    return [largest] * full + ([rest] if rest else [])


class PaceLimits(Struct, frozen=True, kw_only=True):
    """How many orders the broker takes, changes and cancels included."""

    per_second: int = 8
    per_minute: int = 400
    per_day: int = 5000


def check_pace(executions: int, window_s: float, limits: PaceLimits) -> None:
    """Check that a window has room for a number of executions.

    Raises:
        LimitsExceeded: it has not; `details` carry the feasible number and the limit that binds.
    """
    feasible, limit = min(
        (limits.per_day, "per_day"),
        (int(limits.per_minute * max(1.0, window_s / 60)), "per_minute"),
        (int(limits.per_second * max(60.0, window_s)), "per_second"),
    )
    if executions > feasible:
        raise LimitsExceeded(
            f"{executions} executions are needed, the broker takes {feasible} in this window",
            needed=executions, feasible=feasible, limit=limit,
        )  # fmt: skip
