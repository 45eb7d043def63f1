import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from dramatiq import Message
from dramatiq.brokers.stub import StubBroker

from pulse_adapters.queue.redis_broker import QUEUE_NAME, message
from pulse_background.actors import declare_actors, start_worker
from pulse_background.wakeup import Wakeup
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.sequential_ids import SequentialIds
from service_kit.dramatiq_trace import CarryIds
from tests.unit.workers.floor import running

PATIENCE_S = 10.0


class Listener:
    """What the process's loops heard, and where."""

    def __init__(self) -> None:
        self.heard: list[JobKind] = []
        self.threads: set[int] = set()
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self._news = asyncio.Event()

    def wake(self, kind: JobKind) -> None:
        self.heard.append(kind)
        self.threads.add(threading.get_ident())
        self.loops.add(asyncio.get_running_loop())
        self._news.set()

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while len(self.heard) < count:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@asynccontextmanager
async def consuming(wake: Callable[[JobKind], None]) -> AsyncIterator[StubBroker]:
    """A broker whose messages are worked off by a real worker of this process."""
    broker = StubBroker(middleware=[CarryIds()])
    declare_actors(broker, asyncio.get_running_loop(), wake)
    worker = start_worker(broker)
    try:
        yield broker
    finally:
        await asyncio.to_thread(worker.stop, timeout=5000)
        broker.close()


@pytest.fixture
async def broker(listener: Listener) -> AsyncIterator[StubBroker]:
    async with consuming(listener.wake) as broker:
        yield broker


def hint(kind: str, order_id: str | None = None) -> Message[None]:
    return message(kind, order_id)


@pytest.mark.parametrize("kind", JobKind)
@pytest.mark.parametrize("named", [True, False], ids=["of an order", "of none"])
async def test_a_message_of_each_kind_wakes_its_loop(
    broker: StubBroker, listener: Listener, kind: JobKind, named: bool
) -> None:
    broker.enqueue(hint(kind, SequentialIds().order_id() if named else None))
    await listener.wait_for(1)

    assert listener.heard == [kind]


async def test_loops_are_woken_on_their_own_event_loop(broker: StubBroker, listener: Listener) -> None:
    for kind in JobKind:
        broker.enqueue(hint(kind))
    await listener.wait_for(3)

    assert listener.loops == {asyncio.get_running_loop()}
    assert listener.threads == {threading.get_ident()}


async def test_messages_of_every_kind_side_by_side_all_arrive(broker: StubBroker, listener: Listener) -> None:
    ids = SequentialIds()
    for _ in range(20):
        for kind in JobKind:
            broker.enqueue(hint(kind, ids.order_id()))
    await listener.wait_for(60)

    assert sorted(listener.heard) == sorted([*JobKind] * 20)


async def test_a_doubled_message_wakes_twice(broker: StubBroker, listener: Listener) -> None:
    twice = hint(JobKind.SPLIT_ORDER, SequentialIds().order_id())
    broker.enqueue(twice)
    broker.enqueue(twice)
    await listener.wait_for(2)

    assert listener.heard == [JobKind.SPLIT_ORDER] * 2


async def test_a_message_ends_a_loops_wait() -> None:
    wakeup = Wakeup(FakeClock())
    async with consuming(lambda kind: wakeup.call()) as broker, running(wakeup.wait(3600)) as waiting:
        broker.enqueue(hint(JobKind.CANCEL_ORDER))

        async with asyncio.timeout(PATIENCE_S):
            await waiting


async def test_a_message_that_no_actor_knows_harms_no_other(broker: StubBroker, listener: Listener) -> None:
    broker.enqueue(hint("of_a_newer_version"))
    broker.enqueue(hint(JobKind.RECONCILE))
    await listener.wait_for(1)

    assert listener.heard == [JobKind.RECONCILE]


async def test_a_message_with_too_much_in_it_harms_no_other(broker: StubBroker, listener: Listener) -> None:
    broker.enqueue(hint(JobKind.RECONCILE).copy(args=("ord_1", "of a newer version")))
    broker.enqueue(hint(JobKind.RECONCILE))
    await listener.wait_for(1)

    assert listener.heard == [JobKind.RECONCILE]


async def test_the_actors_listen_to_the_queue_that_services_send_to(broker: StubBroker) -> None:
    assert {actor.queue_name for actor in broker.actors.values()} == {QUEUE_NAME}
    assert set(broker.actors) == {kind.value for kind in JobKind}
