"""Backtests: the state machine, splitting, matching and account that trade live, over prices of the past.

    from pulse_domain.backtest import CandleSeries, run_backtest
    result = run_backtest(strategy, candles)

Nothing here knows the present: the clock is the data's, chance comes from the seed, and the same input gives
the same bytes.
"""

from pulse_domain.backtest.result import BacktestOrder, BacktestResult
from pulse_domain.backtest.runner import run_backtest
from pulse_domain.backtest.series import CandleSeries, Dropped, TickSeries
from pulse_domain.backtest.synthetic import synthetic_candles
from pulse_domain.backtest.values import (
    BacktestFill,
    BacktestSettings,
    EquityPoint,
    ExecutionQuality,
    Statistics,
    TimedOrder,
)
from pulse_domain.strategy import Desk, OrderUpdate, Strategy

__all__ = [
    "BacktestFill",
    "BacktestOrder",
    "BacktestResult",
    "BacktestSettings",
    "CandleSeries",
    "Desk",
    "Dropped",
    "EquityPoint",
    "ExecutionQuality",
    "OrderUpdate",
    "Statistics",
    "Strategy",
    "TickSeries",
    "TimedOrder",
    "run_backtest",
    "synthetic_candles",
]
