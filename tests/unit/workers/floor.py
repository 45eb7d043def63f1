"""What the loops are tried on: a desk whose store and broker can be held up, and simulated time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pulse_domain.errors import StorageUnavailable
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import BrokerOrderId, OrderId
from pulse_domain.orders.status import OrderQueueStatus, Phase
from pulse_domain.ports.broker import OrderTicket
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import Booking, OrderView
from pulse_domain.testing.factories import TAG_PREFIX, new_order, split_order
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.scripted_broker import ScriptedBroker
from pulse_domain.testing.sequential_ids import SequentialIds
from pulse_domain.use_cases.book_facts import BookFacts
from pulse_domain.use_cases.cancel import CancelExecutions
from pulse_domain.use_cases.reconcile import Reconcile, ReconcileSettings
from pulse_domain.use_cases.record_outcome import RecordOutcomes
from service_kit import Ids, current

_STEPS = (
    "accept", "claim_orders", "save_split", "fail_split", "recover_splits", "next_due", "claim_executions",
    "book", "in_flight", "select", "find_by_tags", "broker_order_ids", "forget_sightings", "notice_restore",
    "halt_for_reconcile", "note_findings", "archive",
)  # fmt: skip


class ShakyStore(InMemoryOrderStore):
    """The store in memory, behind a line that a test can cut, hold up or let fail.

    away: no step is answered, and none has an effect.
    asked: how often each step was asked for, answered or not.
    batches: what each `book` was given.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.away = False
        self.asked: Counter[str] = Counter()
        self.batches: list[list[Booking]] = []
        self._failures: dict[str, list[Exception]] = {}
        self._lost: set[str] = set()
        self._held: dict[str, asyncio.Event] = {}
        self._answers_held: dict[str, asyncio.Event] = {}

    def fail(self, step: str, error: Exception | None = None, *, times: int = 1) -> None:
        """Let the next calls of a step fail without an effect."""
        self._failures.setdefault(step, []).extend([error or StorageUnavailable()] * times)

    def lose_answer(self, step: str) -> None:
        """Let the next call of a step take effect and lose its answer."""
        self._lost.add(step)

    def hold(self, step: str) -> asyncio.Event:
        """Keep calls of a step waiting, before they have an effect, until the event is set."""
        self._held[step] = asyncio.Event()
        return self._held[step]

    def hold_answer(self, step: str) -> asyncio.Event:
        """Let calls of a step take effect, and keep their answers until the event is set."""
        self._answers_held[step] = asyncio.Event()
        return self._answers_held[step]

    async def pass_line(self, step: str) -> None:
        self.asked[step] += 1
        if step in self._held:
            await self._held[step].wait()
        if self._failures.get(step):
            raise self._failures[step].pop(0)
        if self.away:
            raise StorageUnavailable()

    async def answer(self, step: str) -> None:
        if step in self._answers_held:
            await self._answers_held[step].wait()
        if step in self._lost:
            self._lost.remove(step)
            raise StorageUnavailable()


def _behind_the_line(step: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    method = getattr(InMemoryOrderStore, step)

    async def call(self: ShakyStore, *args: Any, **kwargs: Any) -> Any:
        if step == "book":
            self.batches.append(list(args[0]))
        await self.pass_line(step)
        result = await method(self, *args, **kwargs)
        await self.answer(step)
        return result

    return call


for _step in _STEPS:
    setattr(ShakyStore, _step, _behind_the_line(_step))


class SlowBroker(ScriptedBroker):
    """Keeps calls of `place` in the air for as long as a test wants.

    air: the tags of the calls that are on their way.
    ids: those that the calls ran under.
    fault: raised by the next `place`: a mistake of ours, of a kind that no port announces.
    fault_when_sent: whether it comes after the order has left the house.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.air: list[str] = []
        self.ids: list[Ids | None] = []
        self.fault: Exception | None = None
        self.fault_when_sent = False
        self._slots: asyncio.Semaphore | None = None

    def hold(self) -> None:
        self._slots = asyncio.Semaphore(0)

    def let_go(self, calls: int = 1000) -> None:
        """Let some of the held calls, or of those to come, go on."""
        assert self._slots is not None, "nothing is held"
        for _ in range(calls):
            self._slots.release()

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        fault, self.fault = self.fault, None
        if fault is not None:
            if self.fault_when_sent:
                await super().place(ticket, timeout_s=timeout_s)
            raise fault
        self.air.append(ticket.tag)
        self.ids.append(current())
        try:
            if self._slots is not None:
                await self._slots.acquire()
            return await super().place(ticket, timeout_s=timeout_s)
        finally:
            self.air.remove(ticket.tag)


class Floor:
    """The loops' surroundings in memory: store, broker, time, and the use cases on them.

    cancels_due: how often an outcome was recorded whose execution is to be cancelled.
    """

    def __init__(self, store: type[ShakyStore] = ShakyStore) -> None:
        self.clock = FakeClock()
        self.store = store(self.clock)
        self.broker = SlowBroker(self.clock)
        self.ids = SequentialIds()
        self.cancel = CancelExecutions(self.store, self.broker, self.clock)
        self.cancels_due = 0
        self.record = RecordOutcomes(self.store, self._cancel_due)
        self.facts = BookFacts(self.store, self.broker, TAG_PREFIX)
        self.reconcile = Reconcile(self.store, self.broker, self.facts, self.clock, ReconcileSettings())

    def _cancel_due(self) -> None:
        self.cancels_due += 1

    async def accept(self, **over: Any) -> OrderId:
        """An order that waits to be split."""
        return (await InMemoryOrderStore.accept(self.store, new_order(self.ids, **over))).order_id

    async def order(self, *quantities: int, due_in_s: float | Sequence[float] = 0.0, **over: Any) -> OrderId:
        """An order with one execution per quantity, by default one of 100; no other may wait to be split."""
        rows = [[quantity] for quantity in quantities or (100,)]
        return (await split_order(self.store, self.ids, rows, due_in_s=due_in_s, **over)).order_id

    async def crowd(self, count: int, **over: Any) -> list[OrderId]:
        """So many orders of one execution each."""
        return [await self.order(10, **over) for _ in range(count)]

    async def ask_for_cancel(self, order_id: OrderId) -> None:
        """Note the wish, on a line that always holds."""
        await InMemoryOrderStore.request_cancel(self.store, order_id, "desk-1")

    async def queue_status(self, order_id: OrderId) -> OrderQueueStatus:
        return (await self.view(order_id)).order.queue_status

    async def view(self, order_id: OrderId) -> OrderView:
        view = await InMemoryOrderStore.get(self.store, order_id)
        assert view is not None
        return view

    async def executions(self, order_id: OrderId) -> list[Execution]:
        return [e for part in await InMemoryOrderStore.slices(self.store, order_id) for e in part.executions]

    async def execution(self, order_id: OrderId) -> Execution:
        [execution] = await self.executions(order_id)
        return execution

    async def phases(self, *order_ids: OrderId) -> list[Phase]:
        return [e.phase for order_id in order_ids for e in await self.executions(order_id)]


@asynccontextmanager
async def left_tidy() -> AsyncIterator[None]:
    """End the tasks that were begun inside the block: calls that a test has left in the air."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


@asynccontextmanager
async def faults_unseen() -> AsyncIterator[None]:
    """Keep quiet about what tasks of this block die of without anybody taking notice."""
    loop = asyncio.get_running_loop()
    begun: list[asyncio.Task[Any]] = []

    def begin(loop: asyncio.AbstractEventLoop, work: Any, **kwargs: Any) -> Any:
        begun.append(asyncio.Task(work, loop=loop, **kwargs))
        return begun[-1]

    loop.set_task_factory(begin)
    try:
        yield
    finally:
        loop.set_task_factory(None)
        for task in begun:
            if task.done() and not task.cancelled():
                task.exception()


@asynccontextmanager
async def running(work: Coroutine[Any, Any, Any]) -> AsyncIterator["asyncio.Task[Any]"]:
    """Run a loop beside the test, and end it with the block."""
    task = asyncio.create_task(work)
    await settle()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool | Awaitable[bool]], clock: FakeClock | None = None) -> None:
    """Give the tasks their turns until a condition holds; with a clock, let time pass as well."""
    for _ in range(500):
        holds = condition()
        if isinstance(holds, Awaitable):
            holds = await holds
        if holds:
            return
        if clock is None:
            await settle()
        else:
            await clock.advance(0.25)
    raise AssertionError("it did not come about")


class Broken(Exception):
    """A mistake of ours, which no loop may outlive."""
