import pytest

from pulse_background.wakeup import Wakeup
from pulse_background.workers.timeout_monitor import TimeoutMonitor
from pulse_domain.orders.status import ExecutionStatus, OrderQueueStatus, OrderState, Phase
from pulse_domain.testing.fake_clock import settle
from pulse_domain.testing.scripted_broker import Unavailable
from pulse_domain.use_cases.monitor import MonitorTimeouts
from tests.unit.workers.floor import Broken, Floor, running

INTERVAL_S = 30.0
LEASE_S = 120.0


class Monitor(TimeoutMonitor):
    def __init__(self, floor: Floor) -> None:
        self.wakeup = Wakeup(floor.clock)
        super().__init__(MonitorTimeouts(floor.store, floor.cancel), self.wakeup, interval_s=INTERVAL_S)


@pytest.fixture
def monitor(floor: Floor) -> Monitor:
    return Monitor(floor)


async def test_it_looks_at_once_and_then_at_every_interval(floor: Floor, monitor: Monitor) -> None:
    async with running(monitor.run()):
        passes = [floor.store.asked["recover_splits"]]
        for _ in range(3):
            await floor.clock.advance(INTERVAL_S)
            passes.append(floor.store.asked["recover_splits"])

    assert passes == [1, 2, 3, 4]


async def test_a_call_makes_it_look_sooner(floor: Floor, monitor: Monitor) -> None:
    async with running(monitor.run()):
        monitor.wakeup.call()
        await settle()

        assert floor.store.asked["recover_splits"] == 2


async def test_an_order_that_a_silent_splitter_held_is_given_back(floor: Floor, monitor: Monitor) -> None:
    order_id = await floor.accept()
    await floor.store.claim_orders(1, "gone", 60.0)

    async with running(monitor.run()):
        before = await floor.queue_status(order_id)
        await floor.clock.advance(90)

        assert before is OrderQueueStatus.IN_PROGRESS
        assert await floor.queue_status(order_id) is OrderQueueStatus.PENDING


async def test_a_claim_without_an_answer_becomes_unknown(floor: Floor, monitor: Monitor) -> None:
    order_id = await floor.order()
    await floor.store.claim_executions(1, "gone", LEASE_S)

    async with running(monitor.run()):
        before = await floor.phases(order_id)
        await floor.clock.advance(LEASE_S + INTERVAL_S)

        assert (before, await floor.phases(order_id)) == ([Phase.CLAIMED], [Phase.UNKNOWN])


async def test_a_slice_whose_window_has_closed_is_never_sent(floor: Floor, monitor: Monitor) -> None:
    order_id = await floor.order(expires_in_s=60.0)

    async with running(monitor.run()):
        await floor.clock.advance(60 + INTERVAL_S)

        assert (await floor.execution(order_id)).status is ExecutionStatus.EXPIRED
        assert (await floor.view(order_id)).summary.state is OrderState.EXPIRED


async def test_a_cancel_that_nobody_has_carried_out_is_carried_out(floor: Floor, monitor: Monitor) -> None:
    order_id = await floor.order(due_in_s=3600)
    await floor.store.request_cancel(order_id, "desk-1")

    async with running(monitor.run()):
        assert (await floor.view(order_id)).summary.state is OrderState.CANCELLED


async def test_it_outlives_a_store_that_does_not_answer(floor: Floor, monitor: Monitor) -> None:
    order_id = await floor.order(expires_in_s=60.0)
    floor.store.away = True
    async with running(monitor.run()):
        await floor.clock.advance(10 * INTERVAL_S)
        floor.store.away = False
        await floor.clock.advance(INTERVAL_S)

        assert (await floor.execution(order_id)).status is ExecutionStatus.EXPIRED


@pytest.mark.parametrize("step", ["recover_splits", "select", "book", "forget_sightings"])
async def test_a_pass_that_broke_off_is_made_good_by_the_next(
    floor: Floor, monitor: Monitor, step: str
) -> None:
    order_id = await floor.order(expires_in_s=60.0)
    await floor.clock.advance(60)
    floor.store.fail(step)

    async with running(monitor.run()):
        await floor.clock.advance(INTERVAL_S)

        assert (await floor.execution(order_id)).status is ExecutionStatus.EXPIRED


async def test_it_outlives_a_broker_that_does_not_answer(floor: Floor, monitor: Monitor) -> None:
    order_id = await floor.order()
    [claim] = await floor.store.claim_executions(1, "executor-1", LEASE_S)
    row = floor.broker.foreign(
        instrument=claim.order.request.instrument,
        side=claim.order.request.side,
        quantity=claim.execution.quantity,
        tags=[claim.execution.tag],
    )
    await floor.facts([row])
    await floor.store.request_cancel(order_id, "desk-1")
    floor.broker.on_cancel(Unavailable(), Unavailable())

    async with running(monitor.run()) as run:
        await floor.clock.advance(2 * INTERVAL_S)

        assert not run.done()
        assert floor.broker.cancels == [row.broker_order_id] * 3


async def test_a_mistake_of_ours_ends_it(floor: Floor, monitor: Monitor) -> None:
    floor.store.fail("recover_splits", Broken())

    with pytest.raises(Broken):
        await monitor.run()
