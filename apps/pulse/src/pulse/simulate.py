"""`pulse simulate`: a broker and its exchange on a port, speaking a real broker's API."""

import os
import secrets
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pulse.errors import BadInput
from pulse.state import state_folder

app = typer.Typer()

DEFAULT_API_KEY = "simulator"
DEFAULT_API_SECRET = "simulator-secret"  # noqa: S105  # of a simulation that anybody may use


class _LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


@app.callback(invoke_without_command=True)
def simulate(context: typer.Context) -> None:
    """Run a simulated broker and exchange."""
    if context.invoked_subcommand is None:
        if text := context.get_help():  # or it has printed it already
            typer.echo(text)
        raise typer.Exit(2)


@app.command("kite")
def kite(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8600,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    seed: Annotated[
        int | None, typer.Option(help="Of delays, clock offset and faults; else one is drawn and shown.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its journal is; else in the state folder.")
    ] = None,
    feed: Annotated[
        str, typer.Option(help="What it trades on, such as synthetic or replay:FILE.")
    ] = "synthetic",
    fault_plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What goes wrong: JSON with `rules`.")
    ] = None,
    speed: Annotated[float, typer.Option(help="Divides all delays; and plays a replay so much faster.")] = 1.0,
    delays: Annotated[bool, typer.Option("--delays/--no-delays", help="Let things take time.")] = True,
    limits: Annotated[bool, typer.Option("--limits/--no-limits", help="Refuse too many requests.")] = True,
    capital: Annotated[str, typer.Option(metavar="RUPEES", help="Of a new account.")] = "10000000",
    participation: Annotated[
        str | None,
        typer.Option(metavar="SHARE", help="Of the market's volume, the most that fills, such as 0.1."),
    ] = None,
    instruments: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The broker's instrument file, as CSV or gzipped.")
    ] = None,
    api_key: Annotated[str, typer.Option(help="The app's key.")] = DEFAULT_API_KEY,
    api_secret: Annotated[str, typer.Option(help="The app's secret.")] = DEFAULT_API_SECRET,
    redirect_url: Annotated[
        str, typer.Option(help="Where the login page sends the user.")
    ] = "http://127.0.0.1/",
    postback_url: Annotated[str | None, typer.Option(help="Where order updates are posted to.")] = None,
    log_level: Annotated[_LogLevel, typer.Option(case_sensitive=False)] = _LogLevel.WARNING,
) -> int:
    """Run a broker that speaks Kite Connect v3: REST, ticker and postbacks."""
    if not 0 < speed < float("inf"):
        raise BadInput("--speed must be above 0")
    from pulse.simulating import KiteRun, run_kite

    folder = state_folder(os.environ) / "simulator" / "kite" if state is None else state.absolute()
    run = KiteRun(
        host=host,
        port=port,
        journal=folder / "journal.db",
        seed=secrets.randbits(32) if seed is None else seed,
        feed=feed,
        fault_plan=fault_plan,
        speed=speed,
        has_delays=delays,
        has_limits=limits,
        capital=_decimal("--capital", capital),
        participation=None if participation is None else _decimal("--participation", participation),
        instruments=instruments,
        api_key=api_key,
        api_secret=api_secret,
        redirect_url=redirect_url,
        postback_url=postback_url,
        log_level=log_level,
    )
    return run_kite(run)


def _decimal(option: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise BadInput(f"{option} must be a number, not {text!r}") from None
    if not value.is_finite() or value <= 0:
        raise BadInput(f"{option} must be above 0")
    return value
