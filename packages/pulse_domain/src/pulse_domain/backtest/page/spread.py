"""How figures of orders are spread: bins for a histogram, and a row of a table."""

from collections.abc import Sequence
from math import ceil, floor, log10, sqrt
from statistics import fmean, median, pstdev, quantiles

from msgspec import Struct

BINS_MAX = 60
_FAR = 6.0  # quartile distances from the quartiles on, values share the outermost bin
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Bin(Struct, frozen=True):
    """The values from `first` up to but without `last`; of the outermost ones also those beyond."""

    first: float
    last: float
    orders: int
    below: bool = False
    above: bool = False


class Spread(Struct, frozen=True):
    """weighted: the mean by the value traded."""

    orders: int
    mean: float
    weighted: float
    deviation: float
    low: float
    percentile_5: float
    median: float
    percentile_95: float
    high: float


def spread(values: Sequence[float], weights: Sequence[float]) -> Spread:
    """values: at least one."""
    cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
    total = sum(weights)
    weighted = sum(v * w for v, w in zip(values, weights, strict=True)) / total if total else fmean(values)
    return Spread(
        orders=len(values),
        mean=fmean(values),
        weighted=weighted,
        deviation=pstdev(values),
        low=min(values),
        percentile_5=cuts[0],
        median=median(values),
        percentile_95=cuts[-1],
        high=max(values),
    )


def bins(values: Sequence[float]) -> list[Bin]:
    """Bins of one plain width, with an edge at 0, after Freedman and Diaconis (1981).

    Values far out are counted in the first and last bin, so that one of them does not flatten all others.
    """
    low, high = min(values), max(values)
    if low == high:
        half = 0.5 if low == 0 else _plain(abs(low) / 10)
        return [Bin(low - half, low + half, len(values))]
    first, _, third = quantiles(values, n=4, method="inclusive")
    middle = third - first
    if middle:
        low, high = max(low, first - _FAR * middle), min(high, third + _FAR * middle)
        wanted = 2 * middle / len(values) ** (1 / 3)
    else:
        wanted = (high - low) / ceil(sqrt(len(values)))
    width = _plain(max(wanted, (high - low) / (BINS_MAX - 2)))
    from_bin, to_bin = floor(low / width), floor(high / width)
    counts = [0] * (to_bin - from_bin + 1)
    for value in values:
        counts[min(max(floor(value / width), from_bin), to_bin) - from_bin] += 1
    return [
        Bin(
            number * width,
            (number + 1) * width,
            count,
            below=number == from_bin and min(values) < from_bin * width,
            above=number == to_bin and max(values) >= (to_bin + 1) * width,
        )
        for number, count in enumerate(counts, start=from_bin)
    ]


def _plain(width: float) -> float:
    """The next width of 1, 2, 2.5 or 5 with zeros."""
    power = 10.0 ** floor(log10(width))
    return next(step * power for step in _STEPS if step * power >= width * (1 - 1e-9))
