import pytest

from pulse_background.wakeup import Wakeup
from pulse_background.workers.order_canceller import OrderCanceller
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase
from pulse_domain.testing.fake_clock import settle
from pulse_domain.testing.scripted_broker import Accepts, Rejects, Unavailable, Unknown
from pulse_domain.use_cases.execute import ExecuteSettings, ExecuteSlice
from tests.unit.workers.floor import Broken, Floor, running

POLL_S = 5.0


class Canceller(OrderCanceller):
    def __init__(self, floor: Floor) -> None:
        self.wakeup = Wakeup(floor.clock)
        super().__init__(floor.cancel, self.wakeup, poll_s=POLL_S)


@pytest.fixture
def canceller(floor: Floor) -> Canceller:
    return Canceller(floor)


async def live_order(floor: Floor, *quantities: int) -> OrderId:
    """An order that rests at the broker."""
    order_id = await floor.order(*quantities)
    execute = ExecuteSlice(floor.broker, floor.clock, ExecuteSettings(executor="executor-1"))
    claims = await floor.store.claim_executions(10, "executor-1", 120.0)
    await floor.record([await execute(claim, floor.clock.monotonic()) for claim in claims])
    return order_id


async def test_a_hint_cancels_at_the_broker_at_once(floor: Floor, canceller: Canceller) -> None:
    order_id = await live_order(floor, 10, 20)
    async with running(canceller.run()):
        await floor.store.request_cancel(order_id, "desk-1")
        canceller.wakeup.call()
        await settle()

        executions = await floor.executions(order_id)
        assert floor.broker.cancels == [execution.broker_order_id for execution in executions]
        assert {execution.status for execution in executions} == {ExecutionStatus.PENDING_CANCEL}


async def test_a_cancel_whose_hint_was_lost_is_carried_out_at_the_next_poll(
    floor: Floor, canceller: Canceller
) -> None:
    order_id = await live_order(floor)
    async with running(canceller.run()):
        await floor.store.request_cancel(order_id, "desk-1")
        await floor.clock.advance(POLL_S - 0.1)
        before = list(floor.broker.cancels)
        await floor.clock.advance(0.1)

        assert (before, len(floor.broker.cancels)) == ([], 1)


async def test_what_was_not_sent_is_withdrawn(floor: Floor, canceller: Canceller) -> None:
    order_id = await floor.order(10, 10, due_in_s=(60, 120))
    async with running(canceller.run()):
        await floor.store.request_cancel(order_id, "desk-1")
        canceller.wakeup.call()
        await settle()

        assert (await floor.view(order_id)).summary.state is OrderState.CANCELLED
        assert floor.broker.cancels == []


async def test_what_is_in_the_air_is_marked_and_left_to_whoever_learns_of_it(
    floor: Floor, canceller: Canceller
) -> None:
    order_id = await floor.order()
    await floor.store.claim_executions(1, "executor-1", 120.0)
    async with running(canceller.run()):
        await floor.store.request_cancel(order_id, "desk-1")
        canceller.wakeup.call()
        await settle()

        execution = await floor.execution(order_id)
        assert (execution.phase, execution.cancel_requested) == (Phase.CLAIMED, True)
        assert floor.broker.cancels == []


async def test_orders_that_nobody_wants_cancelled_are_left_alone(floor: Floor, canceller: Canceller) -> None:
    await live_order(floor)

    async with running(canceller.run()):
        await floor.clock.advance(10 * POLL_S)

        assert floor.broker.cancels == []


@pytest.mark.parametrize(
    "answer", [Unavailable(), Unknown(took=False, call_ended=True)], ids=["unavailable", "unknown"]
)
async def test_a_broker_that_does_not_answer_is_asked_again(
    floor: Floor, canceller: Canceller, answer: Unavailable | Unknown
) -> None:
    order_id = await live_order(floor)
    floor.broker.on_cancel(answer, Accepts())
    await floor.store.request_cancel(order_id, "desk-1")

    async with running(canceller.run()):
        await floor.clock.advance(2 * POLL_S)

        assert len(floor.broker.cancels) == 2


async def test_a_refused_cancel_does_not_keep_the_others_from_being_asked_for(
    floor: Floor, canceller: Canceller
) -> None:
    order_id = await live_order(floor, 10, 20)
    floor.broker.on_cancel(Rejects("NOT_OPEN"))
    await floor.store.request_cancel(order_id, "desk-1")

    async with running(canceller.run()) as run:
        await floor.clock.advance(POLL_S)

        assert not run.done()
        assert len(floor.broker.cancels) == 2


async def test_a_broker_that_goes_on_refusing_is_asked_ever_more_rarely(
    floor: Floor, canceller: Canceller
) -> None:
    order_id = await live_order(floor)
    floor.broker.on_cancel(*[Rejects("CLOSED")] * 100)
    await floor.store.request_cancel(order_id, "desk-1")

    async with running(canceller.run()):
        asked = []
        for _ in range(3):
            before = len(floor.broker.cancels)
            await floor.clock.advance(30 * POLL_S)
            asked.append(len(floor.broker.cancels) - before)

        assert asked[0] > asked[1] >= 1
        assert sum(asked) < 10


@pytest.mark.parametrize("step", ["select", "book"])
async def test_it_outlives_a_store_that_does_not_answer(floor: Floor, canceller: Canceller, step: str) -> None:
    order_id = await live_order(floor)
    await floor.store.request_cancel(order_id, "desk-1")
    floor.store.fail(step, times=3)

    async with running(canceller.run()):
        await floor.clock.advance(5 * POLL_S)

        [execution] = await floor.executions(order_id)
        assert floor.broker.cancels[:1] == [execution.broker_order_id]


async def test_a_mistake_of_ours_ends_it(floor: Floor, canceller: Canceller) -> None:
    floor.store.fail("select", Broken())
    canceller.wakeup.call()

    with pytest.raises(Broken):
        await canceller.run()
