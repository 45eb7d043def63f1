import pytest

from pulse_domain.errors import NotCancellable, NotFound
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import ClientId
from pulse_domain.orders.model import SplitConfig
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.ports.work_queue import Job, JobKind
from pulse_domain.testing.factories import CLIENT
from pulse_domain.testing.scripted_broker import Accepts, Rejects, Unavailable, Unknown
from pulse_domain.use_cases.cancel import CancelExecutions
from tests.unit.use_cases.desk import SETTLE_S, Desk

FOUR = SplitConfig(num_splits=4, duration_minutes=30, randomize=False)


# --- the wish


async def test_order_that_waits_for_its_split_is_cancelled_at_once(desk: Desk) -> None:
    order_id = (await desk.accept()).order_id

    view = await desk.request_cancel(order_id, CLIENT, "desk-1")

    assert (view.summary.state, view.summary.done) == (OrderState.CANCELLED, True)
    assert (await desk.split()).seen == 0


async def test_wish_wakes_the_worker_that_carries_it_out(desk: Desk) -> None:
    order_id = await desk.order()

    view = await desk.request_cancel(order_id, CLIENT, "desk-1")

    assert view.order.cancel_requested_at == desk.clock.now()
    assert not view.summary.done
    assert desk.queue.jobs[-1] == Job(JobKind.CANCEL_ORDER, order_id)


async def test_wishing_twice_is_wishing_once(desk: Desk) -> None:
    order_id = await desk.order()
    first = await desk.request_cancel(order_id, CLIENT, "desk-1")

    assert await desk.request_cancel(order_id, CLIENT, "desk-1") == first


async def test_wish_may_be_repeated_when_the_order_is_cancelled(desk: Desk) -> None:
    order_id = (await desk.accept()).order_id
    first = await desk.request_cancel(order_id, CLIENT, "desk-1")

    assert await desk.request_cancel(order_id, CLIENT, "desk-1") == first


async def test_order_that_is_done_cannot_be_cancelled(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Rejects())
    await desk.send_due()
    before = await desk.view(order_id)

    with pytest.raises(NotCancellable) as refused:
        await desk.request_cancel(order_id, CLIENT, "desk-1")

    assert refused.value.details == {"state": OrderState.REJECTED}
    assert await desk.view(order_id) == before


@pytest.mark.parametrize("client", [ClientId("desk-2"), ClientId("")])
async def test_order_of_another_client_is_not_found(desk: Desk, client: ClientId) -> None:
    order_id = await desk.order()

    with pytest.raises(NotFound):
        await desk.request_cancel(order_id, client, "desk-2")

    assert (await desk.view(order_id)).order.cancel_requested_at is None


async def test_unknown_order_is_not_found(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.request_cancel(desk.ids.order_id(), None, "operator")


# --- carrying it out


async def test_nothing_to_cancel_is_nothing_handled(desk: Desk) -> None:
    await desk.order()
    await desk.send_due()

    assert await desk.cancel_executions() == 0
    assert desk.broker.cancels == []


async def test_unsent_slices_are_withdrawn_and_live_ones_cancelled(desk: Desk) -> None:
    order_id = await desk.order(split_config=FOUR)
    await desk.send_due()
    await desk.request_cancel(order_id, None, "desk-1")

    handled = await desk.cancel_executions()
    await desk.reconcile()

    assert handled == 4
    assert [execution.status for execution in await desk.executions(order_id)] == [
        ExecutionStatus.CANCELLED
    ] * 4
    summary = (await desk.view(order_id)).summary
    assert (summary.state, summary.done, summary.quantities.cancelled) == (OrderState.CANCELLED, True, 100)
    assert len(desk.broker.tickets) == 1


async def test_cancel_is_pending_until_the_broker_confirms(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    desk.broker.on_cancel(Accepts(acts=False))
    await desk.request_cancel(order_id, None, "desk-1")

    await desk.cancel_executions()
    await desk.reconcile()
    assert (await desk.execution(order_id)).status is ExecutionStatus.PENDING_CANCEL
    execution = await desk.execution(order_id)
    assert execution.broker_order_id is not None
    desk.broker.end(execution.broker_order_id, BrokerOrderStatus.CANCELLED)
    await desk.reconcile()

    assert (await desk.execution(order_id)).status is ExecutionStatus.CANCELLED


async def test_partly_filled_order_keeps_what_it_has(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    desk.broker.fill((await desk.store.slices(order_id))[0].executions[0].broker_order_id or "", 30)
    await desk.request_cancel(order_id, None, "desk-1")

    await desk.cancel_executions()
    await desk.reconcile()

    summary = (await desk.view(order_id)).summary
    assert (summary.state, summary.done) == (OrderState.PARTIALLY_FILLED, True)
    assert (summary.quantities.filled, summary.quantities.cancelled) == (30, 70)


async def test_cancel_refused_because_it_has_filled_ends_filled(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    row = desk.row((await desk.execution(order_id)).tag)
    await desk.request_cancel(order_id, None, "desk-1")
    desk.broker.fill(row.broker_order_id, 100)

    await desk.cancel_executions()
    refused = await desk.execution(order_id)
    await desk.reconcile()

    assert refused.status is ExecutionStatus.OPEN
    assert (await desk.execution(order_id)).status is ExecutionStatus.FILLED
    assert (await desk.view(order_id)).summary.state is OrderState.FILLED
    journal = await desk.store.journal(order_id, after_seq=0, limit=100)
    assert ev.ExecutionCancelRefused(seq=1, chunk=0, reason="NOT_OPEN") in [e.event for e in journal]
    assert await desk.cancel_executions() == 0


@pytest.mark.parametrize(
    "outcome",
    [Unavailable(), Unknown(took=False, call_ended=True), Unknown(took=True, call_ended=False)],
    ids=["not sent", "lost", "taken without an answer"],
)
async def test_cancel_without_an_answer_is_asked_again(desk: Desk, outcome: Unavailable | Unknown) -> None:
    order_id = await desk.order()
    await desk.send_due()
    desk.broker.on_cancel(outcome)
    await desk.request_cancel(order_id, None, "desk-1")

    await desk.cancel_executions()
    assert (await desk.execution(order_id)).status is ExecutionStatus.PENDING_CANCEL
    await desk.cancel_executions()
    await desk.reconcile()

    assert len(desk.broker.cancels) == 2
    assert (await desk.execution(order_id)).status is ExecutionStatus.CANCELLED


async def test_claimed_execution_is_left_to_who_records_its_outcome(desk: Desk) -> None:
    order_id = await desk.order()
    [claim] = await desk.claim()
    await desk.request_cancel(order_id, None, "desk-1")

    assert await desk.cancel_executions() == 0
    assert desk.broker.cancels == []
    await desk.record([await desk.send(claim)])
    await desk.reconcile()

    assert (await desk.execution(order_id)).status is ExecutionStatus.CANCELLED


async def test_claim_that_comes_too_late_for_the_cancel_gets_nothing(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.request_cancel(order_id, None, "desk-1")

    assert await desk.claim() == []
    await desk.cancel_executions()

    assert desk.broker.tickets == []
    assert (await desk.view(order_id)).summary.state is OrderState.CANCELLED


async def test_unknown_execution_is_cancelled_once_it_is_found(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=True))
    await desk.send_due()
    await desk.request_cancel(order_id, None, "desk-1")

    await desk.cancel_executions()
    assert desk.broker.cancels == []
    await desk.reconcile()
    assert (await desk.execution(order_id)).status is ExecutionStatus.PENDING_CANCEL
    await desk.monitor()
    await desk.reconcile()

    assert len(desk.broker.cancels) == 1
    assert (await desk.execution(order_id)).status is ExecutionStatus.CANCELLED


async def test_unknown_execution_proven_absent_is_withdrawn_and_not_sent_again(desk: Desk) -> None:
    config = SplitConfig(num_splits=2, duration_minutes=60, randomize=False)
    order_id = await desk.order(split_config=config)
    desk.broker.on_place(Unknown(took=False, call_ended=True))
    await desk.send_due()
    await desk.request_cancel(order_id, None, "desk-1")
    await desk.cancel_executions()

    for _ in range(2):
        await desk.pass_time(SETTLE_S)
        await desk.reconcile()
    await desk.monitor()

    assert (await desk.view(order_id)).summary.state is OrderState.CANCELLED
    assert len(desk.broker.tickets) == 1


async def test_order_filled_in_full_is_not_cancelled_at_the_broker(desk: Desk) -> None:
    order_id = await desk.order(split_config=FOUR)
    await desk.send_due()
    first = (await desk.executions(order_id))[0]
    assert first.broker_order_id is not None
    desk.broker.fill(first.broker_order_id, 25)
    await desk.reconcile()
    await desk.request_cancel(order_id, None, "desk-1")

    await desk.cancel_executions()

    assert desk.broker.cancels == []
    assert [execution.status for execution in await desk.executions(order_id)] == [
        ExecutionStatus.FILLED, *[ExecutionStatus.CANCELLED] * 3,
    ]  # fmt: skip
    assert (await desk.view(order_id)).summary.state is OrderState.PARTIALLY_FILLED


async def test_executions_without_an_answer_do_not_hold_live_ones_up(desk: Desk) -> None:
    silent, live = await desk.order("silent"), await desk.order("live")
    desk.broker.on_place(Unknown(took=False, call_ended=False), Accepts())
    await desk.send_due()
    for order_id in (silent, live):
        await desk.request_cancel(order_id, None, "operator")
    cancel = CancelExecutions(desk.store, desk.broker, batch_size=1)

    for _ in range(3):
        await cancel()

    assert (await desk.execution(silent)).phase is Phase.UNKNOWN
    assert len(desk.broker.cancels) >= 1


async def test_many_executions_are_cancelled_in_passes(desk: Desk) -> None:
    order_id = await desk.order(split_config=FOUR)
    await desk.request_cancel(order_id, None, "desk-1")
    cancel = CancelExecutions(desk.store, desk.broker, batch_size=3)

    assert [await cancel() for _ in range(3)] == [3, 1, 0]
    assert (await desk.view(order_id)).summary.state is OrderState.CANCELLED
