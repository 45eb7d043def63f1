"""Two workers on one Postgres and one Redis keep one broker's limits, through a restart of Redis."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import asyncpg

from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded.redis import EmbeddedRedis
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_background.background import Background, BackgroundPorts
from pulse_background.scheduler import Leadership, SoleProcess
from pulse_background.settings import Settings
from pulse_background.traffic import create_limiter
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.ports.broker import OrderTicket
from pulse_domain.testing.factories import TAG_PREFIX, split_order
from pulse_domain.testing.scripted_broker import ScriptedBroker

SLICES, LIMIT = 40, 8


class TimedBroker(ScriptedBroker):
    def __init__(self, clock: SystemClock) -> None:
        super().__init__(clock)
        self.placed_at: list[float] = []

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        self.placed_at.append(time.monotonic())
        return await super().place(ticket, timeout_s=timeout_s)


class NobodysLead:
    async def hold(self) -> bool:
        return False

    async def release(self) -> None:
        pass


async def test_two_workers_place_a_crowd_within_the_limit_though_redis_restarts(
    database: asyncpg.Pool, own_redis: EmbeddedRedis
) -> None:
    clock = SystemClock()
    ids, broker = RandomIds(clock), TimedBroker(clock)
    store = PostgresOrderStore(Database(database))
    await split_order(store, ids, [[10]] * SLICES)
    given: dict[str, Any] = {"database_url": "postgresql://unused", "tag_prefix": TAG_PREFIX}
    settings = Settings(**given, redis_url=own_redis.url, broker_orders_per_second=LIMIT)
    stop = asyncio.Event()
    leads: list[Leadership] = [SoleProcess(), NobodysLead()]
    async with AsyncExitStack() as stack:
        for lead in leads:
            name = ids.executor_id()
            limiter = create_limiter(settings, store, clock, name)
            stack.push_async_callback(limiter.close)
            ports = BackgroundPorts(
                store=PostgresOrderStore(Database(database)),
                broker=broker,
                clock=clock,
                leadership=lead,
                presence=SoleProcess(),
                executor_id=name,
                limiter=limiter,
            )
            work = asyncio.create_task(Background(ports, settings).run(stop))
            stack.push_async_callback(asyncio.wait, {work})
        stack.callback(stop.set)
        async with asyncio.timeout(40):
            await until(broker, SLICES // 2)
            await asyncio.to_thread(own_redis.restart)
            await until(broker, SLICES)

    assert Counter(ticket.tag for ticket in broker.sent).most_common(1)[0][1] == 1
    assert len(broker.sent) == SLICES
    for start in broker.placed_at:
        assert sum(start <= at < start + 1.0 for at in broker.placed_at) <= LIMIT
    assert await database.fetchval("SELECT count(*) FROM broker_events WHERE operation = 'place'") == SLICES
    assert await database.fetchval("SELECT count(DISTINCT executor) FROM order_ledger") == 2


async def until(broker: TimedBroker, count: int) -> None:
    while len(broker.sent) < count:  # noqa: ASYNC110  # what is waited for has no event
        await asyncio.sleep(0.01)
