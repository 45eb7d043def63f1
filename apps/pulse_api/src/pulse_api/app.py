"""The ASGI application."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import structlog
from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from prometheus_client import Counter

from pulse_api.bootstrap import Ports, Services, limits_of, open_ports, services
from pulse_api.errors import STATUSES, translate
from pulse_api.openapi import describe
from pulse_api.routes import ledger, operations, orders, postbacks, strategies, trading
from pulse_api.settings import Settings
from pulse_domain.errors import PortError
from service_kit import Metrics, RequestRecord, ServiceError, TraceMiddleware, log_request
from service_kit.litestar_kit import StrictRequest, exception_handler

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 64 * 1024
_ASK_AGAIN_S = 1.0

BeforeRequest = Callable[[Request[Any, Any, Any]], Awaitable[None]]
OpenPorts = Callable[[Settings, Metrics], AbstractAsyncContextManager[Ports]]


def create_litestar(settings: Settings, metrics: Metrics, ports: OpenPorts = open_ports) -> Litestar:
    """The framework's app, without the wrapper that `create_app` puts around it."""
    expected = f"Bearer {settings.service_token}".encode()
    refusals = Counter(
        "risk_refusals", "Orders that the risk gate refused, by rule.", ["rule"], registry=metrics.registry
    )

    # Not a guard: Litestar runs those in a thread and copies the route's handler for each request.
    async def require_token(request: Request[Any, Any, Any]) -> None:
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, expected):
            raise ServiceError("UNAUTHORIZED", "a valid service token is required")

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with ports(settings, metrics) as opened:
            app.state.services = services(
                opened,
                limits_of(settings),
                settings.market,
                settings.zerodha_api_secret,
                settings.risk,
                lambda rule: refusals.labels(rule).inc(),
            )
            noticing = asyncio.create_task(_notice_restore(app.state.services), name="notice-restore")
            try:
                yield
            finally:
                noticing.cancel()

    def provide_services(state: State) -> Services:
        made: Services = state.services
        return made

    document = openapi_document()
    return Litestar(
        handlers(require_token),
        dependencies={
            "services": Provide(provide_services, sync_to_thread=False),
            "metrics": Provide(lambda: metrics, sync_to_thread=False),
            "document": Provide(lambda: document, sync_to_thread=False),
        },
        exception_handlers={Exception: exception_handler(STATUSES, translate)},
        lifespan=[lifespan],
        logging_config=None,
        openapi_config=None,  # it would add routes, and pages that load scripts from elsewhere
        request_class=StrictRequest,
        request_max_body_size=BODY_BYTES_MAX,
    )


async def _notice_restore(made: Services) -> None:
    """Ask the store once whether it was restored since the last time; it may not answer yet."""
    while True:
        try:
            if await made.store.notice_restore("pulse_api"):
                log.error("the store is another one than before; trading is halted until it is reconciled")
            return
        except PortError as error:
            log.debug("the store cannot be asked which one it is", error=error.message)
        await made.clock.sleep(_ASK_AGAIN_S)


def handlers(require_token: BeforeRequest) -> list[Any]:
    """Every route; those under /internal behind the service token."""
    internal = Router(
        "/internal",
        route_handlers=[
            orders.router,
            trading.router,
            strategies.router,
            *ledger.HANDLERS,
            postbacks.router,
            operations.hello,
            operations.metrics_page,
        ],
        before_request=require_token,
    )
    return [internal, operations.health, operations.ready, operations.openapi_json]


def openapi_document() -> dict[str, Any]:
    """This API's description; needs no server, no database and no settings."""

    async def nobody(_: Request[Any, Any, Any]) -> None: ...

    config = OpenAPIConfig(
        title="Pulse order API",
        version="1.0.0",
        description="Internal: stores orders exactly once and tells what became of them.",
    )
    injected = {
        name: Provide(lambda: None, sync_to_thread=False) for name in ("services", "metrics", "document")
    }
    return describe(
        Litestar(
            handlers(nobody),
            dependencies=injected,
            request_class=StrictRequest,
            logging_config=None,
            openapi_config=config,
        )
    )


class OrderApi:
    """The app with ids, metrics and access log around it."""

    def __init__(self, settings: Settings, ports: OpenPorts) -> None:
        metrics = Metrics("pulse_api")
        self._litestar = create_litestar(settings, metrics, ports)
        verbose = settings.log_level == "DEBUG"

        def on_request(record: RequestRecord) -> None:
            metrics.observe(record)
            # A line for each accepted order would cost more than storing it; orders carry their ids.
            if verbose or record.status >= 400:
                log_request(record)

        self._app = TraceMiddleware(self._litestar, on_request=on_request)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """What a server does at its start and end; for whoever runs the app without one."""
        async with self._litestar.lifespan():
            yield

    def end_streams(self) -> None:
        """End the open event streams: a server waits for them before it stops."""
        made: Services | None = self._litestar.state.get("services")
        if made is not None:
            made.feed.close()


def create_app(settings: Settings, ports: OpenPorts = open_ports) -> OrderApi:
    """Put the app together; nothing is opened before its lifespan begins."""
    return OrderApi(settings, ports)
