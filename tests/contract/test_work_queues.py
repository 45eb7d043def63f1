"""The work queues keep their port's contract, and what travels by Redis carries the ids of its sender."""

import asyncio
from collections.abc import AsyncIterator, Callable

import dramatiq
import pytest
import pytest_asyncio
from dramatiq.brokers.redis import RedisBroker

from pulse_adapters.queue.dramatiq import DramatiqQueue
from pulse_adapters.queue.memory import InProcessQueue
from pulse_adapters.queue.redis_broker import QUEUE_NAME, redis_broker
from pulse_domain.orders.ids import OrderId
from pulse_domain.ports.work_queue import Job, JobKind
from pulse_domain.testing.contracts.work_queue import Received, WorkQueueContract
from pulse_domain.testing.sequential_ids import SequentialIds
from service_kit import Ids, bind
from service_kit.dramatiq_trace import CarryIds

Messages = Callable[[], list[dramatiq.Message[None]]]


class TestInProcessQueue(WorkQueueContract):
    @pytest.fixture
    def jobs(self) -> list[Job]:
        return []

    @pytest.fixture
    def queue(self, jobs: list[Job]) -> InProcessQueue:
        queue = InProcessQueue()
        for kind in JobKind:
            queue.listen(kind, jobs.append)
        return queue

    @pytest.fixture
    def received(self, jobs: list[Job]) -> Received:
        async def so_far() -> list[Job]:
            return jobs

        return so_far


def test_a_job_in_process_reaches_everyone_who_listens_to_its_kind_and_nobody_else() -> None:
    queue = InProcessQueue()
    one, other, elsewhere = list[Job](), list[Job](), list[Job]()
    queue.listen(JobKind.SPLIT_ORDER, one.append)
    queue.listen(JobKind.SPLIT_ORDER, other.append)
    queue.listen(JobKind.RECONCILE, elsewhere.append)
    job = Job(JobKind.SPLIT_ORDER, SequentialIds().order_id())

    queue.enqueue(job)
    queue.enqueue(Job(JobKind.CANCEL_ORDER))

    assert (one, other, elsewhere) == ([job], [job], [])


async def test_a_closed_queue_in_process_tells_nobody() -> None:
    queue = InProcessQueue()
    heard: list[Job] = []
    queue.listen(JobKind.RECONCILE, heard.append)

    await queue.close()
    queue.enqueue(Job(JobKind.RECONCILE))

    assert heard == []


@pytest.fixture
def broker(redis_url: str) -> RedisBroker:
    broker = redis_broker(redis_url, CarryIds())
    broker.flush(QUEUE_NAME)
    return broker


@pytest.fixture
def messages(broker: RedisBroker) -> Messages:
    """Take what has arrived in Redis."""

    def take() -> list[dramatiq.Message[None]]:
        consumer = broker.consume(QUEUE_NAME, prefetch=100, timeout=10)
        taken: list[dramatiq.Message[None]] = []
        while (proxy := next(consumer)) is not None:
            taken.append(proxy._message)
            consumer.ack(proxy)
        consumer.close()
        return taken

    return take


@pytest_asyncio.fixture
async def queue(broker: RedisBroker) -> AsyncIterator[DramatiqQueue]:
    queue = DramatiqQueue(broker)
    yield queue
    await queue.close()


class TestDramatiqQueue(WorkQueueContract):
    @pytest.fixture
    def queue(self, queue: DramatiqQueue) -> DramatiqQueue:
        return queue

    @pytest.fixture
    def received(self, messages: Messages) -> Received:
        async def jobs() -> list[Job]:
            taken = await asyncio.to_thread(messages)
            return [Job(JobKind(it.actor_name), OrderId(it.args[0]) if it.args else None) for it in taken]

        return jobs


async def test_a_message_carries_the_ids_of_the_request_that_sent_it(
    queue: DramatiqQueue, messages: Messages
) -> None:
    with bind(Ids("req-1", "trace-1")):
        queue.enqueue(Job(JobKind.SPLIT_ORDER, SequentialIds().order_id()))
    with bind(Ids("req-2", "trace-2")):
        queue.enqueue(Job(JobKind.CANCEL_ORDER, SequentialIds().order_id()))
    await queue.close()

    arrived = {
        it.actor_name: (it.options["request_id"], it.options["trace_id"])
        for it in await asyncio.to_thread(messages)
    }
    assert arrived == {
        JobKind.SPLIT_ORDER: ("req-1", "trace-1"),
        JobKind.CANCEL_ORDER: ("req-2", "trace-2"),
    }


async def test_hints_of_one_kind_that_come_together_travel_as_the_last_of_them(
    queue: DramatiqQueue, messages: Messages
) -> None:
    ids = SequentialIds()
    sent = [ids.order_id() for _ in range(100)]
    for number, order_id in enumerate(sent):
        with bind(Ids(f"req-{number}", f"trace-{number}")):
            queue.enqueue(Job(JobKind.SPLIT_ORDER, order_id))
    await queue.close()

    arrived = await asyncio.to_thread(messages)
    assert len(arrived) < 100
    assert (arrived[-1].args, arrived[-1].options["request_id"]) == ((sent[-1],), "req-99")


async def test_a_message_sent_outside_of_any_request_has_ids_too(
    queue: DramatiqQueue, messages: Messages
) -> None:
    queue.enqueue(Job(JobKind.RECONCILE))
    await queue.close()

    [arrived] = await asyncio.to_thread(messages)
    assert arrived.options["request_id"].startswith("req_")
    assert arrived.options["trace_id"]
