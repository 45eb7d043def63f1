"""Behind `pulse backtest run`: read, run, show."""

import csv
import sys
import traceback
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stdout
from datetime import datetime
from pathlib import Path

from msgspec.structs import replace

from pulse import figures, output
from pulse.errors import BadInput
from pulse.options import BacktestOptions, DataFile
from pulse.strategy_file import FileFailed, line_of, load, make_orders, strategy_of
from pulse_domain.account import AccountSettings
from pulse_domain.backtest import (
    BacktestFill,
    BacktestResult,
    BacktestSettings,
    CandleSeries,
    Strategy,
    TickSeries,
    TimedOrder,
    run_backtest,
)
from pulse_domain.backtest.files import read_candles, read_ticks
from pulse_domain.charges import NO_CHARGES, ZERODHA
from pulse_domain.errors import InvalidInstrument, PulseError, StrategyFailed
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import BasisPoints, FixedTicks, MatchingSettings, Slippage
from pulse_domain.orders.model import OrderRequest
from pulse_domain.strategies import make_strategy
from pulse_domain.units import to_us

Orders = Callable[[Sequence[CandleSeries | TickSeries]], list[TimedOrder | OrderRequest]]

# Of more orders than these, how well each was executed is too much to read.
_ORDERS_SHOWN_MAX = 20


def run(options: BacktestOptions) -> None:
    """Run a backtest and show it.

    Raises:
        BadInput: something in the file of the user, the data or the options is wrong.
    """
    try:
        # What the user's code prints must not get between the JSON.
        with redirect_stdout(sys.stderr) if options.as_json else nullcontext():
            result = _run(options)
        _show(result, options)
    except FileFailed as error:
        _show_traceback(error.__cause__, options)
        raise
    except StrategyFailed as error:
        cause = error.__cause__ or error
        _show_traceback(cause, options)
        where = "" if options.file is None else f" ({line_of(cause, options.file)})"
        raise BadInput(f"{error.message}{where}") from None
    except PulseError as error:
        raise BadInput(error.message) from None


def _run(options: BacktestOptions) -> BacktestResult:
    made = _made(options)
    settings = _settings(options)
    for written in (options.report, options.fills):
        if written is not None and not written.absolute().parent.is_dir():
            raise BadInput(f"{written} cannot be written: there is no such folder")
    series = _read(options)
    what = made if isinstance(made, Strategy) else made(series)
    with output.progress("backtest") as on_progress:
        return run_backtest(what, series, settings=settings, seed=options.seed, on_progress=on_progress)


def _made(options: BacktestOptions) -> Strategy | Orders:
    """The strategy; or where the file has orders instead, what makes them once the data is read."""
    if options.file is None:
        return make_strategy(options.kind or "", (), options.parameters)
    module, path = load(options.file), options.file
    strategy = strategy_of(module, path, options.strategy, options.parameters)
    if strategy is not None:
        return strategy
    if options.parameters:
        raise BadInput(f"{path}: --param is for a strategy, and the file has orders")
    return lambda series: make_orders(module, path, series)


def _settings(options: BacktestOptions) -> BacktestSettings:
    slippage: Slippage | None = None
    if options.slippage_ticks is not None:
        slippage = FixedTicks(options.slippage_ticks)
    elif options.slippage_bps is not None:
        slippage = BasisPoints(options.slippage_bps)
    settings = BacktestSettings(
        matching=MatchingSettings(
            participation=options.participation, slippage=slippage, tick_size=options.tick_size
        ),
        account=AccountSettings(charges=ZERODHA if options.charges == "zerodha" else NO_CHARGES),
        default_terms=InstrumentTerms(
            lot_size=options.lot_size, tick_size=options.tick_size, freeze_quantity=options.freeze_quantity
        ),
        square_off_at=options.square_off_at,
    )
    if options.capital is not None:
        settings = replace(settings, capital=options.capital)
    return settings


# --- data --------------------------------------------------------------------------------------


def _read(options: BacktestOptions) -> list[CandleSeries | TickSeries]:
    plain = [file.path for file in (*options.candles, *options.ticks) if file.instrument is None]
    if len(plain) > 1:
        raise BadInput(f"{plain[0]} and {plain[1]} are both without an instrument: write EXCHANGE:SYMBOL=FILE")
    if options.instrument is not None and not plain:
        raise BadInput("--instrument is of a file without one, and every file has its own")
    series: list[CandleSeries | TickSeries] = []
    for file in options.candles:
        instrument = _instrument(file, options)
        series.append(read_candles(file.path, instrument, zone=options.zone, defects=options.defects))
    for file in options.ticks:
        instrument = _instrument(file, options)
        series.append(read_ticks(file.path, instrument, zone=options.zone, defects=options.defects))
    if options.starts_at is None and options.ends_at is None:
        return series
    return [_cut(each, options.starts_at, options.ends_at) for each in series]


def _instrument(file: DataFile, options: BacktestOptions) -> Instrument:
    name = file.instrument or options.instrument
    if name is None:
        raise BadInput(
            f"{file.path} does not say of what its prices are: "
            f"add --instrument EXCHANGE:SYMBOL, such as NSE:TCS, or write NSE:TCS={file.path}"
        )
    try:
        return Instrument.parse(name)
    except InvalidInstrument as error:
        raise BadInput(f"{name}: {error.message}") from None


def _cut(
    series: CandleSeries | TickSeries, starts_at: datetime | None, ends_at: datetime | None
) -> CandleSeries | TickSeries:
    times = series.start_us if isinstance(series, CandleSeries) else series.at_us
    first = 0 if starts_at is None else bisect_left(times, to_us(starts_at))
    last = len(times) if ends_at is None else bisect_left(times, to_us(ends_at))
    if first >= last:
        raise BadInput(f"{series.instrument}: no row is within --from and --to")
    if isinstance(series, CandleSeries):
        prices = (series.open, series.high, series.low, series.close)
        return CandleSeries(
            series.instrument,
            [column[first:last] for column in (series.start_us, *prices, series.volume)],
            interval_us=series.interval_us,
            dropped=series.dropped,
        )
    return TickSeries(
        series.instrument,
        [column[first:last] for column in (series.at_us, series.price, series.bid, series.ask, series.volume)],
        late=series.late,
        dropped=series.dropped,
    )


# --- results -----------------------------------------------------------------------------------


def _show(result: BacktestResult, options: BacktestOptions) -> None:
    if options.as_json:
        output.say_json(figures.as_json(result))
    else:
        output.show(figures.statistics_table(result))
        if 0 < len(result.orders) <= _ORDERS_SHOWN_MAX:
            output.say("")
            output.show(figures.orders_table(result.orders))
    if options.fills is not None:
        _write_fills(options.fills, result)
    if options.report is not None:
        try:
            result.report(options.report, title=options.kind if options.file is None else options.file.stem)
        except OSError as error:
            raise BadInput(f"{options.report} cannot be written: {error.strerror}") from None


def _write_fills(path: Path, result: BacktestResult) -> None:
    names = [name for name in BacktestFill.__struct_fields__ if name != "at"]
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["at", *names])
            for fill in result.fills:
                writer.writerow([fill.at.isoformat(), *(getattr(fill, name) for name in names)])
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}") from None


def _show_traceback(error: BaseException | None, options: BacktestOptions) -> None:
    if options.show_traceback and error is not None:
        traceback.print_exception(error, file=sys.stderr)
