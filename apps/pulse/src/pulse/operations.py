"""What operators do: `pulse order pause`, `resume` and `resolve`, and `pulse reconcile`; by the order API."""

import getpass
import os
import re
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from pulse import output
from pulse.connection import order_api_url, service_token
from pulse.errors import BadInput
from pulse.orders import AsJson, OrderId
from pulse.request import check_order_id
from pulse.state import state_folder
from pulse.views import Execution, InDoubt, Order, Resolved, Review, Stranger, Trading

if TYPE_CHECKING:  # an HTTP client takes longest to import
    from rich.table import Table

    from pulse.order_api import OrderApi

_TEXT_MAX = 500

PulseUrl = Annotated[
    str | None,
    typer.Option(
        "--pulse-url",
        envvar="PULSE_URL",
        help="The order API; else that of the running `pulse up`, else http://127.0.0.1:8001.",
    ),
]
By = Annotated[str | None, typer.Option(metavar="NAME", help="Who does it, for the record; else your login.")]

_matches_name = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch
_matches_part = re.compile(r"ord_[0-9a-z]{26}|slc_[0-9a-z]{26}_\d+|exe_[0-9a-z]{26}_\d+_\d+").fullmatch


def pause(order_id: OrderId, by: By = None, as_json: AsJson = False, pulse_url: PulseUrl = None) -> None:
    """Send nothing more of an order until it is resumed; what its window leaves behind expires."""
    order_id = check_order_id(order_id)
    with open_order_api(pulse_url, by) as api:
        answer = api.pause(order_id)
    if as_json:
        output.say_json(answer)
        return
    output.say(f"paused: {output.summary(msgspec.convert(answer, Order))}")
    output.say(f"next: pulse order resume {order_id}")


def resume(order_id: OrderId, by: By = None, as_json: AsJson = False, pulse_url: PulseUrl = None) -> None:
    """Let a paused order go on; slices that are late by then go out spaced."""
    order_id = check_order_id(order_id)
    with open_order_api(pulse_url, by) as api:
        answer = api.resume(order_id)
    if as_json:
        output.say_json(answer)
    else:
        output.say(f"goes on: {output.summary(msgspec.convert(answer, Order))}")


def resolve(
    part_id: Annotated[
        str,
        typer.Argument(metavar="ID", help="exe_…; or the slc_… or ord_… in which exactly one is in doubt."),
    ],
    found: Annotated[
        str | None, typer.Option(metavar="BROKER_ID", help="The broker has it, under this order id.")
    ] = None,
    absent: Annotated[bool, typer.Option("--absent", help="The broker does not have it, for certain.")] = False,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why you are sure, for the record.")] = "",
    by: By = None,
    as_json: AsJson = False,
    pulse_url: PulseUrl = None,
) -> None:
    """Say what became of an execution that nobody knows the fate of, after a look at the broker's own pages.

    With --found, what the broker says of that id is booked; with --absent, it is closed and never sent again.
    """
    if _matches_part(part_id) is None:
        raise BadInput("the id must be that of an execution (exe_…), a slice (slc_…) or an order (ord_…)")
    if (found is None) is not absent:
        raise BadInput("give either --found BROKER_ID or --absent")
    if found is not None and _matches_name(found) is None:
        raise BadInput("the broker's order id must be 1 to 64 of letters, digits and _.:-")
    _check_text("--note", note)
    with open_order_api(pulse_url, by) as api:
        answer = api.resolve(part_id, found=found, note=note)
    if as_json:
        output.say_json(answer)
        return
    resolved = msgspec.convert(answer, Resolved)
    output.say(f"resolved: {_execution(resolved.execution)}")
    output.say(f"next: pulse order show {resolved.order_id}")


def reconcile(
    confirm: Annotated[
        bool, typer.Option("--confirm", help="You have compared with the broker: let trading go on.")
    ] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="With --confirm: what you found.")] = "",
    by: By = None,
    as_json: AsJson = False,
    pulse_url: PulseUrl = None,
) -> None:
    """Show what to compare with the broker before trading goes on; with --confirm, let it go on.

    After a restore from a backup, or where the broker has orders of ours that we do not know, trading is halted
    until this is confirmed.
    """
    if confirm is not bool(reason.strip()):
        raise BadInput("--confirm and --reason TEXT go together")
    _check_text("--reason", reason)
    with open_order_api(pulse_url, by) as api:
        answer = api.confirm(reason) if confirm else api.review()
    if as_json:
        output.say_json(answer)
    elif confirm:
        output.say(f"trading: {_trading(msgspec.convert(answer, Trading))}")
    else:
        _show(msgspec.convert(answer, Review))


def open_order_api(url: str | None, by: str | None) -> "OrderApi":
    """A client of the order API that says who does it.

    Raises:
        BadInput: an address, a name or the token is missing or malformed.
    """
    folder, operator = state_folder(os.environ), operator_name(by)
    where, token = order_api_url(url, folder), service_token(os.environ.get("PULSE_SERVICE_TOKEN"), folder)
    from pulse.order_api import OrderApi

    return OrderApi(where, token, operator)


def operator_name(by: str | None) -> str:
    """Who does it: as given, else the login. Raises: BadInput."""
    operator = _login() if by is None else by
    if _matches_name(operator) is None:
        raise BadInput("--by must be 1 to 64 of letters, digits and _.:-")
    return operator


def _login() -> str:
    try:
        return re.sub(r"[^A-Za-z0-9_.:-]", "-", getpass.getuser())[:64] or "operator"
    except (OSError, KeyError):  # a user without a name
        return "operator"


def _check_text(option: str, text: str) -> None:
    if len(text) > _TEXT_MAX:
        raise BadInput(f"{option} must be at most {_TEXT_MAX} characters")


def _execution(execution: Execution) -> str:
    named = f" as {execution.broker_order_id}" if execution.broker_order_id else ""
    return f"{execution.execution_id} is {execution.status}{named} ({execution.reason or 'no reason'})"


def _trading(trading: Trading) -> str:
    if not trading.halted:
        return "goes on"
    since = output.instant(trading.changed_at) if trading.changed_at else "?"
    return f"halted by {trading.changed_by} since {since}: {trading.reason}"


def _show(review: Review) -> None:
    output.say(f"trading: {_trading(review.trading)}")
    book = review.book
    if book is None or book.noted_at is None:
        output.say("order book: not read yet")
    else:
        how = "complete" if book.complete else "incomplete: nothing follows from what it lacks"
        output.say(f"order book: read {output.instant(book.noted_at)}, {how}")
    strangers = book.strangers if book else ()
    output.say(f"orders at the broker that are ours and that we do not know: {len(strangers) or 'none'}")
    if strangers:
        output.show(_strangers_table(strangers))
    output.say(f"executions in doubt: {len(review.in_doubt) or 'none'}")
    if review.in_doubt:
        output.show(_in_doubt_table(review.in_doubt))
        output.say("next: pulse order resolve ID --found BROKER_ID, or --absent")
    if review.trading.needs_reconcile:
        output.say("next: compare with the broker, then pulse reconcile --confirm --reason TEXT")


def _strangers_table(strangers: tuple[Stranger, ...]) -> "Table":
    table = output.plain_table(
        ("broker order id", "left"), ("tag", "left"), ("what", "left"), ("filled", "right"), ("status", "left"),
        ("known", "left"),
    )  # fmt: skip
    for row in strangers:
        what = f"{row.side} {row.quantity} {row.instrument}"
        table.add_row(
            output.clean(row.broker_order_id),
            output.clean(row.tag),
            output.clean(what),
            str(row.filled_quantity),
            output.status(row.status),
            "yes" if row.known else "no",
        )
    return table


def _in_doubt_table(rows: tuple[InDoubt, ...]) -> "Table":
    table = output.plain_table(
        ("execution", "left"), ("tag", "left"), ("what", "left"), ("status", "left"),
        ("broker order id", "left"), ("why", "left"),
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row.execution_id,
            row.tag,
            output.clean(f"{row.side} {row.quantity} {row.instrument}"),
            output.status(row.terminal or row.status),
            output.clean(row.broker_order_id or "-"),
            output.clean(" ".join(filter(None, (*row.flags, row.reason)))),
        )
    return table
