"""`pulse ticks` and `pulse candles`: what is recorded of the market, and out of the database into files."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from pulse.backtest import bound
from pulse.database import database_url
from pulse.errors import BadInput
from pulse.options import ExportOptions
from pulse.orders import AsJson
from pulse_adapters.clock import SystemClock
from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Instrument

ticks = typer.Typer(help="Recorded ticks: export them, and see what is missing.", rich_markup_mode="rich")
candles = typer.Typer(help="Stored candles: export them.", rich_markup_mode="rich")

Wanted = Annotated[
    str, typer.Argument(metavar="INSTRUMENT", help="EXCHANGE:SYMBOL, such as NSE:TCS.", show_default=False)
]
File = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="To write: .csv, .csv.gz or .parquet, as `pulse backtest` reads them.",
        show_default=False,
    ),
]
Since = Annotated[
    str | None, typer.Option("--from", metavar="WHEN", help="The first day, or instant; else all there is.")
]
Until = Annotated[
    str | None, typer.Option("--to", metavar="WHEN", help="The last day, or the instant at which to end.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the file where it exists.")]

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_SUFFIXES = (".csv", ".csv.gz", ".parquet")


@ticks.command("export")
def export_ticks(
    instrument: Wanted,
    file: File,
    since: Since = None,
    until: Until = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write the recorded ticks of an instrument into a file."""
    options = _options(instrument, file, since, until, force, as_json)
    from pulse.market_export import run_export_ticks

    run_export_ticks(database_url("ticks"), options)


@candles.command("export")
def export_candles(
    instrument: Wanted,
    file: File,
    minutes: Annotated[int, typer.Option(min=1, max=1440, help="How long the candles are.")] = 1,
    since: Since = None,
    until: Until = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Write the stored candles of an instrument into a file."""
    options = _options(instrument, file, since, until, force, as_json)
    from pulse.market_export import run_export_candles

    run_export_candles(database_url("candles"), options, minutes)


@ticks.command("recordings")
def recordings(
    days: Annotated[int, typer.Option(min=1, max=3650, help="Those that began in so many days.")] = 7,
    as_json: AsJson = False,
) -> None:
    """Show what was recorded, and how many ticks were lost on the way into the database."""
    from pulse.market_export import run_recordings

    run_recordings(database_url("ticks"), SystemClock().now() - timedelta(days=days), as_json=as_json)


def _options(
    instrument: str, file: Path, since: str | None, until: str | None, force: bool, as_json: bool
) -> ExportOptions:
    try:
        wanted = Instrument.parse(instrument)
    except InvalidInstrument as error:
        raise BadInput(error.message) from None
    if not file.name.lower().endswith(_SUFFIXES) or file.name.lower() in _SUFFIXES:
        raise BadInput(f"{file} must end in one of {', '.join(_SUFFIXES)}")
    if file.exists() and not force:
        raise BadInput(f"{file} exists already: --force replaces it")
    if not file.parent.is_dir():
        raise BadInput(f"{file.parent} is no folder")
    starts_at = _FIRST if since is None else bound("--from", since)
    ends_at = _LAST if until is None else bound("--to", until, days=1)
    if starts_at >= ends_at:
        raise BadInput("--from must be before --to")
    return ExportOptions(instrument=wanted, file=file, starts_at=starts_at, ends_at=ends_at, as_json=as_json)
