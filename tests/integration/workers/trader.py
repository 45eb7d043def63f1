"""Background processes at a simulated broker, and what a trader sees and does beside them."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_background.background import Background
from pulse_background.bootstrap import open_ports
from pulse_background.settings import Settings, read_settings
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import OrderType, Product
from pulse_domain.orders.status import ExecutionStatus
from pulse_domain.orders.summary import OrderSummary
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.testing.factories import TAG_PREFIX, new_order
from service_kit import Metrics
from tests.integration.workers.faces import INFY, Face

PRICE = Decimal(1500)
AWAY = Decimal(1400)  # a buyer's limit that rests
_PATIENCE_S = 120.0


class Trader:
    """The store, the broker's session and the workers of one test."""

    def __init__(self, face: Face, database: asyncpg.Pool, settings: Settings) -> None:
        self.face = face
        self.settings = settings
        self.store = PostgresOrderStore(Database(database))
        self._sessions = PostgresSessions(Database(database))
        self._database = database
        self._clock = SystemClock()
        self._workers: list[Background] = []

    async def prepare(self) -> None:
        """Do what comes before the first order of a day."""
        await self.face.list_instruments(Database(self._database))
        await self.log_in()

    async def log_in(self) -> None:
        await self.face.log_in(self._sessions)

    @asynccontextmanager
    async def working(self, processes: int = 1) -> AsyncIterator[None]:
        """Background processes until the block is left; then all that was in the air is on record."""
        stop = asyncio.Event()
        async with AsyncExitStack() as stack:
            for number in range(processes):
                ports = await stack.enter_async_context(open_ports(self.settings, Metrics(f"test{number}")))
                self._workers.append(Background(ports, self.settings))
            running = [asyncio.create_task(worker.run(stop)) for worker in self._workers]
            try:
                yield
            finally:
                stop.set()
                await asyncio.gather(*running)
                self._workers.clear()

    def wake(self, kind: JobKind) -> None:
        """A hint reaches one of the processes."""
        if self._workers:
            self._workers[0].wake(kind)

    async def order(self, **over: Any) -> OrderId:
        """Buy ten INFY at once, with a limit that is the market's price and fills."""
        fields: dict[str, Any] = {
            "instrument": INFY,
            "total_quantity": 10,
            "order_type": OrderType.LIMIT,
            "limit_price": PRICE,
            "product": Product.CNC,
        }
        accepted = await self.store.accept(new_order(RandomIds(self._clock), **fields | over))
        self.wake(JobKind.SPLIT_ORDER)
        return accepted.order_id

    async def cancel(self, order_id: OrderId) -> None:
        await self.store.request_cancel(order_id, "a trader")
        self.wake(JobKind.CANCEL_ORDER)

    async def summary(self, order_id: OrderId) -> OrderSummary:
        view = await self.store.get(order_id)
        assert view is not None
        return view.summary

    async def executions(self, order_ids: Sequence[OrderId]) -> list[Execution]:
        slices = [each for order_id in order_ids for each in await self.store.slices(order_id)]
        return [execution for each in slices for execution in each.executions]

    async def are_done(self, order_ids: Sequence[OrderId]) -> bool:
        for order_id in order_ids:
            if not (await self.summary(order_id)).done:
                return False
        return True

    async def are_open(self, order_ids: Sequence[OrderId]) -> bool:
        """Whether each rests at the broker."""
        executions = await self.executions(order_ids)
        return [each.status for each in executions] == [ExecutionStatus.OPEN] * len(order_ids)

    async def failed_calls(self, order_ids: Sequence[OrderId]) -> set[str]:
        """The codes of those calls at the broker that did not plainly succeed."""
        rows = await self._database.fetch(
            "SELECT error FROM broker_events WHERE order_id = ANY($1)", list(order_ids)
        )
        return {row["error"].partition(":")[0] for row in rows if row["error"] is not None}

    async def placements(self, order_ids: Sequence[OrderId]) -> Counter[str]:
        """How often each tag was sent, as it is on record."""
        rows = await self._database.fetch(
            "SELECT request->>'tag' AS tag FROM broker_events WHERE order_id = ANY($1) AND operation = 'place'",
            list(order_ids),
        )
        return Counter(row["tag"] for row in rows)


def settings_for(face: Face, dsn: str, more: Mapping[str, str]) -> Settings:
    return read_settings(
        {
            "DATABASE_URL": dsn,
            "TAG_PREFIX": TAG_PREFIX,
            **face.environ(),
            **more,
        }
    )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.05)
