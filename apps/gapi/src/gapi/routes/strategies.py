"""Strategies: which there are and how they fare; and for admins, what they are to do."""

from litestar import Response, get, post, put
from litestar.params import FromPath, JSONBody

from gapi.answers import Strategies, Strategy
from gapi.auth import Scope
from gapi.gateway import GatewayRequest, needs
from gapi.passing import Passed, passed
from gapi.strategies import StrategyRequest, check_name, strategy_path

_TAGS = ["strategies"]


@get(
    "/api/strategies",
    before_request=needs(Scope.READ),
    tags=_TAGS,
    summary="List strategies, and how they fare",
)
async def list_strategies(request: GatewayRequest) -> Response[Strategies]:
    return await _ask(request, "GET", "/internal/strategies")


@put(
    "/api/strategies/{name:str}",
    before_request=needs(Scope.ADMIN),
    tags=_TAGS,
    summary="Add a strategy, stopped, or change one that is stopped",
)
async def put_strategy(
    name: FromPath[str], data: JSONBody[StrategyRequest], request: GatewayRequest
) -> Response[Strategy]:
    check_name(name)
    return await _ask(request, "PUT", strategy_path(name), await request.body())


@post(
    "/api/strategies/{name:str}/start",
    status_code=200,
    before_request=needs(Scope.ADMIN),
    tags=_TAGS,
    summary="Have a strategy run; one that failed is tried again",
)
async def start_strategy(name: FromPath[str], request: GatewayRequest) -> Response[Strategy]:
    return await _ask(request, "POST", strategy_path(name) + "/start")


@post(
    "/api/strategies/{name:str}/stop",
    status_code=200,
    before_request=needs(Scope.ADMIN),
    tags=_TAGS,
    summary="Have a strategy end; its orders and position stay",
)
async def stop_strategy(name: FromPath[str], request: GatewayRequest) -> Response[Strategy]:
    return await _ask(request, "POST", strategy_path(name) + "/stop")


async def _ask(request: GatewayRequest, method: str, path: str, body: bytes = b"") -> Passed:
    # Here the header says who did it.
    headers = {"X-Client-Id": request.caller.client_id}
    if body:
        headers["Content-Type"] = "application/json"
    return passed(await request.gateway.pulse.request(method, path, headers=headers, body=body))


HANDLERS = [list_strategies, put_strategy, start_strategy, stop_strategy]
