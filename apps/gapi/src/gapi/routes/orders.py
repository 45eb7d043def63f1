"""Orders: a client's own, and everybody's for an admin."""

import re
from typing import Annotated
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from gapi.answers import Accepted, Order, OrderPage, Preview, Slices
from gapi.auth import Client, Scope
from gapi.event_stream import EventStream
from gapi.gateway import GatewayRequest, needs
from gapi.orders import OrderRequest, PreviewRequest, check, invalid, keyed_body
from gapi.passing import Passed, passed, passed_accepted
from service_kit import ServiceError

_matches_order_id = re.compile(r"ord_[0-9a-z]{26}").fullmatch
_matches_seq = re.compile(r"[0-9]{1,18}").fullmatch

_TAGS = ["orders"]


@post("/api/orders", status_code=202, before_request=needs(Scope.WRITE), tags=_TAGS, summary="Send an order")
async def create_order(data: JSONBody[OrderRequest], request: GatewayRequest) -> Response[Accepted]:
    check(data)
    answer = await request.gateway.pulse.request(
        "POST",
        "/internal/orders",
        headers={
            "Content-Type": "application/json",
            "X-Client-Id": request.caller.client_id,
            "X-Order-Source": "api",
        },
        # Read from the headers by hand: as a parameter it would cost every order.
        body=keyed_body(data, await request.body(), request.headers.get("idempotency-key")),
    )
    return passed_accepted(answer)


@post(
    "/api/orders/preview",
    status_code=200,
    before_request=needs(Scope.READ),
    tags=_TAGS,
    summary="See the schedule that an order would get",
)
async def preview_order(data: JSONBody[PreviewRequest], request: GatewayRequest) -> Response[Preview]:
    check(data)
    answer = await request.gateway.pulse.request(
        "POST",
        "/internal/orders/preview",
        headers={"Content-Type": "application/json", **_on_behalf(request.caller)},
        body=await request.body(),
    )
    return passed(answer)


@get("/api/orders", before_request=needs(Scope.READ), tags=_TAGS, summary="List orders, newest first")
async def list_orders(
    request: GatewayRequest,
    limit: Annotated[int, QueryParameter(ge=1, le=200, description="How many.")] = 50,
    cursor: Annotated[
        str | None, QueryParameter(max_length=256, description="The next_cursor of the page before.")
    ] = None,
) -> Response[OrderPage]:
    query = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
    return await read(request, f"/internal/orders?{urlencode(query)}")


@get("/api/orders/{order_id:str}", before_request=needs(Scope.READ), tags=_TAGS, summary="Show an order")
async def get_order(order_id: FromPath[str], request: GatewayRequest) -> Response[Order]:
    return await read(request, _path(order_id))


@get(
    "/api/orders/{order_id:str}/slices",
    before_request=needs(Scope.READ),
    tags=_TAGS,
    summary="Show an order's slices and executions",
)
async def get_slices(order_id: FromPath[str], request: GatewayRequest) -> Response[Slices]:
    return await read(request, _path(order_id) + "/slices")


@get(
    "/api/orders/{order_id:str}/events",
    before_request=needs(Scope.READ),
    media_type="text/event-stream",
    tags=_TAGS,
    summary="Watch an order live",
)
async def follow_order(
    order_id: FromPath[str],
    request: GatewayRequest,
    last_event_id: Annotated[str | None, QueryParameter(description="As the header Last-Event-ID.")] = None,
    last_event_header: Annotated[
        str | None,
        HeaderParameter(name="Last-Event-ID", required=False, description="Send what came after this event."),
    ] = None,
) -> Response[str]:
    for name, given in (("Last-Event-ID", last_event_header), ("last_event_id", last_event_id)):
        if given and _matches_seq(given) is None:
            raise invalid(name, "must be the id of an event")
    # An EventSource that reconnects sends the header, and still the query of its first address.
    last_seen = last_event_header or last_event_id
    headers = _on_behalf(request.caller) | ({"Last-Event-ID": last_seen} if last_seen else {})
    return EventStream(request.gateway, _path(order_id) + "/events", headers)


@post(
    "/api/orders/{order_id:str}/cancel",
    status_code=202,
    before_request=needs(Scope.WRITE),
    tags=_TAGS,
    summary="Cancel what is not filled",
)
async def cancel_order(order_id: FromPath[str], request: GatewayRequest) -> Response[Order]:
    path = _path(order_id) + "/cancel"
    return passed(await request.gateway.pulse.request("POST", path, headers=_on_behalf(request.caller)))


def _path(order_id: str) -> str:
    if _matches_order_id(order_id) is None:
        raise ServiceError("NOT_FOUND", "there is no such order")
    return f"/internal/orders/{order_id}"


def _on_behalf(caller: Client) -> dict[str, str]:
    # Without the header Pulse shows the orders of every client.
    return {} if caller.is_admin else {"X-Client-Id": caller.client_id}


async def read(request: GatewayRequest, path: str) -> Passed:
    """Ask Pulse for what the caller may see."""
    return passed(await request.gateway.pulse.request("GET", path, headers=_on_behalf(request.caller)))


HANDLERS = [create_order, preview_order, list_orders, get_order, get_slices, follow_order, cancel_order]
