"""Stop all trading, and go on."""

from litestar import Response, post
from litestar.params import JSONBody

from gapi.answers import TradingState
from gapi.auth import Scope
from gapi.gateway import GatewayRequest, needs
from gapi.orders import TradingCommand
from gapi.passing import passed

_TAGS = ["trading"]


@post(
    "/api/trading/halt",
    status_code=200,
    before_request=needs(Scope.ADMIN),
    tags=_TAGS,
    summary="Place nothing more",
)
async def halt(data: JSONBody[TradingCommand], request: GatewayRequest) -> Response[TradingState]:
    return await _command(request, "/internal/trading/halt")


@post(
    "/api/trading/resume",
    status_code=200,
    before_request=needs(Scope.ADMIN),
    tags=_TAGS,
    summary="Place orders again",
)
async def resume(data: JSONBody[TradingCommand], request: GatewayRequest) -> Response[TradingState]:
    return await _command(request, "/internal/trading/resume")


async def _command(request: GatewayRequest, path: str) -> Response[TradingState]:
    # Here the header says who did it.
    headers = {"Content-Type": "application/json", "X-Client-Id": request.caller.client_id}
    body = await request.body()
    return passed(await request.gateway.pulse.request("POST", path, headers=headers, body=body))


HANDLERS = [halt, resume]
