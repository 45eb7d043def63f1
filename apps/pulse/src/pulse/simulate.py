"""`pulse simulate`: a broker and its exchange on a port, speaking a real broker's API."""

import os
import secrets
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pulse.errors import BadInput
from pulse.state import state_folder

if TYPE_CHECKING:
    from pulse.simulating import Run

app = typer.Typer()

# Of a simulation that anybody may use.
DEFAULT_API_KEY = "simulator"
DEFAULT_API_SECRET = "simulator-secret"  # noqa: S105
DEFAULT_ACCESS_TOKEN = "simulator-access-token"  # noqa: S105
DEFAULT_MOBILE_NUMBER = "+919876543210"
DEFAULT_UCC = "SIM01"
DEFAULT_MPIN = "123456"
DEFAULT_TOTP_SEED = "SIMULATORSIMULATORSIMULATORSEED2"


class _LogLevel(StrEnum):
    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class _Greeting(StrEnum):
    ANY = "any"
    RAW = "raw"
    JSON = "json"


# What every simulator can be told.
_Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]
_Host = Annotated[str, typer.Option(help="The address to listen at.")]
_Seed = Annotated[
    int | None, typer.Option(help="Of delays, clock offset and faults; else one is drawn and shown.")
]
_State = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where its journal is; else in the state folder.")
]
_Feed = Annotated[str, typer.Option(help="What it trades on, such as synthetic or replay:FILE.")]
_FaultPlan = Annotated[Path | None, typer.Option(metavar="FILE", help="What goes wrong: JSON with `rules`.")]
_Speed = Annotated[float, typer.Option(help="Divides all delays; and plays a replay so much faster.")]
_Delays = Annotated[bool, typer.Option("--delays/--no-delays", help="Let things take time.")]
_Limits = Annotated[bool, typer.Option("--limits/--no-limits", help="Refuse too many requests.")]
_Capital = Annotated[str, typer.Option(metavar="RUPEES", help="Of a new account.")]
_Participation = Annotated[
    str | None,
    typer.Option(metavar="SHARE", help="Of the market's volume, the most that fills, such as 0.1."),
]
_Instruments = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="An instrument file as Kite publishes it, as CSV or gzipped."),
]
_Level = Annotated[_LogLevel, typer.Option(case_sensitive=False)]


@app.callback(invoke_without_command=True)
def simulate(context: typer.Context) -> None:
    """Run a simulated broker and exchange."""
    if context.invoked_subcommand is None:
        if text := context.get_help():  # or it has printed it already
            typer.echo(text)
        raise typer.Exit(2)


@app.command("kite")
def kite(
    port: _Port = 8600,
    host: _Host = "127.0.0.1",
    seed: _Seed = None,
    state: _State = None,
    feed: _Feed = "synthetic",
    fault_plan: _FaultPlan = None,
    speed: _Speed = 1.0,
    delays: _Delays = True,
    limits: _Limits = True,
    capital: _Capital = "10000000",
    participation: _Participation = None,
    instruments: _Instruments = None,
    api_key: Annotated[str, typer.Option(help="The app's key.")] = DEFAULT_API_KEY,
    api_secret: Annotated[str, typer.Option(help="The app's secret.")] = DEFAULT_API_SECRET,
    redirect_url: Annotated[
        str, typer.Option(help="Where the login page sends the user.")
    ] = "http://127.0.0.1/",
    postback_url: Annotated[str | None, typer.Option(help="Where order updates are posted to.")] = None,
    log_level: _Level = _LogLevel.WARNING,
) -> int:
    """Run a broker that speaks Kite Connect v3: REST, ticker and postbacks."""
    from pulse.simulating import run_simulator
    from pulse.simulating_kite import kite_face

    run = _run(
        "kite", "journal.db", port, host, seed, state, feed, fault_plan, speed, delays, limits, capital,
        participation, instruments, log_level,
    )  # fmt: skip
    return run_simulator(run, kite_face(run, api_key, api_secret, redirect_url, postback_url))


@app.command("kotak")
def kotak(
    port: _Port = 8601,
    host: _Host = "127.0.0.1",
    seed: _Seed = None,
    state: _State = None,
    feed: _Feed = "synthetic",
    fault_plan: _FaultPlan = None,
    speed: _Speed = 1.0,
    delays: _Delays = True,
    limits: _Limits = True,
    capital: _Capital = "10000000",
    participation: _Participation = None,
    instruments: _Instruments = None,
    access_token: Annotated[str, typer.Option(help="The application's token.")] = DEFAULT_ACCESS_TOKEN,
    mobile_number: Annotated[str, typer.Option(help="The person's, with +91.")] = DEFAULT_MOBILE_NUMBER,
    ucc: Annotated[str, typer.Option(help="The person's client code.")] = DEFAULT_UCC,
    mpin: Annotated[str, typer.Option(help="The person's PIN.")] = DEFAULT_MPIN,
    totp_seed: Annotated[
        str, typer.Option(help="What the authenticator is set up with: A-Z and 2-7.")
    ] = DEFAULT_TOTP_SEED,
    greeting: Annotated[
        _Greeting, typer.Option(help="The greeting that the order feed acknowledges.")
    ] = _Greeting.ANY,
    static_ip: Annotated[
        list[str] | None,
        typer.Option(help="Where orders may come from; may be given several times. Else from anywhere."),
    ] = None,
    log_level: _Level = _LogLevel.WARNING,
) -> int:
    """Run a broker that speaks Kotak's Neo Trade API v3: REST, scrip master and both feeds."""
    from pulse.simulating import run_simulator
    from pulse.simulating_kotak import kotak_face

    run = _run(
        "kotak", "kotak.db", port, host, seed, state, feed, fault_plan, speed, delays, limits, capital,
        participation, instruments, log_level,
    )  # fmt: skip
    face = kotak_face(run, access_token, mobile_number, ucc, mpin, totp_seed, greeting, static_ip or ())
    return run_simulator(run, face)


def _run(
    name: str,
    journal: str,
    port: int,
    host: str,
    seed: int | None,
    state: Path | None,
    feed: str,
    fault_plan: Path | None,
    speed: float,
    delays: bool,
    limits: bool,
    capital: str,
    participation: str | None,
    instruments: Path | None,
    log_level: str,
) -> "Run":
    """The options that every simulator has, checked.

    journal: each face numbers orders in its own way, so none takes up the journal of another.
    """
    if not 0 < speed < float("inf"):
        raise BadInput("--speed must be above 0")
    from pulse.simulating import Run

    folder = state_folder(os.environ) / "simulator" / name if state is None else state.absolute()
    return Run(
        host=host,
        port=port,
        journal=folder / journal,
        seed=secrets.randbits(32) if seed is None else seed,
        feed=feed,
        fault_plan=fault_plan,
        speed=speed,
        has_delays=delays,
        has_limits=limits,
        capital=_decimal("--capital", capital),
        participation=None if participation is None else _decimal("--participation", participation),
        instruments=instruments,
        log_level=log_level,
    )


def _decimal(option: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise BadInput(f"{option} must be a number, not {text!r}") from None
    if not value.is_finite() or value <= 0:
        raise BadInput(f"{option} must be above 0")
    return value
