"""Alerts of TradingView, which sends a body and nothing else: no header, and no signature."""

from hashlib import sha256

from litestar import Response, post
from litestar.params import FromPath

from gapi import tradingview
from gapi.answers import Accepted
from gapi.gateway import GatewayRequest
from gapi.passing import passed_accepted
from gapi.settings import Hook

# TradingView gives up after three seconds and then does not resend; after a 503 it does.
_PULSE_TIMEOUT_S = 2.5

_TAGS = ["webhooks"]


@post(
    "/api/webhooks/tradingview",
    status_code=202,
    tags=_TAGS,
    summary="Send an alert, with the secret in it",
)
async def tradingview_alert(request: GatewayRequest) -> Response[Accepted]:
    body = await request.body()
    alert = tradingview.read(body)
    return await _place(request, request.gateway.hooks.find(alert.secrets), alert, body)


@post(
    "/api/webhooks/tradingview/{token:str}",
    status_code=202,
    tags=_TAGS,
    summary="Send an alert, with the secret in the address",
)
async def tradingview_alert_by_path(token: FromPath[str], request: GatewayRequest) -> Response[Accepted]:
    request.gateway.hooks.find([token])
    body = await request.body()
    alert = tradingview.read(body)
    return await _place(request, request.gateway.hooks.find([token, *alert.secrets]), alert, body)


async def _place(
    request: GatewayRequest, hook: Hook, alert: tradingview.Alert, body: bytes
) -> Response[Accepted]:
    order = tradingview.order(alert, hook.default_split)
    headers = {
        "Content-Type": "application/json",
        "X-Client-Id": hook.client_id,
        "X-Order-Source": "tradingview",
    }
    if not order.has_key:
        # The same body again within half a minute is a resend.
        headers["X-Body-Digest"] = sha256(body).hexdigest()
    answer = await request.gateway.pulse.request(
        "POST", "/internal/orders", headers=headers, body=order.body, timeout_s=_PULSE_TIMEOUT_S
    )
    return passed_accepted(answer)


HANDLERS = [tradingview_alert, tradingview_alert_by_path]
