"""The ASGI application."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
from litestar import Litestar
from litestar.datastructures import State

from gapi import openapi
from gapi.auth import Hooks, ServiceToken, Tokens
from gapi.errors import STATUSES, translate
from gapi.gateway import Gateway, GatewayRequest
from gapi.pulse_client import HttpPulseClient, PulseClient
from gapi.routes import HANDLERS
from gapi.settings import Settings
from service_kit import Metrics, RequestRecord, TraceMiddleware, log_request
from service_kit.asgi import Receive, Scope, Send
from service_kit.litestar_kit import exception_handler

BODY_BYTES_MAX = 64 * 1024
# A request that took this long is worth a line, however it ended.
_SLOW_S = 1.0


class GatewayApp:
    """The gateway as an ASGI app.

    Where it is mounted in another app, that one enters `lifespan()`, since a mounted app gets no such events,
    and calls `end_streams()` when it is about to stop: a server waits for open answers before it ends.
    """

    def __init__(self, settings: Settings, pulse: PulseClient, clock: Callable[[], float]) -> None:
        metrics = Metrics("gapi")
        self._gateway = Gateway(
            pulse=pulse,
            tokens=Tokens(settings.jwt_secrets, clock),
            service_token=ServiceToken(settings.service_token),
            hooks=Hooks(settings.hooks),
            metrics=metrics,
            document=msgspec.json.encode(openapi.document()),
            ending=asyncio.Event(),
        )

        @asynccontextmanager
        async def open_client(_: Litestar) -> AsyncIterator[None]:
            await pulse.open()
            try:
                yield
            finally:
                await pulse.close()

        self._litestar = Litestar(
            HANDLERS,
            exception_handlers={Exception: exception_handler(STATUSES, translate)},
            lifespan=[open_client],
            logging_config=None,
            openapi_config=None,  # it would add routes, and pages that load scripts from elsewhere
            request_class=GatewayRequest,
            request_max_body_size=BODY_BYTES_MAX,
            state=State({"gateway": self._gateway}),
        )
        verbose = settings.log_level == "DEBUG"

        def on_request(record: RequestRecord) -> None:
            metrics.observe(record)
            # A line costs as much as the rest of the wrapper. An order that was accepted is counted here and
            # logged by Pulse under the same ids; what was refused, or slow, is known only here.
            if record.status >= 400 or record.duration_s >= _SLOW_S or verbose:
                log_request(record)

        self._app = TraceMiddleware(self._litestar, on_request=on_request)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        async with self._litestar.lifespan():
            yield

    def end_streams(self) -> None:
        self._gateway.ending.set()


def create_app(
    settings: Settings, *, client: PulseClient | None = None, clock: Callable[[], float] = time.time
) -> GatewayApp:
    """Put the gateway together; nothing is opened before its lifespan begins."""
    pulse = client or HttpPulseClient(
        settings.pulse_url,
        settings.service_token,
        timeout_s=settings.pulse_timeout_s,
        connections=settings.pulse_connections,
    )
    return GatewayApp(settings, pulse, clock)
