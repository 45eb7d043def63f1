"""`pulse backtest`: what was typed, read and checked. Nothing is sent, and nothing has to run."""

import re
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from pulse.errors import BadInput
from pulse.options import BacktestOptions, DataFile
from pulse.orders import AsJson
from pulse.request import QUANTITY_MAX
from pulse.split import instant
from pulse_domain.strategies import STRATEGIES
from pulse_domain.units import INDIA

_matches_number = re.compile(r"[0-9]{1,15}(\.[0-9]{1,8})?").fullmatch

app = typer.Typer(
    help="Run strategies, and execute lists of orders, over files of prices.", rich_markup_mode="rich"
)


class Charges(StrEnum):
    NONE = "none"
    ZERODHA = "zerodha"


class Defects(StrEnum):
    RAISE = "raise"
    DROP = "drop"


@app.command()
def run(
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py|NAME",
            help="A file that defines a strategy, or a list or function `orders`; "
            f"or a strategy that is shipped: {', '.join(STRATEGIES)}.",
        ),
    ],
    candles: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[INSTRUMENT=]FILE",
            help="Candles, as .csv, .csv.gz or .parquet; may be given several times.",
        ),
    ] = None,
    ticks: Annotated[
        list[str] | None,
        typer.Option(metavar="[INSTRUMENT=]FILE", help="Ticks, likewise."),
    ] = None,
    instrument: Annotated[
        str | None, typer.Option(help="EXCHANGE:SYMBOL of the file that is given without one.")
    ] = None,
    strategy: Annotated[
        str | None, typer.Option(metavar="NAME", help="The class, where the file has several.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A parameter of the strategy; may be given several times."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="WHEN", help="The first day, or instant, of the data to use."),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="WHEN", help="The last day, or the instant at which to end.")
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Of times without an offset in files, such as Asia/Kolkata."),
    ] = None,
    defects: Annotated[
        Defects,
        typer.Option(case_sensitive=False, help="Of rows that cannot be: end at the first, or leave them out."),
    ] = Defects.RAISE,
    capital: Annotated[
        str | None, typer.Option(metavar="RUPEES", help="To begin with; else one crore.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 0,
    charges: Annotated[
        Charges, typer.Option(case_sensitive=False, help="Brokerage, taxes and fees.")
    ] = Charges.NONE,
    participation: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="The most of a candle's volume that fills, such as 0.1."),
    ] = None,
    slippage_ticks: Annotated[
        int | None, typer.Option(min=0, max=10_000, help="Against the order, on every fill that takes.")
    ] = None,
    slippage_bps: Annotated[
        str | None, typer.Option(metavar="BPS", help="The same in 1/10,000 of the price.")
    ] = None,
    square_off: Annotated[
        str | None, typer.Option(metavar="HH:MM", help="Indian time at which MIS positions are closed.")
    ] = None,
    lot: Annotated[int, typer.Option(min=1, max=QUANTITY_MAX, help="Units of a lot.")] = 1,
    tick: Annotated[str, typer.Option(metavar="RUPEES", help="The step of prices.")] = "0.05",
    freeze: Annotated[
        int | None, typer.Option(min=1, help="The most that one order at the exchange may have, in units.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="OUT.html", help="Write charts and tables to one page.")
    ] = None,
    fills: Annotated[Path | None, typer.Option(metavar="OUT.csv", help="Write every fill to a file.")] = None,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Of an error in FILE.py show the whole way to it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a strategy, or execute a list of orders, over candles or ticks."""
    if not candles and not ticks:
        raise BadInput("--candles or --ticks is needed: a file of prices to run on")
    if slippage_ticks is not None and slippage_bps is not None:
        raise BadInput("--slippage-ticks and --slippage-bps do not go together")
    is_shipped = what in STRATEGIES
    if is_shipped and strategy is not None:
        raise BadInput(f"--strategy is for a file, and {what} is a strategy")
    if is_shipped and not candles:
        raise BadInput(f"{what} looks at candles: --candles is needed")
    options = BacktestOptions(
        file=None if is_shipped else Path(what),
        kind=what if is_shipped else None,
        strategy=strategy,
        parameters=parameters_of(param or ()),
        candles=tuple(_data_file("--candles", text) for text in candles or ()),
        ticks=tuple(_data_file("--ticks", text) for text in ticks or ()),
        instrument=instrument,
        starts_at=None if since is None else bound("--from", since),
        ends_at=None if until is None else bound("--to", until, days=1),
        zone=None if zone is None else _zone(zone),
        defects=defects.value,
        capital=None if capital is None else number("--capital", capital),
        seed=seed,
        charges=charges.value,
        participation=None if participation is None else number("--participation", participation),
        slippage_ticks=slippage_ticks,
        slippage_bps=None if slippage_bps is None else number("--slippage-bps", slippage_bps),
        square_off_at=None if square_off is None else _time_of_day("--square-off", square_off),
        lot_size=lot,
        tick_size=number("--tick", tick),
        freeze_quantity=freeze,
        report=report,
        fills=fills,
        as_json=as_json,
        show_traceback=traceback,
    )
    from pulse.backtesting import run as run_options

    run_options(options)


def _data_file(option: str, text: str) -> DataFile:
    name, equals, path = text.partition("=")
    # A bare path may hold an equals sign; only an instrument is written with a colon before it.
    if not (equals and ":" in name and "/" not in name):
        name, path = "", text
    if not path:
        raise BadInput(f"{option} {text} names no file")
    return DataFile(path=Path(path), instrument=name or None)


def parameters_of(texts: Iterable[str]) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise BadInput(f"--param {text} must be written NAME=VALUE")
        if name in parameters:
            raise BadInput(f"--param {name} is given twice")
        parameters[name] = value
    return parameters


def bound(option: str, text: str, *, days: int = 0) -> datetime:
    """Read a day, whose midnight or that of so many days later is meant, or an instant."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return instant(option, text)
    try:
        return datetime.combine(day + timedelta(days=days), time(), INDIA)
    except OverflowError:
        raise BadInput(f"{option} is beyond the calendar") from None


def _zone(text: str) -> tzinfo:
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, KeyError):  # a path, a folder, a name that is not known
        raise BadInput(f"--zone {text} is no time zone: write it like Asia/Kolkata") from None


def _time_of_day(option: str, text: str) -> time:
    try:
        at = time.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is not None:
        raise BadInput(f"{option} must be a time of day, such as 15:15")
    return at


def number(option: str, text: str) -> Decimal:
    if _matches_number(text) is None:
        raise BadInput(f"{option} must be a number, such as 0.05")
    return Decimal(text)
