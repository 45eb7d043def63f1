"""The workload that every engine gets: the same bars and the same orders. Needs numpy alone.

One-minute bars around the clock: a random walk in ticks of 0.05 rupees from a fixed seed, in which each bar
opens where the last one closed, so that "the last close" and "the next open" are one price and engines of
both schools fill alike. Every 99 bars comes a parent of 1,000, alternately bought and sold: 10 market orders
of 100, six bars apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEED = 42
TICKS_PER_RUPEE = 20
UNITS_PER_TICK = 500  # units of 1/10,000 rupee, in which fills are compared
MINUTE_US = 60_000_000
START_US = 1_767_238_200_000_000  # 2026-01-01 09:00 in India

PARENT_EVERY, FIRST_PARENT = 99, 10
SLICES, SLICE_EVERY, SLICE_QUANTITY = 10, 6, 100
TINY = 10  # parents, for the run before the timed one


@dataclass(frozen=True, slots=True)
class Bars:
    """Columns of equal length; prices in rupees."""

    start_us: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.int64]


def bars_for(parents: int) -> int:
    """100 bars for each parent: they come every 99, and the last one has to end."""
    return parents * 100


def make_bars(parents: int) -> Bars:
    rng = np.random.default_rng(SEED)
    size = bars_for(parents)
    steps, above, below = rng.integers(-3, 4, size), rng.integers(0, 4, size), rng.integers(0, 4, size)
    volume = rng.integers(20_000, 100_000, size)
    close = 50_000 + np.cumsum(steps)
    open_ = close - steps
    high, low = np.maximum(open_, close) + above, np.minimum(open_, close) - below
    if low.min() <= 0:
        raise ValueError("the walk went below zero")
    start = START_US + MINUTE_US * np.arange(size, dtype=np.int64)
    return Bars(
        start,
        open_ / TICKS_PER_RUPEE,
        high / TICKS_PER_RUPEE,
        low / TICKS_PER_RUPEE,
        close / TICKS_PER_RUPEE,
        volume,
    )


def parents_at(parents: int) -> Iterator[tuple[int, int]]:
    """The bar at whose start each parent begins, and its side: 1 buys, -1 sells."""
    return ((FIRST_PARENT + PARENT_EVERY * k, -1 if k % 2 else 1) for k in range(parents))


def children_at(parents: int) -> dict[int, int]:
    """The bars at whose start a market order is due, and its signed quantity; no two meet."""
    return {
        first + SLICE_EVERY * j: side * SLICE_QUANTITY
        for first, side in parents_at(parents)
        for j in range(SLICES)
    }
