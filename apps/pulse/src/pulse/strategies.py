"""`pulse strategy`: add, change, start, stop, list and show strategies; by the order API.

Code never goes over HTTP: a strategy of a file is put into the database itself, by whoever has that, on the
machine where strategies run.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from msgspec.structs import replace

from pulse import output
from pulse.backtest import number, parameters_of
from pulse.errors import BadInput, CommandError
from pulse.operations import By, PulseUrl, open_order_api, operator_name
from pulse.orders import AsJson
from pulse.views import Json, Strategies, Strategy
from pulse_domain.errors import InvalidInstrument, InvalidSettings, InvalidStrategy
from pulse_domain.instruments import Instrument
from pulse_domain.ports.strategy_store import StrategyMode
from pulse_domain.strategies import STRATEGIES, make_strategy
from pulse_domain.use_cases.strategies import StrategyAsk, check_ask

if TYPE_CHECKING:  # an HTTP client takes longest to import
    from rich.table import Table

    from pulse.order_api import OrderApi

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name, which is also the tag of its orders.")]
Kind = typer.Option(metavar="KIND", help=f"{', '.join(STRATEGIES)}; or FILE.py:Class, on this machine.")
Instruments = typer.Option(
    "--instrument", metavar="INSTRUMENT", help="Such as NSE:TCS; may be given several times."
)
Parameters = typer.Option(
    "--param", metavar="NAME=VALUE", help="A parameter of the kind; may be given several times."
)
_DEFAULT = "default"

app = typer.Typer(help="Add, change, start, stop, list and show strategies.", rich_markup_mode="rich")


@app.command("list")
def list_strategies(as_json: AsJson = False, pulse_url: PulseUrl = None) -> None:
    """List the strategies, and how they fare."""
    with open_order_api(pulse_url, None) as api:
        answer = api.strategies()
    if as_json:
        output.say_json(answer)
        return
    found = msgspec.convert(answer, Strategies).strategies
    if found:
        output.show(_table(found))
    else:
        output.say("there is no strategy; next: pulse strategy add NAME --kind macd --instrument NSE:TCS")


@app.command()
def show(name: Name, as_json: AsJson = False, pulse_url: PulseUrl = None) -> None:
    """Show a strategy: its parameters, who changed it, and why it failed."""
    with open_order_api(pulse_url, None) as api:
        found = _find(api, name)
    if as_json:
        output.say_json(found)
    else:
        output.show(_particulars(found))


@app.command()
def add(
    name: Name,
    kind: Annotated[str, Kind],
    instrument: Annotated[list[str], Instruments],
    param: Annotated[list[str] | None, Parameters] = None,
    mode: Annotated[
        StrategyMode,
        typer.Option(case_sensitive=False, help="paper: no broker hears of its orders; live: it trades."),
    ] = StrategyMode.PAPER,
    capital: Annotated[
        str | None,
        typer.Option(metavar="RUPEES", help="What it counts with; else STRATEGY_CAPITAL of the desk."),
    ] = None,
    by: By = None,
    as_json: AsJson = False,
    pulse_url: PulseUrl = None,
) -> None:
    """Add a strategy, stopped."""
    ask = _ask(name, kind, instrument, parameters_of(param or ()), mode, _capital(capital))
    with open_order_api(pulse_url, by) as api:
        known = {row.name: row for row in _rows(api)}.get(name)
        if known is not None and not _is(known, ask):
            raise CommandError(f"there is a strategy {name} already: pulse strategy set {name} changes it")
        answer = _put(api, ask, by)
    _tell(answer, as_json, f"next: pulse strategy start {name}")


@app.command("set")
def change(
    name: Name,
    kind: Annotated[str | None, Kind] = None,
    instrument: Annotated[list[str] | None, Instruments] = None,
    param: Annotated[list[str] | None, Parameters] = None,
    unset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Let a parameter have its default; may be given several times."),
    ] = None,
    mode: Annotated[StrategyMode | None, typer.Option(case_sensitive=False)] = None,
    capital: Annotated[
        str | None,
        typer.Option(metavar="RUPEES", help=f"{_DEFAULT} for the STRATEGY_CAPITAL of the desk."),
    ] = None,
    by: By = None,
    as_json: AsJson = False,
    pulse_url: PulseUrl = None,
) -> None:
    """Change a strategy that is stopped; what is not given stays as it is. It forgets what it knew."""
    if not (kind or instrument or param or unset or mode or capital is not None):
        raise BadInput(
            "nothing is to be changed: give --kind, --instrument, --param, --unset, --mode or --capital"
        )
    given, rupees = parameters_of(param or ()), _capital(capital)
    with open_order_api(pulse_url, by) as api:
        known = _find(api, name)
        for left_out in unset or ():
            if left_out not in known.parameters:
                raise BadInput(f"--unset {left_out}: strategy {name} has no such parameter set")
        kept = {key: value for key, value in known.parameters.items() if key not in (unset or ())}
        ask = _ask(
            name,
            kind or known.kind,
            instrument or known.instruments,
            kept | given,
            mode or StrategyMode(known.mode),
            known.capital if capital is None else rupees,
        )
        answer = _put(api, ask, by)
    _tell(answer, as_json, f"next: pulse strategy start {name}")


@app.command()
def start(name: Name, by: By = None, as_json: AsJson = False, pulse_url: PulseUrl = None) -> None:
    """Have a strategy run; one that has failed is tried again."""
    with open_order_api(pulse_url, by) as api:
        answer = api.start_strategy(name)
    _tell(msgspec.convert(answer, Strategy), as_json, f"next: pulse strategy show {name}")


@app.command()
def stop(name: Name, by: By = None, as_json: AsJson = False, pulse_url: PulseUrl = None) -> None:
    """Have a strategy end. Its orders and its position stay as they are."""
    with open_order_api(pulse_url, by) as api:
        answer = api.stop_strategy(name)
    _tell(msgspec.convert(answer, Strategy), as_json)


def _capital(text: str | None) -> Decimal | None:
    return None if text in (None, _DEFAULT) else number("--capital", text)


def _ask(
    name: str,
    kind: str,
    instruments: Iterable[str],
    parameters: Mapping[str, Any],
    mode: StrategyMode,
    capital: Decimal | None,
) -> StrategyAsk:
    """What was typed, checked as far as that goes here."""
    try:
        found = [Instrument.parse(text) for text in instruments]
        ask = StrategyAsk(
            name=name, kind=kind, instruments=found, parameters=parameters, mode=mode, capital=capital
        )
        check_ask(ask)
        if not _is_file(kind):
            make_strategy(kind, found, parameters)
            return ask
    except (InvalidInstrument, InvalidStrategy, InvalidSettings) as error:
        raise BadInput(error.message) from None
    from pulse.strategy_store import checked_kind

    return replace(ask, kind=checked_kind(kind, parameters))


def _put(api: "OrderApi", ask: StrategyAsk, by: str | None) -> Strategy:
    if _is_file(ask.kind):
        from pulse.strategy_store import put_strategy_of_file

        return put_strategy_of_file(ask, operator_name(by))
    body = {
        "kind": ask.kind,
        "instruments": [str(instrument) for instrument in ask.instruments],
        "parameters": dict(ask.parameters),
        "mode": ask.mode,
        "capital": ask.capital,
    }
    return msgspec.convert(api.put_strategy(ask.name, body), Strategy)


def _is_file(kind: str) -> bool:
    return kind not in STRATEGIES and ".py" in kind


def _rows(api: "OrderApi") -> tuple[Strategy, ...]:
    return msgspec.convert(api.strategies(), Strategies).strategies


def _find(api: "OrderApi", name: str) -> Strategy:
    for row in _rows(api):
        if row.name == name:
            return row
    raise CommandError(f"NOT_FOUND: there is no strategy {name}")


def _is(row: Strategy, ask: StrategyAsk) -> bool:
    """Whether a row is what is asked for: then asking is repeating."""
    asked: Json = {
        "kind": ask.kind,
        "instruments": tuple(str(instrument) for instrument in ask.instruments),
        "parameters": dict(ask.parameters),
        "mode": ask.mode.value,
        "capital": ask.capital,
    }
    return all(getattr(row, field) == value for field, value in asked.items())


def _tell(row: Strategy, as_json: bool, then: str | None = None) -> None:
    if as_json:
        output.say_json(row)
        return
    capital = "" if row.capital is None else f"capital {output.price(row.capital)}, "
    output.say(f"{row.name}: {row.kind} on {', '.join(row.instruments)}, {row.mode}, {capital}{_state(row)}")
    if then is not None:
        output.say(then)


def _state(row: Strategy) -> str:
    return row.state if row.state in (row.wanted, "FAILED") else f"{row.state}, to be {row.wanted}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _particulars(row: Strategy) -> "Table":
    parameters = " ".join(f"{name}={_text(value)}" for name, value in row.parameters.items())
    return output.particulars(
        {
            "strategy": row.name,
            "kind": row.kind,
            "instruments": " ".join(row.instruments),
            "parameters": parameters or "the defaults of its kind",
            "mode": row.mode,
            "capital": "STRATEGY_CAPITAL of the desk" if row.capital is None else output.price(row.capital),
            "wanted": row.wanted,
            "state": row.state,
            "why": row.detail,
            "seen": row.reported_at and output.instant(row.reported_at),
            "version": str(row.version),
            "changed": f"{output.instant(row.changed_at)} by {row.changed_by}",
        }
    )


def _table(rows: Iterable[Strategy]) -> "Table":
    table = output.plain_table(
        ("strategy", "left"), ("kind", "left"), ("instruments", "left"), ("mode", "left"), ("capital", "right"),
        ("state", "left"), ("why", "left"),
    )  # fmt: skip
    for row in rows:
        table.add_row(
            output.clean(row.name),
            output.clean(row.kind),
            output.clean(" ".join(row.instruments)),
            row.mode,
            output.price(row.capital),
            _state(row),
            output.clean(row.detail or "") if row.state == "FAILED" else "",
        )
    return table
