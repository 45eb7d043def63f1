"""What brokers post when an order changes. There is no token: the checksum in it, which Pulse checks, is the
proof."""

from litestar import Response, post

from gapi.answers import Taken
from gapi.gateway import GatewayRequest
from gapi.passing import passed
from service_kit import ServiceError


@post(
    "/api/postbacks/zerodha",
    status_code=200,
    tags=["postbacks"],
    summary="For Zerodha: tell that an order has changed",
)
async def zerodha_postback(request: GatewayRequest) -> Response[Taken]:
    answer = await request.gateway.pulse.request(
        "POST",
        "/internal/postbacks/zerodha",
        headers={"Content-Type": "application/json"},
        body=await request.body(),
    )
    if answer.status == 403:
        # Of a wrong service token Pulse says 401: this is about the sender.
        raise ServiceError("FORBIDDEN", "the checksum is wrong")
    return passed(answer)


HANDLERS = [zerodha_postback]
