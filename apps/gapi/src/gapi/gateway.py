"""What the handlers share, the request that carries it to them, and the checks that run before them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from gapi.auth import Client, Hooks, Scope, ServiceToken, Tokens
from gapi.pulse_client import PulseClient
from service_kit import Metrics
from service_kit.litestar_kit import StrictRequest


class Gateway(Struct, frozen=True, kw_only=True):
    """document: this API as OpenAPI. ending: set when the process is about to stop, to end the streams."""

    pulse: PulseClient
    tokens: Tokens
    service_token: ServiceToken
    hooks: Hooks
    metrics: Metrics
    document: bytes
    ending: asyncio.Event


class GatewayRequest(StrictRequest):
    @property
    def gateway(self) -> Gateway:
        gateway: Gateway = self.app.state.gateway
        return gateway

    @property
    def caller(self) -> Client:
        """The client whose token `needs` has checked."""
        caller: Client = self.scope["user"]
        return caller


# Litestar's guards would say the same, but it copies the whole route handler for each of them, on each request.
# The argument is Any because Litestar's hook has to take any kind of request.
Check = Callable[[Any], Awaitable[None]]


def needs(scope: Scope) -> Check:
    """Make the `before_request` of a route for clients with `scope`; it runs before the body is read."""

    async def check(request: GatewayRequest) -> None:
        caller = request.gateway.tokens.client(request.headers.get("authorization"))
        caller.require(scope)
        request.scope["user"] = caller

    return check


async def needs_service_token(request: Any) -> None:
    gateway: Gateway = request.gateway
    gateway.service_token.check(request.headers.get("authorization"))
