"""`pulse order`: place, show, watch, list and cancel orders at the gateway; `operations` has the rest."""

import os
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from pulse import output
from pulse.connection import gateway_url, token_source
from pulse.errors import GatewayError, Interrupted
from pulse.request import (
    MINUTES_MAX,
    QUANTITY_MAX,
    SPLITS_MAX,
    SPLITS_MIN,
    OrderType,
    Product,
    Side,
    Validity,
    check_order_id,
    new_key,
    order_request,
)
from pulse.state import state_folder
from pulse.views import Accepted, Json, Order, Orders, Slices

if TYPE_CHECKING:  # an HTTP client takes longest to import
    from pulse.client import Gateway, Placed


class Ended(IntEnum):
    """Exit codes of a watch."""

    FILLED = 0
    UNFILLED = 3


Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="PULSE_GATEWAY_URL",
        help="The gateway; else the running `pulse up`, else http://127.0.0.1:8000.",
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token", envvar="PULSE_TOKEN", help="The bearer token; else one made with the secrets of `pulse up`."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON to stdout, and nothing else.")]
OrderId = Annotated[str, typer.Argument(metavar="ORDER_ID", help="ord_…")]

app = typer.Typer(
    help="Place, show, watch, list and cancel orders; for operators: pause, resume and resolve.",
    rich_markup_mode="rich",
)


@app.command()
def place(
    instrument: Annotated[str, typer.Argument(metavar="INSTRUMENT", help="EXCHANGE:SYMBOL, such as NSE:TCS.")],
    side: Annotated[Side, typer.Argument(metavar="SIDE", case_sensitive=False, help="buy or sell.")],
    quantity: Annotated[
        int, typer.Argument(metavar="QUANTITY", min=1, max=QUANTITY_MAX, help="Units, a multiple of the lot.")
    ],
    splits: Annotated[
        int | None, typer.Option(min=SPLITS_MIN, max=SPLITS_MAX, help="Into so many slices.")
    ] = None,
    minutes: Annotated[
        int | None, typer.Option(min=1, max=MINUTES_MAX, help="From the first slice to the last.")
    ] = None,
    randomize: Annotated[
        bool | None,
        typer.Option(
            "--randomize/--no-randomize", help="Vary quantities and times; the default with --splits."
        ),
    ] = None,
    order_type: Annotated[
        OrderType | None,
        typer.Option("--type", case_sensitive=False, help="MARKET where not given."),
    ] = None,
    limit: Annotated[str | None, typer.Option(metavar="PRICE", help="With LIMIT and SL.")] = None,
    trigger: Annotated[str | None, typer.Option(metavar="PRICE", help="With SL and SL-M.")] = None,
    product: Annotated[
        Product | None,
        typer.Option(case_sensitive=False, help="CNC on NSE and BSE, else NRML, where not given."),
    ] = None,
    validity: Annotated[
        Validity | None, typer.Option(case_sensitive=False, help="DAY where not given.")
    ] = None,
    start_at: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Such as 2026-01-05T09:15:00+05:30; else now.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Your own key of the order: the same key again is the same order. Else a random one."
        ),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="Of the strategy; kept with every execution.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on as `pulse order watch`.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> int:
    """Place an order, split over time where --splits and --minutes say so."""
    unique_key = new_key() if key is None else key
    request = order_request(
        key=unique_key,
        instrument=instrument,
        side=side,
        quantity=quantity,
        splits=splits,
        minutes=minutes,
        randomize=randomize,
        order_type=order_type,
        limit=limit,
        trigger=trigger,
        product=product,
        validity=validity,
        start_at=start_at,
        tag=tag,
    )
    with open_gateway(url, token) as gateway:
        placed = _place(gateway, request, unique_key)
        accepted = msgspec.convert(placed.answer, Accepted)
        if as_json:
            output.say_json(placed.answer | {"replayed": placed.replayed})
        else:
            before = " before, under the same key" if placed.replayed and key else ""
            output.say(f"accepted{before}: {accepted.order_id}")
        if watch:
            return _watch(gateway, accepted.order_id, as_json=as_json)
    if not as_json:
        output.say(f"next: pulse order watch {accepted.order_id}")
    return 0


@app.command()
def show(order_id: OrderId, as_json: AsJson = False, url: Url = None, token: Token = None) -> None:
    """Show an order and its slices."""
    order_id = check_order_id(order_id)
    with open_gateway(url, token) as gateway:
        order, slices = gateway.order(order_id), gateway.slices(order_id)
    if as_json:
        output.say_json({"order": order, "slices": slices["slices"]})
        return
    output.show(output.order_table(msgspec.convert(order, Order)))
    if rows := msgspec.convert(slices, Slices).slices:
        output.say("")
        output.show(output.slices_table(rows))


@app.command()
def watch(order_id: OrderId, as_json: AsJson = False, url: Url = None, token: Token = None) -> int:
    """Follow an order until it is done; 3 is the exit code where it ends without being filled completely.

    With --json, every journal row is a line of JSON, and the order as it ended is the last one.
    """
    order_id = check_order_id(order_id)
    with open_gateway(url, token) as gateway:
        return _watch(gateway, order_id, as_json=as_json)


@app.command("list")
def list_orders(
    limit: Annotated[int, typer.Option(min=1, max=200, help="So many, the newest.")] = 20,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Go on behind a former list: its next_cursor.")
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    token: Token = None,
) -> None:
    """List orders, newest first."""
    with open_gateway(url, token) as gateway:
        answer = gateway.orders(limit=limit, cursor=cursor)
    if as_json:
        output.say_json(answer)
        return
    page = msgspec.convert(answer, Orders)
    if page.orders:
        output.show(output.orders_table(page.orders))
    else:
        output.say("no orders")
    if page.next_cursor:
        output.say(f"more: pulse order list --limit {limit} --cursor {page.next_cursor}")


@app.command()
def cancel(order_id: OrderId, as_json: AsJson = False, url: Url = None, token: Token = None) -> None:
    """Cancel what is not filled of an order. Asking twice is asking once."""
    order_id = check_order_id(order_id)
    with open_gateway(url, token) as gateway:
        answer = gateway.cancel(order_id)
    if as_json:
        output.say_json(answer)
        return
    order = msgspec.convert(answer, Order)
    output.say(f"cancel asked: {output.summary(order)}")
    if not order.done:
        output.say(f"next: pulse order watch {order.order_id}")


def open_gateway(url: str | None, token: str | None) -> "Gateway":
    """The gateway that the options, the environment or the state folder name.

    Raises:
        BadInput: there is no token, or the address cannot be read.
    """
    folder = state_folder(os.environ)
    where, whose = gateway_url(url, folder), token_source(token, folder)
    from pulse.client import Gateway

    return Gateway(where, whose)


def _place(gateway: "Gateway", request: Json, key: str) -> "Placed":
    again = f"to make sure, send the same order again with --key {key}"
    if sys.stderr.isatty():
        output.complain(f"key {key}")
    try:
        return gateway.place(request)
    except GatewayError as error:
        if error.is_temporary:
            error.message += f"; {again}"
        raise
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted before the answer; {again}") from None


def _watch(gateway: "Gateway", order_id: str, *, as_json: bool) -> int:
    from pulse.live import way_to_watch

    try:
        order = way_to_watch(as_json=as_json)(gateway, order_id)
    except KeyboardInterrupt:
        raise Interrupted(f"the order goes on; watch it again: pulse order watch {order_id}") from None
    return Ended.FILLED if order.is_filled else Ended.UNFILLED
