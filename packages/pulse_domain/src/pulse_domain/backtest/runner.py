"""The way in: what to run, on what."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from pulse_domain.backtest.result import BacktestResult
from pulse_domain.backtest.run import Run
from pulse_domain.backtest.series import CandleSeries, TickSeries
from pulse_domain.backtest.values import BacktestSettings, TimedOrder, check_settings
from pulse_domain.errors import BadMarketData, InvalidOrder
from pulse_domain.matching import Candle, Tick
from pulse_domain.orders.model import OrderRequest
from pulse_domain.strategy import Strategy

Data = CandleSeries | TickSeries | Sequence[CandleSeries | TickSeries] | Sequence[Candle] | Sequence[Tick]

_DEFAULTS = BacktestSettings()


def run_backtest(
    what: Strategy | Iterable[TimedOrder | OrderRequest],
    data: Data,
    *,
    settings: BacktestSettings = _DEFAULTS,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
) -> BacktestResult:
    """Run a strategy, or execute a list of orders, over candles or ticks.

    what: a strategy is used once: it keeps what it has seen.
    data: one series or several, one for each instrument; or the candles or ticks of one instrument.
    seed: of all chance: plans of randomised orders, and latencies.
    on_progress: told the part of the data's time that is done, from 0 to 1, now and then.

    Raises:
        InvalidSettings: the settings make no sense.
        BadMarketData: there is no data, or two series of one instrument.
        InvalidOrder: an order of the list cannot be used; `details` carry its place, `order`, from 1.
        StrategyFailed: the strategy raised; `__cause__` is what.
        MatchingError: the settings make no sense.
        AccountError: the same of capital, holdings or margins.
    """
    check_settings(settings)
    given: object = what
    if isinstance(given, type | str) or not isinstance(given, Strategy | Iterable):
        raise InvalidOrder("a backtest runs a Strategy, as an instance, or a list of orders")
    series = _series(data)
    strategy = what if isinstance(what, Strategy) else None
    run = Run(series, settings, seed, strategy, on_progress)
    run.execute(() if isinstance(what, Strategy) else what)
    return BacktestResult(run, settings, seed)


def _series(data: Data) -> list[CandleSeries | TickSeries]:
    if not isinstance(data, Iterable):
        raise BadMarketData("a backtest runs on series, or on the candles or ticks of one instrument")
    given: list[Any] = [data] if isinstance(data, CandleSeries | TickSeries) else list(data)
    if given and all(isinstance(it, Candle) for it in given):
        given = [CandleSeries.from_candles(given)]
    elif given and all(isinstance(it, Tick) for it in given):
        given = [TickSeries.from_ticks(given)]
    seen = set()
    for place, it in enumerate(given, start=1):
        if not isinstance(it, CandleSeries | TickSeries):
            raise BadMarketData(
                f"a backtest runs on series, or on the candles or ticks of one instrument: {place} is neither",
                place=place,
            )
        if not len(it):
            raise BadMarketData(f"series {place} is empty", place=place)
        if it.instrument in seen:
            raise BadMarketData(f"{it.instrument} is there twice: a run has one series of it", place=place)
        seen.add(it.instrument)
    if not given:
        raise BadMarketData("there is no data")
    return given
