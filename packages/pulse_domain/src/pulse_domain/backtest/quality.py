"""How well an order was executed, against the market of its own interval."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from functools import cached_property
from itertools import accumulate

from pulse_domain.backtest.lanes import CandleLane, Lane
from pulse_domain.backtest.tracking import FillRow, TrackedOrder
from pulse_domain.backtest.values import ExecutionQuality
from pulse_domain.units import PRICE_UNITS

_BASIS_POINTS = 10_000
_PRICE = Decimal("0.0001")
_BPS = Decimal("0.01")
_SHARE = Decimal("0.000001")


class Market:
    """Sums over one lane's rows, so that any interval costs the same."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        # A candle counts three times the mean of its high, low and close.
        self.weight = 3 if isinstance(lane, CandleLane) else 1

    @cached_property
    def _typical(self) -> list[int]:
        lane = self.lane
        if isinstance(lane, CandleLane):
            return [h + low + c for h, low, c in zip(lane.high, lane.low, lane.close, strict=True)]
        return list(lane.price)

    @cached_property
    def _volume(self) -> Sequence[int]:
        lane = self.lane
        if isinstance(lane, CandleLane):
            return lane.series.volume
        # It counts from the session's start; a smaller count is a new session's.
        counts = lane.series.volume
        return [
            0 if before is None else (count - before if count >= before else count)
            for before, count in zip([None, *counts], counts, strict=False)
        ]

    @cached_property
    def _prices_so_far(self) -> list[int]:
        return list(accumulate(self._typical, initial=0))

    @cached_property
    def _volume_so_far(self) -> list[int]:
        return list(accumulate(self._volume, initial=0))

    @cached_property
    def _value_so_far(self) -> list[int]:
        values = (price * volume for price, volume in zip(self._typical, self._volume, strict=True))
        return list(accumulate(values, initial=0))

    def rows(self, from_us: int, to_us: int) -> tuple[int, int]:
        """The rows that begin in an interval, both ends included."""
        return bisect_left(self.lane.times, from_us), bisect_right(self.lane.times, to_us)

    def twap(self, first: int, last: int) -> Decimal | None:
        if first >= last:
            return None
        total = self._prices_so_far[last] - self._prices_so_far[first]
        return Decimal(total) / ((last - first) * self.weight * PRICE_UNITS)

    def volume(self, first: int, last: int) -> int:
        return self._volume_so_far[last] - self._volume_so_far[first]

    def vwap(self, first: int, last: int) -> Decimal | None:
        volume = self.volume(first, last)
        if not volume:
            return None
        total = self._value_so_far[last] - self._value_so_far[first]
        return Decimal(total) / (volume * self.weight * PRICE_UNITS)


def quality_of(order: TrackedOrder, market: Market, fills: Sequence[FillRow]) -> ExecutionQuality:
    """fills: those of the order."""
    due = {(e.seq, e.chunk): e.due_us for e in order.executions}
    last_us = max([order.ends_us, *(fill.at_us for fill in fills)])
    first, last = market.rows(order.arrived_us, last_us)
    filled = order.filled
    value = sum(abs(fill.quantity) * fill.price for fill in fills)
    average = Decimal(value) / (filled * PRICE_UNITS) if filled else None
    known = order.arrived_us >= market.lane.first_us
    arrival = Decimal(order.arrival_price) / PRICE_UNITS if known else None
    vwap, twap, volume = market.vwap(first, last), market.twap(first, last), market.volume(first, last)
    late = [(fill.at_us - due[fill.seq, fill.chunk], abs(fill.quantity)) for fill in fills]
    return ExecutionQuality(
        total_quantity=order.request.total_quantity,
        filled_quantity=filled,
        average_price=_rounded(average, _PRICE),
        arrival_price=_rounded(arrival, _PRICE),
        interval_vwap=_rounded(vwap, _PRICE),
        interval_twap=_rounded(twap, _PRICE),
        slippage_vs_arrival_bps=_cost(average, arrival, order.sign),
        slippage_vs_vwap_bps=_cost(average, vwap, order.sign),
        slippage_vs_twap_bps=_cost(average, twap, order.sign),
        participation=(Decimal(filled) / volume).quantize(_SHARE) if volume else None,
        lateness_mean=timedelta(microseconds=sum(us * n for us, n in late) // filled) if late else None,
        lateness_max=timedelta(microseconds=max(us for us, _ in late)) if late else None,
    )


def _cost(average: Decimal | None, benchmark: Decimal | None, sign: int) -> Decimal | None:
    """What was paid above the benchmark, or received below it, in basis points of it."""
    if average is None or not benchmark:
        return None
    return (sign * (average - benchmark) / benchmark * _BASIS_POINTS).quantize(_BPS)


def _rounded(value: Decimal | None, quantum: Decimal) -> Decimal | None:
    return None if value is None else value.quantize(quantum)
