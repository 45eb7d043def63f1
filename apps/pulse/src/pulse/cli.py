"""The command `pulse`.

Nothing of the services is imported until `pulse up` starts them. Whatever goes wrong ends as one line on
stderr and one of the exit codes of `EXIT_CODES`.
"""

import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from typer.main import get_command

from pulse import (
    backtest,
    broker,
    instruments,
    ledger,
    market_data,
    operations,
    orders,
    output,
    simulate,
    split,
    strategies,
)
from pulse.errors import BadInput, CommandError
from pulse.options import ClusterOptions, UpOptions
from pulse.state import load_secrets, state_folder
from pulse.tokens import DEFAULT_CLIENT, DEFAULT_SCOPE, HOURS_MAX, check_jwt_secret, make_token
from pulse.wished_strategies import read_wishes
from pulse_adapters.clock import SystemClock

EXIT_CODES = """\
Exit codes:
  0    done
  1    the service refused or failed: CODE: message
  2    bad input on the command line, or bad settings
  3    order watch: the order ended without being filled completely
  130  interrupted with Ctrl-C
  141  nobody reads the output any more
"""
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
    rich_markup_mode="rich",
)
app.add_typer(orders.app, name="order")
for operation in (operations.pause, operations.resume, operations.resolve):
    orders.app.command(operation.__name__)(operation)
app.command("reconcile")(operations.reconcile)
app.add_typer(strategies.app, name="strategy")
app.command("split")(split.split)
app.command("positions")(ledger.positions)
app.command("ledger")(ledger.ledger)
app.add_typer(backtest.app, name="backtest")
app.add_typer(instruments.app, name="instruments")
app.add_typer(market_data.ticks, name="ticks")
app.add_typer(market_data.candles, name="candles")
app.add_typer(broker.app, name="broker")
app.add_typer(simulate.app, name="simulate")


@app.callback(invoke_without_command=True)
def pulse(context: typer.Context) -> None:
    """Pulse splits an order over time and places every slice at its second, at most once."""
    _help_without_command(context)


@orders.app.callback(invoke_without_command=True)
def order(context: typer.Context) -> None:
    _help_without_command(context)


@strategies.app.callback(invoke_without_command=True)
def strategy(context: typer.Context) -> None:
    _help_without_command(context)


@backtest.app.callback(invoke_without_command=True)
def backtests(context: typer.Context) -> None:
    _help_without_command(context)


@instruments.app.callback(invoke_without_command=True)
def instrument(context: typer.Context) -> None:
    _help_without_command(context)


@market_data.ticks.callback(invoke_without_command=True)
def ticks(context: typer.Context) -> None:
    _help_without_command(context)


@market_data.candles.callback(invoke_without_command=True)
def candles(context: typer.Context) -> None:
    _help_without_command(context)


@broker.app.callback(invoke_without_command=True)
def brokers(context: typer.Context) -> None:
    _help_without_command(context)


@app.command()
def token(
    client: Annotated[str, typer.Option(help="The client's id.")] = DEFAULT_CLIENT,
    scope: Annotated[
        str, typer.Option(help="Of orders:read, orders:write and admin, separated by spaces.")
    ] = DEFAULT_SCOPE,
    hours: Annotated[float, typer.Option(max=HOURS_MAX, help="How long it is valid.")] = 12,
    as_json: orders.AsJson = False,
) -> None:
    """Print a bearer token for the gateway.

    It is signed with the first of GAPI_JWT_SECRETS where that is set, else with the secret of `pulse up` in the
    state folder.
    """
    if not hours > 0:
        raise BadInput("--hours must be above 0")
    expires_at = (SystemClock().now() + timedelta(hours=hours)).replace(microsecond=0)
    signed = make_token(_jwt_secret(), client=client, scope=scope, expires_at=expires_at)
    if as_json:
        output.say_json({"token": signed, "client": client, "scope": scope, "expires_at": expires_at})
    else:
        output.say(signed)


def _jwt_secret() -> str:
    given = os.environ.get("GAPI_JWT_SECRETS", "").partition(",")[0].strip()
    if given:
        return check_jwt_secret(given)
    folder = state_folder(os.environ)
    secrets = load_secrets(folder)
    if secrets is None:
        raise BadInput(
            f"there are no secrets in {folder}: start `pulse up`, or set PULSE_STATE_DIR to its folder,"
            " or GAPI_JWT_SECRETS to the gateway's"
        )
    return secrets.jwt_secret


@app.command()
def up(
    feed: Annotated[str, typer.Option(help="What the virtual exchange trades on.")] = "synthetic",
    feed_speed: Annotated[float, typer.Option(help="Market seconds per second.")] = 1.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    state_dir: Annotated[
        Path | None,
        typer.Option(
            "--state-dir",
            "--state",
            help="PULSE_STATE_DIR where not given, else the place the system has for it.",
        ),
    ] = None,
    log_level: Annotated[str, typer.Option(help="DEBUG, INFO, WARNING, ERROR or CRITICAL.")] = "WARNING",
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND[:INSTRUMENT,...]",
            help="Run a strategy on these prices, such as macd:NSE:TCS; may be given several times.",
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A parameter of the strategy; may be given several times."),
    ] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="As processes under a supervisor, the exchange one of them.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, max=32, help="With --cluster: how many worker processes; else 2.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --cluster: of the exchange's delays; else one is drawn.")
    ] = None,
) -> int:
    """Run the whole system in one process: gateway, order API, workers, Postgres and a virtual exchange."""
    if not 0 < feed_speed < float("inf"):
        raise BadInput("--feed-speed must be above 0")
    if log_level.upper() not in _LOG_LEVELS:
        raise BadInput(f"--log-level must be one of {', '.join(_LOG_LEVELS)}")
    folder = state_folder(os.environ) if state_dir is None else state_dir.absolute()
    wishes = read_wishes(strategy or (), backtest.parameters_of(param or ()))
    if cluster:
        return _up_as_cluster(
            ClusterOptions(
                feed=feed,
                feed_speed=feed_speed,
                port=port,
                host=host,
                state_dir=folder,
                log_level=log_level.upper(),
                workers=2 if workers is None else workers,
                seed=seed,
                strategies=wishes,
            )
        )
    for name, value in (("--workers", workers), ("--seed", seed)):
        if value is not None:
            raise BadInput(f"{name} goes with --cluster only")
    options = UpOptions(
        feed=feed,
        feed_speed=feed_speed,
        port=port,
        host=host,
        state_dir=folder,
        log_level=log_level.upper(),
        strategies=wishes,
    )
    from pulse.up import up as run

    return run(options)


def _up_as_cluster(options: ClusterOptions) -> int:
    try:
        from pulse.cluster import run_cluster
    except ModuleNotFoundError as error:
        raise BadInput(f'{error.name} is not installed: pip install "pulse-adapters[zerodha]"') from error

    return run_cluster(options, os.environ)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # rather than fail in a small locale
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # What is still buffered must not be written at exit, or that fails again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except CommandError as error:
        output.complain(str(error))
        return error.exit_code
    except typer.TyperException as error:  # wrong options and arguments
        where = context.command_path if (context := getattr(error, "ctx", None)) else "pulse"
        output.complain(f"{error.format_message().rstrip('.')}; see {where} --help")
        return error.exit_code
    except msgspec.ValidationError as error:
        output.complain(f"UNEXPECTED_ANSWER: the gateway answered in another shape than expected: {error}")
        return 1
    except Exception as error:  # a fault of ours, or the disk is full
        if os.environ.get("PULSE_DEBUG"):
            raise
        output.complain(f"INTERNAL_ERROR: {type(error).__name__}: {error}; PULSE_DEBUG=1 shows where")
        return 1
    return code


def _run(arguments: list[str]) -> int:
    command = get_command(app)
    try:
        with command.make_context("pulse", arguments) as context:
            code = command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return code if isinstance(code, int) else 0


def _help_without_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        if text := context.get_help():  # or it has printed it already
            typer.echo(text)
        raise typer.Exit(2)
