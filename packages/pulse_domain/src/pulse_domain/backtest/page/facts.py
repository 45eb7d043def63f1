"""What a run did to each instrument: fills, and the slices that were planned, as numbers."""

from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from msgspec import Struct

from pulse_domain.backtest.result import BacktestResult
from pulse_domain.backtest.series import CandleSeries, TickSeries
from pulse_domain.backtest.tracking import Fact, FillRow, TrackedOrder
from pulse_domain.instruments import Instrument

_ENDS = {Fact.REFUSED, Fact.CANCELLED, Fact.EXPIRED, Fact.WITHDRAWN, Fact.LAPSED}


Steps = tuple[list[int], list[int]]  # instants in us, and a value from each on


class PlannedSlice(NamedTuple):
    """quantity, filled: negative for a sale. many: how many slices its order has."""

    due_us: int
    quantity: int
    filled: int
    key: str
    seq: int
    many: int


class InstrumentFacts(Struct):
    """held: the units at the start.

    ended: (time in us, what it takes off the units due) of what was due and will not come.
    """

    series: CandleSeries | TickSeries
    held: int
    orders: int
    fills: list[FillRow]
    slices: list[PlannedSlice]
    ended: list[tuple[int, int]]

    @property
    def instrument(self) -> Instrument:
        return self.series.instrument

    @property
    def bought(self) -> int:
        return sum(fill.quantity for fill in self.fills if fill.quantity > 0)

    @property
    def sold(self) -> int:
        return -sum(fill.quantity for fill in self.fills if fill.quantity < 0)

    @property
    def traded(self) -> int:
        """The value of all fills, in units of money and without multipliers."""
        return sum(abs(fill.quantity) * fill.price for fill in self.fills)

    def position(self) -> Steps:
        """The units held, from each fill on."""
        return _steps(self.held, [(fill.at_us, fill.quantity) for fill in self.fills])

    def position_due(self) -> Steps:
        """The same, had every slice been filled when it was due, until it was known that it will not be."""
        return _steps(self.held, [(each.due_us, each.quantity) for each in self.slices] + self.ended)


def facts_of(result: BacktestResult) -> list[InstrumentFacts]:
    """By series, in their order."""
    held = {holding.instrument: holding.quantity for holding in result.settings.holdings}
    facts = [InstrumentFacts(series, held.get(series.instrument, 0), 0, [], [], []) for series in result.series]
    for fill in result.fill_rows:
        facts[fill.lane].fills.append(fill)
    for order in result.tracked_orders:
        of = facts[order.lane]
        of.orders += 1
        of.slices += _slices(order)
        rests = {(each.seq, each.chunk): each.quantity - each.filled for each in order.executions}
        of.ended += [(row[0], -order.sign * rests[row[2], row[3]]) for row in order.rows if row[1] in _ENDS]
    return facts


def _slices(order: TrackedOrder) -> list[PlannedSlice]:
    slices = []
    many = order.executions[-1].seq
    for seq, group in groupby(order.executions, key=lambda each: each.seq):
        parts = list(group)
        quantity, filled = sum(each.quantity for each in parts), sum(each.filled for each in parts)
        slices.append(
            PlannedSlice(parts[0].due_us, order.sign * quantity, order.sign * filled, order.key, seq, many)
        )
    return slices


def _steps(start: int, changes: list[tuple[int, int]]) -> Steps:
    times: list[int] = []
    values: list[int] = []
    value = start
    for at_us, change in sorted(changes, key=itemgetter(0)):
        value += change
        if times and times[-1] == at_us:
            values[-1] = value
        else:
            times.append(at_us)
            values.append(value)
    return times, values
