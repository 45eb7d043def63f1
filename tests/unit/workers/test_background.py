"""All loops of a process together, on the doubles and in simulated time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_background.background import Background, BackgroundPorts
from pulse_background.scheduler import Leadership, SoleProcess
from pulse_background.settings import Settings
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import OrderType, SplitConfig
from pulse_domain.orders.status import ExecutionStatus, OrderQueueStatus, OrderState, Phase
from pulse_domain.ports.notifier import NotificationKind
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.testing.factories import TAG_PREFIX, order_request
from pulse_domain.testing.fake_clock import settle
from pulse_domain.testing.memory_notifier import RecordingNotifier
from pulse_domain.testing.memory_queue import RecordingQueue
from pulse_domain.testing.scripted_broker import Partial, Rejects, Unavailable, Unknown
from pulse_domain.use_cases.cancel import RequestCancel
from tests.unit.workers.floor import Broken, Floor, faults_unseen, running, until

RELIANCE = order_request().instrument
LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": Decimal(90)}
SPLIT_POLL_S, EXECUTE_POLL_S, MONITOR_S, SYNC_S = 5.0, 1.0, 30.0, 5.0
LEASE_S, SETTLE_S = 120.0, 120.0
Lines = Callable[[], list[dict[str, Any]]]


class NobodysLead:
    """Leadership that another process has."""

    async def hold(self) -> bool:
        return False

    async def release(self) -> None:
        pass


class Process:
    """A background process on a floor, and how late it was with each execution."""

    def __init__(
        self, floor: Floor, name: str = "worker-1", leadership: Leadership | None = None, **settings: Any
    ) -> None:
        self.late_s: list[float] = []
        self.stop = asyncio.Event()
        self.notifier = RecordingNotifier()
        ports = BackgroundPorts(
            store=floor.store,
            broker=floor.broker,
            clock=floor.clock,
            leadership=leadership or SoleProcess(),
            presence=SoleProcess(),
            executor_id=name,
            on_sent=self.late_s.append,
            notify=self.notifier.notify,
        )
        given: dict[str, Any] = {"database_url": "postgresql://unused", "tag_prefix": TAG_PREFIX}
        self._background = Background(ports, Settings(**given | settings))
        self.wake = self._background.wake

    def run(self) -> Coroutine[Any, Any, None]:
        return self._background.run(self.stop)


@asynccontextmanager
async def working(floor: Floor, **settings: Any) -> AsyncIterator[Process]:
    process = Process(floor, **settings)
    async with running(process.run()):
        yield process


@pytest.fixture
def floor(floor: Floor) -> Floor:
    """The market trades at 100: MARKET orders fill as they arrive."""
    floor.broker.trade_at(RELIANCE, Decimal(100))
    return floor


async def state(floor: Floor, order_id: OrderId) -> OrderState:
    return (await floor.view(order_id)).summary.state


async def cancel(floor: Floor, process: Process, order_id: OrderId) -> None:
    """Ask as the order API does, hint included."""
    queue = RecordingQueue()
    await RequestCancel(floor.store, queue)(order_id, None, "desk-1")
    for job in queue.jobs:
        process.wake(job.kind)


# --- from the order to its fills


async def test_an_accepted_order_is_filled_as_soon_as_it_is_heard_of(floor: Floor) -> None:
    async with working(floor) as process:
        order_id = await floor.accept()
        process.wake(JobKind.SPLIT_ORDER)
        await settle(100)

        view = await floor.view(order_id)
        assert (view.summary.state, view.summary.average_price) == (OrderState.FILLED, Decimal("100.0500"))
        assert view.summary.quantities.balanced


async def test_an_order_whose_hint_was_lost_is_filled_after_the_next_poll(floor: Floor) -> None:
    async with working(floor):
        order_id = await floor.accept()
        await floor.clock.advance(SPLIT_POLL_S)

        assert await state(floor, order_id) is OrderState.FILLED


@pytest.mark.parametrize("randomize", [False, True])
async def test_every_slice_is_sent_at_its_instant(floor: Floor, randomize: bool) -> None:
    split = SplitConfig(num_splits=12, duration_minutes=10, randomize=randomize)
    async with working(floor) as process:
        order_id = await floor.accept(total_quantity=1000, split_config=split)
        process.wake(JobKind.SPLIT_ORDER)
        await floor.clock.advance(599)
        before_the_last = await state(floor, order_id)
        await floor.clock.advance(2)

        assert (before_the_last, await state(floor, order_id)) == (OrderState.WORKING, OrderState.FILLED)
        assert len(floor.broker.sent) == 12
        assert sum(ticket.quantity for ticket in floor.broker.sent) == 1000
        assert all(0 <= late_s < 0.001 for late_s in process.late_s)


async def test_many_orders_are_all_filled(floor: Floor) -> None:
    async with working(floor, batch_size=3, broker_calls_max=2) as process:
        order_ids = [await floor.accept() for _ in range(20)]
        process.wake(JobKind.SPLIT_ORDER)
        await floor.clock.advance(2)

        assert {await state(floor, order_id) for order_id in order_ids} == {OrderState.FILLED}


async def test_orders_that_an_earlier_process_left_are_taken_up(floor: Floor) -> None:
    split = await floor.order()
    waiting = await floor.accept()

    async with working(floor):
        await floor.clock.advance(1)

        assert await state(floor, waiting) is OrderState.FILLED
        assert await state(floor, split) is OrderState.FILLED


async def test_who_does_not_lead_splits_and_sends_all_the_same(floor: Floor) -> None:
    async with working(floor, leadership=NobodysLead()) as process:
        order_id = await floor.accept()
        process.wake(JobKind.SPLIT_ORDER)
        await floor.clock.advance(2 * MONITOR_S)

        assert (await floor.execution(order_id)).phase is Phase.LIVE
        assert floor.store.asked["forget_sightings"] == 0


async def test_two_processes_place_every_slice_once(floor: Floor) -> None:
    one, other = Process(floor, "worker-1"), Process(floor, "worker-2", NobodysLead())
    async with running(one.run()), running(other.run()):
        order_ids = [
            await floor.accept(split_config=SplitConfig(num_splits=5, duration_minutes=1)) for _ in range(10)
        ]
        for process in (one, other):
            process.wake(JobKind.SPLIT_ORDER)
        await floor.clock.advance(62)

        assert {await state(floor, order_id) for order_id in order_ids} == {OrderState.FILLED}
        assert len({ticket.tag for ticket in floor.broker.sent}) == len(floor.broker.sent) == 50
        assert len(one.late_s) + len(other.late_s) == 50


@pytest.mark.parametrize("grace_s", [0.0, 60.0])
async def test_an_order_that_one_process_is_splitting_is_left_alone_by_the_other(
    floor: Floor, grace_s: float
) -> None:
    one = Process(floor, "worker-1", slice_grace_seconds=grace_s)
    other = Process(floor, "worker-2", NobodysLead(), slice_grace_seconds=grace_s)
    order_id = await floor.accept()
    saving = floor.store.hold("save_split")
    async with running(one.run()), running(other.run()):
        await floor.clock.advance(2)
        other.wake(JobKind.SPLIT_ORDER)
        await settle()
        attempts = (await floor.view(order_id)).order.split_attempt
        saving.set()
        await settle()

        assert (attempts, await floor.queue_status(order_id)) == (1, OrderQueueStatus.DONE)


# --- cancel and halt


async def test_a_cancel_reaches_the_broker_at_once(floor: Floor) -> None:
    async with working(floor) as process:
        order_id = await floor.order(40, 60, due_in_s=(0, 600), **LIMIT)
        await floor.clock.advance(EXECUTE_POLL_S)
        await cancel(floor, process, order_id)
        await settle(100)

        assert await state(floor, order_id) is OrderState.CANCELLED
        assert len(floor.broker.cancels) == 1
        await floor.clock.advance(1000)
        assert len(floor.broker.tickets) == 1


@pytest.mark.parametrize("pushes", [True, False], ids=["an update comes first", "the answer comes first"])
async def test_a_cancel_while_the_call_is_in_the_air_follows_it(floor: Floor, pushes: bool) -> None:
    floor.broker.pushes = pushes
    floor.broker.hold()
    async with working(floor) as process:
        order_id = await floor.order(**LIMIT)
        await floor.clock.advance(EXECUTE_POLL_S)
        await cancel(floor, process, order_id)
        await settle(100)
        pending = (await floor.execution(order_id)).status
        floor.broker.let_go()
        await settle(100)

        assert pending is ExecutionStatus.PENDING_CANCEL
        assert len(floor.broker.cancels) == 1


async def test_a_cancel_before_the_split_leaves_nothing_to_send(floor: Floor) -> None:
    async with working(floor) as process:
        order_id = await floor.accept()
        await cancel(floor, process, order_id)
        await floor.clock.advance(2 * SPLIT_POLL_S)

        assert (await state(floor, order_id), floor.broker.tickets) == (OrderState.CANCELLED, [])


async def test_a_halt_keeps_everything_back_until_trading_is_resumed(floor: Floor) -> None:
    async with working(floor):
        order_id = await floor.order(50, 50, due_in_s=(0, 10))
        await floor.clock.advance(5)
        await floor.store.halt("desk-1", "test")
        await floor.clock.advance(300)
        halted = len(floor.broker.tickets)
        await floor.store.resume("desk-1", "test")
        await floor.clock.advance(EXECUTE_POLL_S)

        assert (halted, await state(floor, order_id)) == (1, OrderState.FILLED)


# --- through trouble


async def test_an_outage_of_the_store_delays_and_doubles_nothing(floor: Floor) -> None:
    async with working(floor) as process:
        order_id = await floor.order(25, 25, 25, 25, due_in_s=(0, 5, 10, 15))
        await floor.clock.advance(7)
        floor.store.away = True
        process.wake(JobKind.SPLIT_ORDER)
        await floor.clock.advance(60)
        floor.store.away = False
        await floor.clock.advance(10)
        # Two missed their instants: they do not go out together.
        after_the_outage = len(floor.broker.sent)
        await floor.clock.advance(3600)

        assert after_the_outage == 3
        assert await state(floor, order_id) is OrderState.FILLED
        assert [ticket.quantity for ticket in floor.broker.sent] == [25] * 4


async def test_an_outage_of_the_broker_delays_and_doubles_nothing(floor: Floor) -> None:
    floor.broker.on_place(*[Unavailable()] * 5)
    async with working(floor):
        floor.broker.on_read(Unavailable(), Unavailable())
        order_id = await floor.order()
        await floor.clock.advance(60)

        assert await state(floor, order_id) is OrderState.FILLED
        assert len(floor.broker.sent) == 1


async def test_a_definite_no_ends_the_order(floor: Floor) -> None:
    floor.broker.on_place(Rejects("MARGIN"))
    async with working(floor):
        order_id = await floor.order()
        await floor.clock.advance(30)

        assert (await state(floor, order_id), len(floor.broker.tickets)) == (OrderState.REJECTED, 1)


async def test_an_order_whose_answer_was_lost_is_found_and_not_sent_again(floor: Floor) -> None:
    floor.broker.pushes = False
    floor.broker.on_place(Unknown(took=True, call_ended=False, hangs=True))
    async with working(floor):
        order_id = await floor.order()
        await floor.clock.advance(15 + SYNC_S)

        assert (await state(floor, order_id), len(floor.broker.tickets)) == (OrderState.FILLED, 1)


async def test_an_order_that_never_arrived_is_sent_again_once_that_is_proven(floor: Floor) -> None:
    floor.broker.on_place(Unknown(took=False, call_ended=True))
    async with working(floor):
        order_id = await floor.order()
        await floor.clock.advance(SETTLE_S)
        before = len(floor.broker.tickets)
        await floor.clock.advance(60)

        assert (before, await state(floor, order_id)) == (1, OrderState.FILLED)
        assert [ticket.tag for ticket in floor.broker.sent] == [(await floor.execution(order_id)).tag] * 2


async def test_an_order_that_is_late_for_its_window_is_never_sent(floor: Floor) -> None:
    floor.store.away = True
    async with working(floor):
        await floor.clock.advance(30)
        floor.store.away = False
        order_id = await floor.order(expires_in_s=60)
        floor.store.away = True
        await floor.clock.advance(60)
        floor.store.away = False
        await floor.clock.advance(MONITOR_S)

        assert (await state(floor, order_id), floor.broker.tickets) == (OrderState.EXPIRED, [])


# --- before the first read


async def test_nothing_is_sent_before_the_book_was_read_once(floor: Floor) -> None:
    floor.broker.on_read(*[Partial()] * 8)
    order_id = await floor.order()
    waiting = await floor.accept()
    async with working(floor, leadership=NobodysLead()):
        await floor.clock.advance(5)

        assert (floor.broker.tickets, await floor.phases(order_id)) == ([], [Phase.PLANNED])
        assert await floor.queue_status(waiting) is OrderQueueStatus.DONE
        await floor.clock.advance(5)
        assert len(floor.broker.tickets) == 2


async def test_what_the_book_holds_of_us_is_not_sent(floor: Floor) -> None:
    order_id = await floor.order()
    execution, request = await floor.execution(order_id), order_request()
    floor.broker.foreign(instrument=request.instrument, side=request.side, quantity=100, tags=[execution.tag])

    async with working(floor):
        await floor.clock.advance(60)

        assert (floor.broker.tickets, await floor.phases(order_id)) == ([], [Phase.LIVE])


# --- stopping


async def test_an_idle_process_stops_at_once(floor: Floor) -> None:
    process = Process(floor)
    async with running(process.run()) as run:
        process.stop.set()
        await settle()

        assert run.done()
        assert run.exception() is None


async def test_stopping_finishes_what_is_in_the_air_and_begins_nothing(floor: Floor) -> None:
    process = Process(floor, broker_calls_max=2)
    floor.broker.hold()
    order_id = await floor.order(10, 20, 30, **LIMIT)
    async with running(process.run()) as run:
        process.stop.set()
        await floor.clock.advance(3)
        waits = not run.done()
        floor.broker.let_go()
        await until(run.done)

        assert waits
        assert await floor.phases(order_id) == [Phase.LIVE, Phase.LIVE, Phase.PLANNED]
        assert run.exception() is None


async def test_it_stops_before_the_first_read(floor: Floor) -> None:
    process = Process(floor)
    floor.broker.on_read(*[Unavailable()] * 1000)
    async with running(process.run()) as run:
        await floor.clock.advance(10)
        process.stop.set()
        await settle()

        assert run.done()
        assert run.exception() is None


async def test_it_stops_while_the_store_is_away(floor: Floor) -> None:
    process = Process(floor, graceful_shutdown_seconds=0.05)
    floor.store.away = True
    async with running(process.run()) as run:
        await floor.clock.advance(10)
        process.stop.set()
        async with asyncio.timeout(5):
            await run


async def test_it_stops_in_time_though_an_outcome_cannot_be_stored(floor: Floor) -> None:
    process = Process(floor, graceful_shutdown_seconds=0.05)
    floor.broker.hold()
    order_id = await floor.order()
    async with running(process.run()) as run:
        floor.store.away = True
        floor.broker.let_go()
        process.stop.set()
        async with asyncio.timeout(5):
            await run

        assert await floor.phases(order_id) == [Phase.CLAIMED]


async def test_it_stops_in_time_though_a_call_does_not_end(floor: Floor) -> None:
    process = Process(floor, graceful_shutdown_seconds=0.05)
    floor.broker.hold()
    await floor.order()
    async with running(process.run()) as run:
        process.stop.set()
        async with asyncio.timeout(5):
            await run


async def test_a_stop_that_was_asked_for_before_the_start_is_obeyed(floor: Floor) -> None:
    process = Process(floor)
    process.stop.set()
    await floor.order()

    await process.run()

    assert floor.broker.tickets == []


async def test_no_task_outlives_a_stop(floor: Floor) -> None:
    before = asyncio.all_tasks()
    process = Process(floor)
    await floor.order(10, 10, due_in_s=(0, 30))
    async with running(process.run()) as run:
        await floor.clock.advance(5)
        process.stop.set()
        await until(run.done)
    await settle()

    assert asyncio.all_tasks() == before


# --- faults


@pytest.mark.parametrize(
    "step", ["claim_orders", "next_due", "claim_executions", "recover_splits", "select", "broker_order_ids"]
)
async def test_a_faulty_loop_ends_the_process(floor: Floor, step: str) -> None:
    process = Process(floor)
    async with running(process.run()) as run:
        await floor.order()
        floor.store.fail(step, Broken())
        await until(run.done, floor.clock)

        with pytest.raises(ExceptionGroup) as raised:
            await run
        assert raised.group_contains(Broken)


async def test_a_fault_in_recording_outcomes_ends_the_process_too(floor: Floor) -> None:
    process = Process(floor, leadership=NobodysLead())
    async with faults_unseen(), running(process.run()) as run:
        await floor.order()
        floor.store.fail("book", Broken())
        await floor.clock.advance(10)

        assert run.done()
        with pytest.raises(ExceptionGroup) as raised:
            await run
        assert raised.group_contains(Broken)


async def test_a_fault_before_the_first_read_ends_the_process(floor: Floor) -> None:
    floor.store.fail("broker_order_ids", Broken())
    process = Process(floor, leadership=NobodysLead())

    with pytest.raises(ExceptionGroup) as raised:
        await process.run()

    assert raised.group_contains(Broken)


async def test_a_fault_of_one_call_ends_nothing(floor: Floor) -> None:
    floor.broker.fault = Broken()
    async with working(floor):
        first = await floor.order()
        await floor.clock.advance(1)
        second = await floor.order()
        await floor.clock.advance(1)

        assert (await floor.execution(first)).phase is Phase.CLAIMED
        assert await state(floor, second) is OrderState.FILLED


async def test_no_task_outlives_a_fault(floor: Floor) -> None:
    before = asyncio.all_tasks()
    process = Process(floor)
    async with running(process.run()) as run:
        floor.store.fail("claim_orders", Broken())
        await until(run.done, floor.clock)
    await settle()

    assert asyncio.all_tasks() == before


# --- what it says


async def test_log_lines_of_an_order_carry_the_ids_of_its_request(floor: Floor, log_lines: Lines) -> None:
    floor.broker.on_place(Unavailable())
    async with working(floor) as process:
        ids = {"request_id": "req-1", "trace_id": "trace-1"}
        order_id = await floor.accept(**ids)
        process.wake(JobKind.SPLIT_ORDER)
        await floor.clock.advance(5)
        # What contradicts us is worth a line as well: a fill beyond what was ordered.
        [row] = floor.broker.rows()
        floor.broker.fill(row.broker_order_id, 50)
        await floor.clock.advance(SYNC_S)

    lines = [line for line in log_lines() if line.get("order_id") == order_id]
    assert [line for line in lines if {name: line.get(name) for name in ids} != ids] == []
    assert {line["worker"] for line in lines} == {"splitter", "executor", "monitor"}
    assert any(ev.ExecutionReleased.__struct_config__.tag in line.values() for line in lines)


async def test_log_lines_of_different_orders_do_not_mix(floor: Floor, log_lines: Lines) -> None:
    async with working(floor) as process:
        ids = {await floor.accept(request_id=f"req-{n}", trace_id=f"trace-{n}"): f"{n}" for n in range(10)}
        process.wake(JobKind.SPLIT_ORDER)
        await floor.clock.advance(5)

    lines = [line for line in log_lines() if "order_id" in line]
    assert {line["order_id"] for line in lines} == set(ids)
    for line in lines:
        number = ids[line["order_id"]]
        assert (line["request_id"], line["trace_id"]) == (f"req-{number}", f"trace-{number}")


async def test_a_call_that_broke_off_is_told_with_its_order(floor: Floor, log_lines: Lines) -> None:
    floor.broker.fault = Broken()
    async with working(floor):
        order_id = await floor.order(request_id="req-1", trace_id="trace-1")
        await floor.clock.advance(1)

    [line] = [line for line in log_lines() if line["level"] == "error"]
    assert "Broken" in line["exception"]
    assert (line.get("order_id"), line.get("request_id")) == (order_id, "req-1")


async def test_people_hear_of_rejections_and_of_a_line_that_is_down(floor: Floor) -> None:
    async with working(floor) as process:
        floor.broker.on_place(Rejects("MARGIN"))
        await floor.order()
        await floor.clock.advance(5)
        floor.broker.on_place(*[Unavailable()] * 5)
        await floor.crowd(5)
        await floor.clock.advance(5)

    told = [each.kind for each in process.notifier.told]
    assert told.count(NotificationKind.REJECT) == 1
    assert NotificationKind.BREAKER in told


async def test_people_hear_of_a_clock_that_is_off_from_the_start_once(floor: Floor) -> None:
    async def an_hour_ago() -> datetime:
        return floor.clock.now() - timedelta(hours=1)

    floor.store.now = an_hour_ago  # type: ignore[method-assign]
    async with working(floor) as process:
        await floor.clock.advance(60)

    assert [each.kind for each in process.notifier.told] == [NotificationKind.CLOCK]
