"""The run in figures, from its equity and its fills."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from math import sqrt
from statistics import fmean, stdev

from pulse_domain.account import Ledger
from pulse_domain.backtest.equity import Worth, rupees
from pulse_domain.backtest.tracking import FillRow, TrackedOrder
from pulse_domain.backtest.values import EquityPoint, Statistics
from pulse_domain.units import day_number, to_time

_DAYS_A_YEAR = 252
_FRACTION = Decimal("0.000001")
_RATIO = Decimal("0.01")


def statistics_of(
    *,
    ledger: Ledger,
    unrealised: Decimal,
    worths: Sequence[Worth],
    points: Sequence[EquityPoint],
    days: Sequence[int],
    first_us: int,
    last_us: int,
    orders: Sequence[TrackedOrder],
    fills: Sequence[FillRow],
) -> Statistics:
    """days: the numbers of the days that the data has, ascending."""
    start, end = worths[0][1], worths[-1][1]
    bottom = min(range(len(points)), key=lambda i: points[i].drawdown)
    peak = max(range(bottom + 1), key=lambda i: points[i].equity)
    fell = points[bottom].drawdown < 0
    returns = _daily_returns(worths, days)
    spread = stdev(returns) if len(returns) > 1 else 0.0
    below = sqrt(fmean([min(0.0, r) ** 2 for r in returns])) if returns else 0.0
    closing = [fill.realised for fill in fills if fill.closed]
    won, lost = sum(r for r in closing if r > 0), -sum(r for r in closing if r < 0)
    return Statistics(
        first_at=to_time(first_us),
        last_at=to_time(last_us),
        days=len(days),
        starting_equity=rupees(start),
        final_equity=rupees(end),
        realised=rupees(ledger.realised),
        unrealised=unrealised,
        charges=rupees(ledger.charges),
        turnover=rupees(ledger.bought + ledger.sold),
        total_return=(Decimal(end - start) / start).quantize(_FRACTION) if start > 0 else None,
        max_drawdown=points[bottom].drawdown,
        max_drawdown_from=points[peak].at if fell else None,
        max_drawdown_to=points[bottom].at if fell else None,
        volatility=spread * sqrt(_DAYS_A_YEAR) if len(returns) > 1 else None,
        sharpe=fmean(returns) / spread * sqrt(_DAYS_A_YEAR) if spread else None,
        sortino=fmean(returns) / below * sqrt(_DAYS_A_YEAR) if len(returns) > 1 and below else None,
        orders=len(orders),
        filled_orders=sum(order.filled >= order.request.total_quantity for order in orders),
        fills=len(fills),
        trades=len(closing),
        wins=sum(r > 0 for r in closing),
        losses=sum(r < 0 for r in closing),
        win_rate=(Decimal(sum(r > 0 for r in closing)) / len(closing)).quantize(_FRACTION) if closing else None,
        profit_factor=(Decimal(won) / lost).quantize(_RATIO) if lost else None,
    )


def _daily_returns(worths: Sequence[Worth], days: Sequence[int]) -> list[float]:
    """From the equity at the end of each day; a day without a point has the equity of the day before."""
    closes = {day_number(began_us): worth for _, worth, began_us in worths[1:]}
    equity, kept = worths[0][1], [worths[0][1]]
    for day in days:
        equity = closes.get(day, equity)
        kept.append(equity)
    return [float(after - before) / float(before) for before, after in pairwise(kept) if before > 0]
