"""The even schedule over a window without breaks.

Invariants of `twap`, whatever the input: the quantities sum to the total; each is a whole number of
lots, at least one; not randomised they differ by at most one lot; randomised each stays within 20 % of
the base quantity rounded outward to whole lots, the last one too; times never decrease; the first is
the start and the last the end of the window. The same random source gives the same plan.
"""

from operator import index
from random import Random

from msgspec import Struct

from pulse_domain.errors import CannotSplit

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
    lots, lot_size = whole_lots(total_quantity, num_splits, lot_size), whole(lot_size)
    if rng is None:
        sizes = even_lots(lots, num_splits)
    else:
        sizes = _random_lots(lots, num_splits, total_quantity, lot_size, rng)
    offsets = paced_offsets(num_splits, duration_us, rng)
    return [Part(offset, size * lot_size) for offset, size in zip(offsets, sizes, strict=True)]


def whole_lots(total_quantity: int, num_splits: int, lot_size: int) -> int:
    """Give the number of lots, where there is at least one for each slice.

    Raises:
        CannotSplit: there is not, or the quantity is off the lot; `details` carry the feasible number.
    """
    total_quantity, num_splits, lot_size = whole(total_quantity), whole(num_splits), whole(lot_size)
    if num_splits < 1 or lot_size < 1 or total_quantity < 1:
        raise CannotSplit("quantity, lot size and number of slices must be positive")
    lots, rest = divmod(total_quantity, lot_size)
    if rest:
        raise CannotSplit(f"{total_quantity} is not a multiple of the lot size {lot_size}", lot_size=lot_size)
    if lots < num_splits:
        raise CannotSplit(
            f"{lots} lots cannot fill {num_splits} slices: at most {lots} slices", max_splits=lots
        )
    return lots


def even_lots(lots: int, n: int) -> list[int]:
    if not lots % n:
        return [lots // n] * n
    return [(i + 1) * lots // n - i * lots // n for i in range(n)]


def paced_offsets(n: int, duration_us: int, rng: Random | None) -> list[int]:
    """Give equal intervals; with a random source, inner offsets within their band around the equal ones.

    Raises:
        CannotSplit: the duration is negative, or no whole number.
    """
    duration_us = whole(duration_us)
    if duration_us < 0:
        raise CannotSplit("the duration must not be negative")
    if n == 1:
        return [0]
    if rng is None:
        return [i * duration_us // (n - 1) for i in range(n)]
    last, reach = 0, TIME_BAND_PERCENT / 100 * duration_us / (n - 1)
    offsets = [0]
    for i in range(1, n - 1):
        offset = i * duration_us // (n - 1) + int((2 * rng.random() - 1) * reach)
        last = min(max(offset, last), duration_us)
        offsets.append(last)
    offsets.append(duration_us)
    return offsets


def whole(number: int) -> int:
    """Raises: CannotSplit: it is no whole number."""
    # A float would go through the arithmetic and come out rounded down somewhere.
    try:
        return index(number)  # numpy's become Python's
    except TypeError:
        raise CannotSplit(
            f"quantities, lots, slices and microseconds are whole numbers, not {number!r}"
        ) from None


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
