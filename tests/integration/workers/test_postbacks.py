"""A postback from the broker to the booked fill: gateway, order API, Redis and a worker, over real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import structlog

import gapi.app
import gapi.settings
import pulse_api.app
import pulse_api.settings
from pulse_adapters.clock import SystemClock
from pulse_adapters.queue.redis_broker import QUEUE_NAME, redis_broker
from pulse_adapters.simulator.kite.serve import KiteSimulator
from pulse_adapters.simulator.values import Status
from pulse_background.actors import declare_actors, start_worker
from pulse_background.settings import Settings, read_settings
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import OrderType
from pulse_domain.orders.status import OrderState
from service_kit.dramatiq_trace import CarryIds
from service_kit.server import InnerServer, config
from tests.integration.workers.test_background_at_zerodha import INFY, Desk, until, working
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.zerodha.make import API_KEY, API_SECRET, PLANTED, SECRETS
from tests.unit.zerodha.simulated_kite import simulated_kite

TOKEN = "planted-service-token"


def listening() -> tuple[socket.socket, str]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def served(
    app: Callable[..., Any], listener: socket.socket, end_streams: Callable[[], None]
) -> AsyncIterator[None]:
    server = InnerServer(config(app, graceful_s=1), end_streams)
    serving = await server.start(listener)
    assert not serving.done()
    try:
        yield
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def hinted(desk: Desk, redis_url: str) -> AsyncIterator[None]:
    """Whoever works at the desk hears what comes over Redis."""
    broker = redis_broker(redis_url, CarryIds())
    broker.flush(QUEUE_NAME)  # what earlier tests have left
    declare_actors(broker, asyncio.get_running_loop(), lambda kind: desk.wake(kind))
    worker = start_worker(broker)
    try:
        yield
    finally:
        await asyncio.to_thread(worker.stop, timeout=5000)


def worker_settings(dsn: str, exchange: str) -> Settings:
    return read_settings(
        {
            "DATABASE_URL": dsn,
            "BROKER_TYPE": "zerodha",
            "ZERODHA_API_KEY": API_KEY,
            "ZERODHA_API_SECRET": API_SECRET,
            "ZERODHA_BASE_URL": exchange,
            # Pushed updates are lost, and the book is hardly ever read by itself.
            "ZERODHA_TICKER_URL": "ws://127.0.0.1:9",
            "BROKER_SYNC_INTERVAL_SECONDS": "86400",
            "BROKER_SESSION_SECRETS": SECRETS[0],
            "SLICE_EXECUTOR_POLL_INTERVAL_SECONDS": "0.1",
            "TAG_PREFIX": "T1",
        }
    )


async def test_a_fill_is_booked_by_its_postback_alone(
    database: asyncpg.Pool, migrated_dsn: str, redis_url: str, tmp_path: Path
) -> None:
    market = FixedMarket(SystemClock())
    market.set(INFY, Decimal(1500))
    (api_at, api_url), (gateway_at, gateway_url) = listening(), listening()
    order_api = pulse_api.app.create_app(
        pulse_api.settings.read_settings(
            {
                "DATABASE_URL": migrated_dsn,
                "REDIS_URL": redis_url,
                "PULSE_SERVICE_TOKEN": TOKEN,
                "BROKER_TYPE": "zerodha",
                "ZERODHA_API_SECRET": API_SECRET,
            }
        )
    )
    gateway = gapi.app.create_app(
        gapi.settings.Settings.from_environ(
            {"PULSE_URL": api_url, "PULSE_SERVICE_TOKEN": TOKEN, "GAPI_JWT_SECRETS": "planted" * 6}
        )
    )
    with structlog.testing.capture_logs() as logs:
        async with AsyncExitStack() as stack:
            postback_url = f"{gateway_url}/api/postbacks/zerodha"
            simulator = await stack.enter_async_context(
                simulated_kite(tmp_path, market, postback_url=postback_url)
            )
            await stack.enter_async_context(served(order_api, api_at, order_api.end_streams))
            await stack.enter_async_context(served(gateway, gateway_at, gateway.end_streams))
            settings = worker_settings(migrated_dsn, simulator.url)
            desk = Desk(database, settings, simulator)
            await desk.log_in()
            await stack.enter_async_context(working(settings, desk))
            await stack.enter_async_context(hinted(desk, redis_url))

            order_id = await resting(desk, simulator)
            market.set(INFY, Decimal(1400))
            await desk.filled(order_id)

    [record] = simulator.desk.venue.records.values()
    [fill] = await database.fetch("SELECT quantity, price FROM fills WHERE order_id = $1", order_id)
    assert (fill["quantity"], fill["price"]) == (10, record.average_price)
    for secret in (*PLANTED, TOKEN):
        assert secret not in str(logs)


async def resting(desk: Desk, simulator: KiteSimulator) -> OrderId:
    """An order that waits at the broker for its price, and is known to."""
    order_id = await desk.order(order_type=OrderType.LIMIT, limit_price=Decimal(1450))

    async def is_resting() -> bool:
        records = simulator.desk.venue.records.values()
        at_broker = [record.status for record in records] == [Status.OPEN]
        return at_broker and await desk.state(order_id) is OrderState.WORKING

    await until(is_resting)
    return order_id
