"""Positions and the ledger: a client's own, and everybody's for an admin."""

from typing import Annotated
from urllib.parse import urlencode

from litestar import Response, get
from litestar.params import QueryParameter

from gapi.answers import LedgerPage, Positions
from gapi.auth import Scope
from gapi.gateway import GatewayRequest, needs
from gapi.passing import Passed
from gapi.routes.orders import read

_TAGS = ["ledger"]

StrategyTag = Annotated[str | None, QueryParameter(max_length=64, description="Of one strategy only.")]


@get(
    "/api/positions",
    before_request=needs(Scope.READ),
    tags=_TAGS,
    summary="Show positions and their results, by strategy",
)
async def get_positions(
    request: GatewayRequest,
    strategy_tag: StrategyTag = None,
    closed: Annotated[bool, QueryParameter(description="List also what was closed on earlier days.")] = False,
) -> Response[Positions]:
    return await _read(request, "positions", strategy_tag=strategy_tag, closed="true" if closed else None)


@get(
    "/api/ledger",
    before_request=needs(Scope.READ),
    tags=_TAGS,
    summary="List what became of each order at the broker, newest first",
)
async def list_ledger(
    request: GatewayRequest,
    day: Annotated[
        str | None, QueryParameter(max_length=10, description="The trading day on which it was due.")
    ] = None,
    strategy_tag: StrategyTag = None,
    instrument: Annotated[str | None, QueryParameter(max_length=80, description="EXCHANGE:SYMBOL.")] = None,
    status: Annotated[
        str | None, QueryParameter(max_length=16, description="OPEN, TRADED, REJECTED or CANCELLED.")
    ] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=200, description="How many.")] = 50,
    cursor: Annotated[
        str | None, QueryParameter(max_length=256, description="The next_cursor of the page before.")
    ] = None,
) -> Response[LedgerPage]:
    return await _read(
        request,
        "ledger",
        day=day,
        strategy_tag=strategy_tag,
        instrument=instrument,
        status=status,
        limit=str(limit),
        cursor=cursor,
    )


async def _read(request: GatewayRequest, what: str, **query: str | None) -> Passed:
    given = urlencode({name: value for name, value in query.items() if value is not None})
    return await read(request, f"/internal/{what}?{given}" if given else f"/internal/{what}")


HANDLERS = [get_positions, list_ledger]
