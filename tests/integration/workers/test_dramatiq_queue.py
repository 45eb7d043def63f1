"""Hints on a Redis that goes away, comes back empty, or loses everything in between."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import redis
from dramatiq.brokers.redis import RedisBroker

from pulse_adapters.embedded import EmbeddedRedis
from pulse_adapters.queue.dramatiq import DramatiqQueue
from pulse_adapters.queue.redis_broker import QUEUE_NAME, redis_broker
from pulse_background.actors import declare_actors, start_worker
from pulse_domain.ports.work_queue import Job, JobKind
from pulse_domain.testing.sequential_ids import SequentialIds
from service_kit import Ids, bind, current
from service_kit.dramatiq_trace import CarryIds

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis.start() as running:
        yield running


class Line:
    """The queue of a service, the actors of a worker, and Redis between them."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.heard: list[JobKind] = []
        self.drops = 0
        self._counting = threading.Lock()
        self._ids = SequentialIds()
        self.queue = DramatiqQueue(redis_broker(server.url, CarryIds()), on_drop=self._count)

    def _count(self, count: int) -> None:
        with self._counting:
            self.drops += count

    def hint(self, kind: JobKind = JobKind.SPLIT_ORDER) -> None:
        self.queue.enqueue(Job(kind, self._ids.order_id()))

    async def hint_until_heard(self) -> None:
        """Go on giving hints, as orders go on coming, until one gets through."""
        before = len(self.heard)

        def arrives() -> bool:
            self.hint()
            return len(self.heard) > before

        await until(arrives)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.02)


def empty_broker(server: EmbeddedRedis) -> RedisBroker:
    """A worker's broker, without what earlier tests have left in the queue."""
    broker = redis_broker(server.url, CarryIds())
    broker.flush(QUEUE_NAME)
    return broker


@asynccontextmanager
async def connected(server: EmbeddedRedis) -> AsyncIterator[Line]:
    line = Line(server)
    broker = empty_broker(server)
    declare_actors(broker, asyncio.get_running_loop(), line.heard.append)
    worker = start_worker(broker)
    try:
        yield line
    finally:
        await line.queue.close()
        await asyncio.to_thread(worker.stop, timeout=5000)


@pytest.fixture
async def line(server: EmbeddedRedis) -> AsyncIterator[Line]:
    async with connected(server) as line:
        yield line


async def test_a_hint_of_each_kind_wakes_the_worker(line: Line) -> None:
    for kind in JobKind:
        line.hint(kind)
    await until(lambda: len(line.heard) >= 3)

    assert sorted(line.heard) == sorted(JobKind)
    assert line.drops == 0


async def test_while_redis_is_away_hints_are_dropped_and_counted_and_nobody_waits(
    server: EmbeddedRedis, line: Line
) -> None:
    server.halt()
    try:
        for _ in range(1000):
            line.hint()
        await until(lambda: line.drops > 0)
        # The sender has found out; the next hints are taken as readily.
        line.hint(JobKind.CANCEL_ORDER)
    finally:
        server.resume()

    assert line.heard == []


async def test_hints_arrive_again_once_redis_is_back(server: EmbeddedRedis, line: Line) -> None:
    await line.hint_until_heard()
    server.halt()
    try:
        line.hint()
        await until(lambda: line.drops > 0)
    finally:
        server.resume()

    await line.hint_until_heard()


async def test_a_service_that_starts_without_redis_sends_once_it_is_there(server: EmbeddedRedis) -> None:
    server.halt()
    try:
        line = Line(server)
        line.hint()
        await until(lambda: line.drops > 0)
        await line.queue.close()
    finally:
        server.resume()

    async with connected(server) as line:
        await line.hint_until_heard()


async def test_closing_without_redis_ends(server: EmbeddedRedis) -> None:
    server.halt()
    try:
        line = Line(server)
        line.hint()
        async with asyncio.timeout(PATIENCE_S):
            await line.queue.close()
    finally:
        server.resume()


async def test_a_redis_that_lost_everything_harms_nobody(server: EmbeddedRedis, line: Line) -> None:
    await line.hint_until_heard()
    with redis.Redis.from_url(server.url) as client:
        for _ in range(20):
            line.hint()
            client.flushall()

    await line.hint_until_heard()
    assert line.drops == 0


async def test_a_redis_that_starts_anew_harms_nobody(server: EmbeddedRedis, line: Line) -> None:
    await line.hint_until_heard()
    server.restart()

    await line.hint_until_heard()


async def test_ids_travel_from_the_request_to_the_worker(server: EmbeddedRedis) -> None:
    seen: list[Ids | None] = []
    broker = empty_broker(server)
    queue = DramatiqQueue(redis_broker(server.url, CarryIds()))

    class Nosy:
        """A loop whose hand-over notes the ids that the actor runs under."""

        def call_soon_threadsafe(self, *call: object) -> None:
            seen.append(current())

    declare_actors(broker, Nosy(), lambda kind: None)  # type: ignore[arg-type]
    worker = start_worker(broker)
    try:
        with bind(Ids("req-1", "trace-1")):
            queue.enqueue(Job(JobKind.CANCEL_ORDER, SequentialIds().order_id()))
        await until(lambda: bool(seen))
    finally:
        await queue.close()
        await asyncio.to_thread(worker.stop, timeout=5000)

    assert seen == [Ids("req-1", "trace-1")]
