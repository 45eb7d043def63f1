"""Cut an order into scheduled slices: pure, in whole lots and whole microseconds, and repeatable.

Invariants of `twap`, whatever the input: the quantities sum to the total; each is a whole number of
lots, at least one; not randomised they differ by at most one lot; randomised each stays within 20 % of
the base quantity rounded outward to whole lots, the last one too; times never decrease; the first is
the start and the last the end of the window. The same random source gives the same plan.
"""

from random import Random

from msgspec import Struct

from pulse_domain.errors import CannotSplit, LimitsExceeded

QUANTITY_BAND_PERCENT = 20
TIME_BAND_PERCENT = 30


class Part(Struct, frozen=True):
    """offset_us: microseconds after the start of the window."""

    offset_us: int
    quantity: int


def twap(
    total_quantity: int, num_splits: int, duration_us: int, *, lot_size: int = 1, rng: Random | None = None
) -> list[Part]:
    """Spread a quantity evenly over a window; with a random source, unevenly within the bands.

    Raises:
        CannotSplit: fewer lots than slices, or a quantity off the lot; `details` carry the feasible number.
    """
    if num_splits < 1 or duration_us < 0 or lot_size < 1 or total_quantity < 1:
        raise CannotSplit("quantity, lot size and number of slices must be positive, the duration not negative")
    lots, rest = divmod(total_quantity, lot_size)
    if rest:
        raise CannotSplit(f"{total_quantity} is not a multiple of the lot size {lot_size}", lot_size=lot_size)
    if lots < num_splits:
        raise CannotSplit(
            f"{lots} lots cannot fill {num_splits} slices: at most {lots} slices", max_splits=lots
        )
    if rng is None:
        sizes = _even_lots(lots, num_splits)
        offsets = _even_offsets(num_splits, duration_us)
    else:
        sizes = _random_lots(lots, num_splits, total_quantity, lot_size, rng)
        offsets = _random_offsets(num_splits, duration_us, rng)
    return [Part(offset, size * lot_size) for offset, size in zip(offsets, sizes, strict=True)]


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


def _even_lots(lots: int, n: int) -> list[int]:
    return [(i + 1) * lots // n - i * lots // n for i in range(n)]


def _even_offsets(n: int, duration_us: int) -> list[int]:
    return [0] if n == 1 else [i * duration_us // (n - 1) for i in range(n)]


def _random_lots(lots: int, n: int, total: int, lot_size: int, rng: Random) -> list[int]:
    # Each draw keeps the rest feasible, so the sum comes out without a last slice that pays for all.
    # That makes late draws depend on early ones; the shuffle spreads this over the window.
    low = max(1, (100 - QUANTITY_BAND_PERCENT) * total // (100 * n * lot_size))
    high = -(-(100 + QUANTITY_BAND_PERCENT) * total // (100 * n * lot_size))
    sizes, left = [], lots
    for others in range(n - 1, -1, -1):
        least, most = max(low, left - others * high), min(high, left - others * low)
        size = least + int(rng.random() * (most - least + 1))
        sizes.append(size)
        left -= size
    rng.shuffle(sizes)
    return sizes


def _random_offsets(n: int, duration_us: int, rng: Random) -> list[int]:
    if n == 1:
        return [0]
    last, reach = 0, TIME_BAND_PERCENT / 100 * duration_us / (n - 1)
    offsets = [0]
    for i in range(1, n - 1):
        offset = i * duration_us // (n - 1) + int((2 * rng.random() - 1) * reach)
        last = min(max(offset, last), duration_us)
        offsets.append(last)
    offsets.append(duration_us)
    return offsets
