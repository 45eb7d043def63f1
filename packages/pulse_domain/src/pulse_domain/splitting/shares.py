"""Shares of a whole, counted exactly: weights become whole numbers once, then lots are dealt out by them."""

from collections.abc import Sequence
from decimal import Decimal
from math import gcd, lcm
from operator import index

from pulse_domain.errors import CannotSplit
from pulse_domain.splitting.parts import even_lots

Weight = int | float | Decimal
_Ratio = tuple[int, int]


def exact(value: Weight) -> _Ratio:
    """Take a number for what it is written as, as numerator and denominator: 0.1 is a tenth.

    Raises:
        ValueError: it is not finite, or negative, or no number.
    """
    try:
        ratio = index(value), 1  # type: ignore[arg-type]  # those of numpy are whole numbers, too
    except TypeError:
        try:
            ratio = Decimal(str(value)).as_integer_ratio()
        except (ValueError, ArithmeticError):
            raise ValueError(f"{value} is not a number") from None
    if ratio[0] < 0:
        raise ValueError(f"{value} is negative")
    return ratio


def lowest_terms(numbers: Sequence[int]) -> list[int]:
    """Give the smallest whole numbers in the same ratio."""
    factor = gcd(*numbers) or 1
    return [number // factor for number in numbers]


def whole_weights(weights: Sequence[Weight]) -> list[int]:
    """Give the smallest whole numbers in the ratio of the weights.

    Raises:
        CannotSplit: there is none, or one is not a number above 0; `details` carry its row, from 1.
    """
    if len(weights) == 0:
        raise CannotSplit("there is no weight")
    ratios = []
    for row, weight in enumerate(weights, start=1):
        try:
            ratio = exact(weight)
        except ValueError as e:
            raise CannotSplit(f"weight {row} is no weight: {e}", row=row) from None
        if ratio[0] == 0:
            raise CannotSplit(f"weight {row} is 0: leave the slice out", row=row)
        ratios.append(ratio)
    common = lcm(*(denominator for _, denominator in ratios))
    return lowest_terms([numerator * (common // denominator) for numerator, denominator in ratios])


def deal_lots(lots: int, weights: Sequence[int]) -> list[int]:
    """Deal lots out in proportion to weights, by largest remainder, at least one to each.

    Where the fair share of each is a lot or more, each gets its share within less than a lot. Those with a
    smaller one get one lot, and this holds of the others and the lots that remain. There must be a lot for
    each weight.
    """
    left, rest = lots, sum(weights)
    if rest == 0:
        return even_lots(lots, len(weights))
    sizes = [1] * len(weights)
    by_weight = sorted(range(len(weights)), key=weights.__getitem__)
    small = 0
    for place in by_weight:
        if left * weights[place] >= rest:
            break
        small, left, rest = small + 1, left - 1, rest - weights[place]
    others = by_weight[small:]
    for place in others:
        sizes[place] = left * weights[place] // rest
    # Of equal remainders the earlier slice comes first.
    over = sorted(others, key=lambda place: (-(left * weights[place] % rest), place))
    for place in over[: left - sum(sizes[place] for place in others)]:
        sizes[place] += 1
    return sizes
