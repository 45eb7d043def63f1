from pulse_domain.orders import events as ev
from pulse_domain.orders.model import SplitConfig
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase, SliceOutcome
from pulse_domain.testing.scripted_broker import Unavailable
from pulse_domain.use_cases.monitor import LEASE_EXPIRED, SIGHTINGS_KEPT_S, MonitorReport, MonitorTimeouts
from tests.unit.use_cases.desk import GRACE_S, LEASE_S, Desk

FOUR = SplitConfig(num_splits=4, duration_minutes=30, randomize=False)


async def test_nothing_out_of_time_changes_nothing(desk: Desk) -> None:
    order_id = await desk.order(split_config=FOUR)
    await desk.claim()
    before = await desk.view(order_id)

    assert await desk.monitor() == MonitorReport()

    assert await desk.view(order_id) == before


async def test_claim_without_an_answer_becomes_unknown(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.claim()
    await desk.pass_time(LEASE_S)

    report = await desk.monitor()

    execution = await desk.execution(order_id)
    assert report == MonitorReport(unanswered=1)
    assert (execution.phase, execution.reason) == (Phase.UNKNOWN, LEASE_EXPIRED)
    assert execution.call_ended_at is None


async def test_claim_that_was_answered_is_left_alone(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    await desk.pass_time(10 * LEASE_S)

    assert await desk.monitor() == MonitorReport()
    assert (await desk.execution(order_id)).phase is Phase.LIVE


async def test_resting_order_outlives_its_window(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    await desk.pass_time(GRACE_S + 3600)

    await desk.monitor()

    assert (await desk.execution(order_id)).status is ExecutionStatus.OPEN


async def test_execution_past_its_window_and_grace_expires(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.pass_time(GRACE_S)

    report = await desk.monitor()

    assert report == MonitorReport(lapsed=1)
    [slice_] = await desk.store.slices(order_id)
    assert slice_.outcome is SliceOutcome.EXPIRED
    assert (await desk.view(order_id)).summary.state is OrderState.EXPIRED
    assert await desk.claim() == []


async def test_execution_within_its_grace_is_still_sent(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.pass_time(GRACE_S - 1)
    await desk.monitor()

    await desk.send_due()

    assert (await desk.execution(order_id)).phase is Phase.LIVE


async def test_crash_of_hours_does_not_wake_up_as_an_order(desk: Desk) -> None:
    order_id = await desk.order(split_config=FOUR)
    await desk.send_due()
    await desk.pass_time(5 * 3600)

    # Before the monitor has run, and after.
    assert await desk.send_due() == []
    await desk.monitor()
    assert await desk.send_due() == []

    assert len(desk.broker.tickets) == 1
    assert [e.status for e in await desk.executions(order_id)] == [
        ExecutionStatus.OPEN, *[ExecutionStatus.EXPIRED] * 3,
    ]  # fmt: skip
    quantities = (await desk.view(order_id)).summary.quantities
    assert (quantities.working, quantities.cancelled) == (25, 75)


async def test_unreachable_broker_is_tried_within_the_window_and_then_given_up(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(*[Unavailable()] * 1000)

    for _ in range(90):
        await desk.send_due()
        await desk.monitor()
        await desk.pass_time(1)

    execution = await desk.execution(order_id)
    # Doubling waits, up to 30 s, in two minutes.
    assert 5 <= execution.attempt <= 9
    assert len(desk.broker.tickets) == execution.attempt
    assert desk.broker.sent == []
    assert (await desk.view(order_id)).summary.state is OrderState.EXPIRED


async def test_withdrawn_counts_as_cancelled_even_when_its_time_has_passed(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.request_cancel(order_id, None, "desk-1")
    await desk.pass_time(GRACE_S + 1)

    report = await desk.monitor()

    assert report == MonitorReport(cancelled=1)
    assert (await desk.view(order_id)).summary.state is OrderState.CANCELLED


async def test_lost_cancel_hint_is_made_up_for(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    await desk.request_cancel(order_id, None, "desk-1")
    desk.queue.jobs.clear()

    assert (await desk.monitor()).cancelled == 1
    await desk.reconcile()

    assert (await desk.view(order_id)).summary.state is OrderState.CANCELLED


async def test_stuck_split_is_tried_again_and_fails_for_a_person(desk: Desk) -> None:
    order_id = (await desk.accept()).order_id
    recovered = []
    for _ in range(4):
        await desk.store.claim_orders(1, "splitter-that-dies", 300.0)
        await desk.pass_time(300)
        recovered.append((await desk.monitor()).splits_recovered)

    view = await desk.view(order_id)
    assert recovered == [1, 1, 1, 0]
    assert (view.summary.state, view.order.failure) == (OrderState.FAILED, "ATTEMPTS_SPENT")


async def test_old_sightings_are_forgotten(desk: Desk) -> None:
    await desk.accept(None, digest="d")
    await desk.pass_time(SIGHTINGS_KEPT_S + 1)

    await desk.monitor()

    assert await desk.store.forget_sightings(0.0) == 0


async def test_many_are_handled_in_batches_of_one_pass(desk: Desk) -> None:
    order_id = await desk.order(split_config=FOUR)
    await desk.pass_time(3600)
    monitor = MonitorTimeouts(desk.store, desk.cancel_executions, batch_size=3)

    assert [(await monitor()).lapsed for _ in range(2)] == [4, 0]
    journal = await desk.store.journal(order_id, after_seq=0, limit=100)
    assert sum(isinstance(entry.event, ev.ExecutionLapsed) for entry in journal) == 4
