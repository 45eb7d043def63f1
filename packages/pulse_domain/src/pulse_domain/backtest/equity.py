"""What the account was worth over time. Computed when asked for: a run itself does not need it."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from heapq import merge
from itertools import repeat

from pulse_domain.account import Ledger
from pulse_domain.backtest.lanes import CandleLane, Lane
from pulse_domain.backtest.tracking import FillRow
from pulse_domain.backtest.values import BacktestSettings, EquityPoint
from pulse_domain.units import PRICE_UNITS, to_time, to_units

_FRACTION = Decimal("0.000001")
_PAISA = Decimal("0.01")
_ZERO = Decimal(0)

# Time in us, equity in units of money, and when the price that it is valued at began: a candle belongs to the
# day on which it starts.
Worth = tuple[int, int | Decimal, int]


def worth_over_time(
    ledger: Ledger, lanes: Sequence[Lane], fills: Iterable[FillRow], settings: BacktestSettings
) -> list[Worth]:
    """The equity at the start, after each fill, and at each price of an instrument while it is held.

    Positions are valued at the last price known: a candle's close, from its end on. A holding counts with
    what it cost until its first price.
    """
    held, marks = [0] * len(lanes), [0] * len(lanes)
    contracts = settings.account.contracts
    many = [contracts[it.instrument].multiplier if it.instrument in contracts else 1 for it in lanes]
    cash: int | Decimal = ledger.capital
    places = {lane.instrument: lane.number for lane in lanes}
    for holding in settings.holdings:
        number = places.get(holding.instrument)
        if number is not None:
            held[number], marks[number] = holding.quantity, to_units(holding.average_price)
            cash -= held[number] * marks[number] * many[number]
    first_us = min(lane.first_us for lane in lanes)
    worths: list[Worth] = [(first_us, ledger.capital, first_us)]
    upcoming = iter(fills)
    fill = next(upcoming, None)
    for at_us, number, price, began_us in _prices(lanes):
        traded = False
        while fill is not None and fill.known_us <= at_us:
            held[fill.lane] += fill.quantity
            marks[fill.lane] = fill.price
            cash -= fill.quantity * fill.price * many[fill.lane] + fill.charged
            fill, traded = next(upcoming, None), True
        marks[number] = price
        if traded or held[number]:
            worth = cash + sum(
                [units * mark * times for units, mark, times in zip(held, marks, many, strict=True)]
            )
            if len(worths) > 1 and worths[-1][0] == at_us:
                worths[-1] = (at_us, worth, began_us)
            else:
                worths.append((at_us, worth, began_us))
    return worths


def equity_points(worths: Iterable[Worth]) -> tuple[EquityPoint, ...]:
    """The same in rupees, and how far below the peak."""
    points, peak = [], None
    for at_us, worth, _ in worths:
        peak = worth if peak is None or worth > peak else peak
        drawdown = _ZERO if worth == peak or peak <= 0 else (Decimal(worth - peak) / peak).quantize(_FRACTION)
        points.append(EquityPoint(to_time(at_us), rupees(worth), drawdown))
    return tuple(points)


def rupees(amount: int | Decimal) -> Decimal:
    """Units of money in rupees, to the paisa where that is all there is."""
    value = Decimal(amount) / PRICE_UNITS
    short = value.quantize(_PAISA)
    return short if short == value else value


def _prices(lanes: Sequence[Lane]) -> Iterable[tuple[int, int, int, int]]:
    """(time in us at which it is known, lane, price, time at which it began), in order of time."""
    columns = []
    for lane in lanes:
        if isinstance(lane, CandleLane):
            columns.append(zip(lane.ends(), repeat(lane.number), lane.close, lane.start))
        else:
            columns.append(zip(lane.at, repeat(lane.number), lane.price, lane.at))
    return columns[0] if len(columns) == 1 else merge(*columns)
