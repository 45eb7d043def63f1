"""Order operations under /internal/orders."""

import re
from typing import Annotated

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, HeaderParameter, JSONBody, QueryParameter
from litestar.response import Stream

from pulse_api.bootstrap import Services
from pulse_api.journal_feed import has_more
from pulse_api.operator_wire import ResolveBody, ResolvedOut, resolved_out
from pulse_api.wire import (
    AcceptedOut,
    OrderBody,
    OrderOut,
    OrdersOut,
    PreviewBody,
    PreviewOut,
    SlicesOut,
    order_out,
    preview_out,
    slices_out,
)
from pulse_domain.errors import InvalidOrder, NotFound
from pulse_domain.orders.ids import ClientId, OrderId, is_order_id
from pulse_domain.orders.model import Source
from pulse_domain.use_cases.accept import AcceptCommand
from service_kit import ServiceError, current

ClientHeader = Annotated[
    str | None,
    HeaderParameter(name="X-Client-Id", required=False, description="The client to act for; absent: all."),
]
SourceHeader = Annotated[str | None, HeaderParameter(name="X-Order-Source", required=False)]
DigestHeader = Annotated[str | None, HeaderParameter(name="X-Body-Digest", required=False)]
LastEventHeader = Annotated[str | None, HeaderParameter(name="Last-Event-ID", required=False)]

OperatorHeader = Annotated[
    str | None,
    HeaderParameter(name="X-Operator", required=False, description="Who does it, for the record."),
]

_CLIENT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SOURCES = {source.value: source for source in Source if source is not Source.BACKTEST}


def client_id(header: str | None) -> ClientId | None:
    if header is not None and _CLIENT_ID.fullmatch(header) is None:
        raise ServiceError("INVALID_REQUEST", "X-Client-Id is malformed", {"field": "X-Client-Id"})
    return None if header is None else ClientId(header)


def operator_name(header: str | None) -> str:
    if header is not None and _CLIENT_ID.fullmatch(header) is None:
        raise ServiceError("INVALID_REQUEST", "X-Operator is malformed", {"field": "X-Operator"})
    return header or "operator"


def _order_id(text: str) -> OrderId:
    if not is_order_id(text):
        raise NotFound("there is no such order")
    return OrderId(text)


@post("/", status_code=202, summary="Accept an order")
async def accept_order(
    data: JSONBody[OrderBody],
    services: NamedDependency[Services],
    client: ClientHeader = None,
    source: SourceHeader = None,
    body_digest: DigestHeader = None,
) -> Response[AcceptedOut]:
    owner = client_id(client)
    if owner is None:
        raise ServiceError("INVALID_REQUEST", "X-Client-Id is required", {"field": "X-Client-Id"})
    if source is not None and source not in _SOURCES:
        raise ServiceError("INVALID_REQUEST", "X-Order-Source is unknown", {"field": "X-Order-Source"})
    if body_digest is not None and _DIGEST.fullmatch(body_digest) is None:
        raise ServiceError("INVALID_REQUEST", "X-Body-Digest is malformed", {"field": "X-Body-Digest"})
    if data.order_unique_key is None and body_digest is None:
        raise InvalidOrder("order_unique_key is required", field="order_unique_key")
    ids = current()
    accepted = await services.accept(
        AcceptCommand(
            client_id=owner,
            order_unique_key=data.order_unique_key,
            request=data.request(),
            source=_SOURCES[source or "api"],
            request_id=ids.request_id if ids else "",
            trace_id=ids.trace_id if ids else "",
            body_digest=body_digest,
        )
    )
    return Response(
        AcceptedOut(order_id=accepted.order_id, order_unique_key=accepted.order_unique_key),
        status_code=202,
        headers={"Idempotent-Replayed": "true"} if accepted.replayed else None,
    )


@post("/preview", status_code=200, summary="Show the schedule that an order would get")
async def preview_order(
    data: JSONBody[PreviewBody], services: NamedDependency[Services], client: ClientHeader = None
) -> PreviewOut:
    return preview_out(await services.preview(data.request(), client_id(client)))


@get("/", summary="List orders, newest first")
async def list_orders(
    services: NamedDependency[Services],
    client: ClientHeader = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
    cursor: FromQuery[str | None] = None,
) -> OrdersOut:
    if cursor is not None and not is_order_id(cursor):
        raise ServiceError("INVALID_REQUEST", "cursor is not one of ours", {"field": "cursor"})
    views, next_cursor = await services.read.page(
        client_id(client), limit=limit, before=OrderId(cursor) if cursor else None
    )
    return OrdersOut(orders=[order_out(view) for view in views], next_cursor=next_cursor)


@get("/{order_id:str}", summary="Show an order")
async def get_order(
    order_id: FromPath[str], services: NamedDependency[Services], client: ClientHeader = None
) -> OrderOut:
    return order_out(await services.read.get(_order_id(order_id), client_id(client)))


@get("/{order_id:str}/slices", summary="Show an order's slices")
async def get_slices(
    order_id: FromPath[str], services: NamedDependency[Services], client: ClientHeader = None
) -> SlicesOut:
    return slices_out(order_id, await services.read.slices(_order_id(order_id), client_id(client)))


@get("/{order_id:str}/events", media_type="text/event-stream", summary="Follow an order's journal")
async def follow_order(
    order_id: FromPath[str],
    services: NamedDependency[Services],
    client: ClientHeader = None,
    last_event_header: LastEventHeader = None,
    last_event_id: FromQuery[str | None] = None,
) -> Response[None] | Stream:
    after = last_event_header or last_event_id or "0"
    if not (after.isascii() and after.isdigit() and len(after) <= 9):
        raise ServiceError("INVALID_REQUEST", "Last-Event-ID is not one of ours", {"field": "Last-Event-ID"})
    known, owner = _order_id(order_id), client_id(client)
    if not await has_more(services.read, known, owner, int(after)):
        return Response(None, status_code=204, media_type="text/event-stream")
    return Stream(
        services.feed.stream(known, owner, int(after)),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@post("/{order_id:str}/cancel", status_code=202, summary="Cancel what is not filled of an order")
async def cancel_order(
    order_id: FromPath[str], services: NamedDependency[Services], client: ClientHeader = None
) -> OrderOut:
    owner = client_id(client)
    return order_out(await services.cancel(_order_id(order_id), owner, owner or "operator"))


@post("/{order_id:str}/pause", status_code=200, summary="Send nothing more of an order for now")
async def pause_order(
    order_id: FromPath[str], services: NamedDependency[Services], operator: OperatorHeader = None
) -> OrderOut:
    return order_out(await services.pause.pause(_order_id(order_id), operator_name(operator)))


@post("/{order_id:str}/resume", status_code=200, summary="Let a paused order go on")
async def resume_order(
    order_id: FromPath[str], services: NamedDependency[Services], operator: OperatorHeader = None
) -> OrderOut:
    return order_out(await services.pause.resume(_order_id(order_id), operator_name(operator)))


@post(
    "/{part_id:str}/resolve",
    status_code=200,
    summary="Say what became of an execution that nobody knows the fate of",
)
async def resolve_execution(
    part_id: FromPath[str],
    data: JSONBody[ResolveBody],
    services: NamedDependency[Services],
    operator: OperatorHeader = None,
) -> ResolvedOut:
    return resolved_out(await services.resolve(part_id, data.word(operator_name(operator))))


router = Router(
    "/orders",
    route_handlers=[
        accept_order,
        preview_order,
        list_orders,
        get_order,
        get_slices,
        follow_order,
        cancel_order,
        pause_order,
        resume_order,
        resolve_execution,
    ],
    tags=["orders"],
)
