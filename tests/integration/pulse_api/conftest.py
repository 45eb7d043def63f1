"""The order API in memory on a real Postgres."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg
import pytest

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_api.app import OrderApi, create_app
from pulse_api.bootstrap import Ports
from pulse_api.settings import read_settings
from pulse_domain.testing.memory_queue import RecordingQueue
from service_kit.testing import Response, call

TOKEN = "order-api-service-token"


class Api(NamedTuple):
    app: OrderApi
    ports: Ports
    pool: asyncpg.Pool

    async def send(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[Response, Any]:
        """Send as client desk-1 with the service token; a header given as "" is left out."""
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        given = {
            "Authorization": f"Bearer {TOKEN}",
            "X-Client-Id": "desk-1",
            "Content-Type": "application/json",
        } | dict(headers or {})
        answer = await call(self.app, method, path, {k: v for k, v in given.items() if v}, raw)
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return answer, json.loads(answer.body) if answer.body and is_json else None

    async def orders_stored(self) -> int:
        count: int = await self.pool.fetchval("SELECT count(*) FROM orders")
        return count


@pytest.fixture
async def api(database: asyncpg.Pool) -> AsyncIterator[Api]:
    clock = SystemClock()
    store = PostgresOrderStore(Database(database))
    ports = Ports(
        store=store,
        watched=store,
        queue=RecordingQueue(),
        master=VirtualInstrumentMaster(),
        clock=clock,
        ids=RandomIds(clock),
        strategies=PostgresStrategyStore(Database(database)),
        audit=PostgresAuditLog(Database(database)),
        prices=PostgresPriceBoard(Database(database)),
        candles=PostgresCandleStore(Database(database)),
    )

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[Ports]:
        yield ports

    settings = read_settings({"DATABASE_URL": "postgresql://not-used", "PULSE_SERVICE_TOKEN": TOKEN})
    app = create_app(settings, opened)
    async with alive(app):
        yield Api(app, ports, database)


@asynccontextmanager
async def alive(app: OrderApi) -> AsyncIterator[None]:
    """The app's lifespan in a task of its own: it must end in the task in which it began."""
    ready, stop = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            ready.set()
            await stop.wait()

    living = asyncio.create_task(live())
    await ready.wait()
    yield
    stop.set()
    await living
