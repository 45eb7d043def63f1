from collections.abc import Sequence

import pytest

from pulse_domain.errors import StorageUnavailable
from pulse_domain.orders import events as ev
from pulse_domain.orders.model import SplitConfig
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase, SliceOutcome
from pulse_domain.ports.order_store import Booked, Booking, BookResult
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.scripted_broker import Rejects, Unavailable, Unknown
from tests.unit.use_cases.desk import NIFTY, Desk


async def test_accepted_order_works(desk: Desk) -> None:
    order_id = await desk.order()

    [booked] = await desk.send_due()

    assert booked.result is BookResult.APPLIED
    execution = await desk.execution(order_id)
    assert booked.execution == execution
    assert execution.broker_order_id == desk.row(execution.tag).broker_order_id
    assert (await desk.view(order_id)).summary.state is OrderState.WORKING


async def test_rejected_order_is_done_and_never_sent_again(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Rejects("INSUFFICIENT_FUNDS", "short by ₹ 12"))

    await desk.send_due()

    [slice_] = await desk.store.slices(order_id)
    assert slice_.outcome is SliceOutcome.REJECTED
    assert (slice_.executions[0].reason_code, slice_.executions[0].reason) == (
        "INSUFFICIENT_FUNDS", "short by ₹ 12",
    )  # fmt: skip
    assert (await desk.view(order_id)).summary.state is OrderState.REJECTED
    assert await desk.claim() == []


async def test_unsent_order_waits_and_is_claimed_again(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unavailable())

    await desk.send_due()
    assert (await desk.execution(order_id)).phase is Phase.PLANNED
    assert await desk.claim() == []
    await desk.pass_time(1)
    await desk.send_due()

    execution = await desk.execution(order_id)
    assert (execution.phase, execution.attempt) == (Phase.LIVE, 2)


async def test_unanswered_order_is_unknown_and_not_claimed(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=True))

    await desk.send_due()
    await desk.pass_time(50)

    assert (await desk.execution(order_id)).status is ExecutionStatus.UNKNOWN
    assert (await desk.view(order_id)).summary.quantities.unknown == 100
    assert await desk.claim() == []


async def test_outcomes_of_a_batch_are_told_apart(desk: Desk) -> None:
    order_id = await desk.order(instrument=NIFTY, total_quantity=1800 * 4)
    desk.broker.on_place(Rejects(), Unavailable(), Unknown(took=False, call_ended=False))

    await desk.send_due()

    assert [execution.status for execution in await desk.executions(order_id)] == [
        ExecutionStatus.REJECTED, ExecutionStatus.PLANNED, ExecutionStatus.UNKNOWN, ExecutionStatus.OPEN,
    ]  # fmt: skip
    quantities = (await desk.view(order_id)).summary.quantities
    assert quantities.balanced
    assert {quantities.failed, quantities.unsent, quantities.unknown, quantities.working} == {1800}


async def test_outcome_recorded_twice_changes_nothing(desk: Desk) -> None:
    order_id = await desk.order()
    [claim] = await desk.claim()
    booking = await desk.send(claim)
    await desk.record([booking])
    view = await desk.view(order_id)

    [again] = await desk.record([booking])

    assert again.result is BookResult.UNCHANGED
    assert await desk.view(order_id) == view


async def test_yes_that_comes_after_its_lease_still_counts(desk: Desk) -> None:
    order_id = await desk.order()
    [claim] = await desk.claim()
    booking = await desk.send(claim)
    await desk.pass_time(121)
    await desk.monitor()
    assert (await desk.execution(order_id)).phase is Phase.UNKNOWN

    [booked] = await desk.record([booking])

    assert booked.result is BookResult.APPLIED
    assert (await desk.execution(order_id)).phase is Phase.LIVE


async def test_end_of_a_call_learnt_after_its_lease_still_counts(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=False, call_ended=True))
    [claim] = await desk.claim()
    booking = await desk.send(claim)
    ended_at = desk.clock.now()
    await desk.pass_time(121)
    await desk.monitor()

    await desk.record([booking])

    assert (await desk.execution(order_id)).call_ended_at == ended_at


async def test_decision_of_a_replaced_attempt_is_refused(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unavailable())
    [claim] = await desk.claim()
    released = await desk.send(claim)
    await desk.record([released])
    await desk.pass_time(1)
    [second] = await desk.claim()

    [booked] = await desk.record([released])

    assert booked.result is BookResult.REFUSED
    assert await desk.execution(order_id) == second.execution


async def test_cancel_asked_meanwhile_follows_the_yes(desk: Desk) -> None:
    order_id = await desk.order()
    [claim] = await desk.claim()
    booking = await desk.send(claim)
    await desk.request_cancel(order_id, None, "desk-1")
    await desk.cancel_executions()
    assert (await desk.execution(order_id)).status is ExecutionStatus.PENDING_CANCEL
    assert desk.broker.cancels == []

    await desk.record([booking])

    execution = await desk.execution(order_id)
    assert desk.broker.cancels == [execution.broker_order_id]
    assert execution.status is ExecutionStatus.PENDING_CANCEL


async def test_cancel_asked_meanwhile_withdraws_what_was_not_sent(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unavailable())
    [claim] = await desk.claim()
    await desk.request_cancel(order_id, None, "desk-1")
    await desk.cancel_executions()

    await desk.record([await desk.send(claim)])

    assert (await desk.view(order_id)).summary.state is OrderState.CANCELLED
    assert desk.broker.cancels == []


async def test_cancel_asked_meanwhile_waits_while_nobody_knows(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=True))
    [claim] = await desk.claim()
    await desk.request_cancel(order_id, None, "desk-1")
    await desk.cancel_executions()

    await desk.record([await desk.send(claim)])

    execution = await desk.execution(order_id)
    assert (execution.phase, execution.cancel_requested) == (Phase.UNKNOWN, True)
    assert desk.broker.cancels == []


async def test_slices_are_recorded_each_at_its_instant(desk: Desk) -> None:
    config = SplitConfig(num_splits=3, duration_minutes=10, randomize=False)
    order_id = await desk.order(total_quantity=90, split_config=config)

    sent = []
    for _ in range(3):
        sent.append(len(await desk.send_due()))
        await desk.pass_time(300)

    assert sent == [1, 1, 1]
    assert {execution.phase for execution in await desk.executions(order_id)} == {Phase.LIVE}


class LosingStore(InMemoryOrderStore):
    """Books, and may lose the connection before it can say so."""

    loses_answers = False

    async def book(self, bookings: Sequence[Booking]) -> list[Booked]:
        booked = await super().book(bookings)
        if self.loses_answers:
            raise StorageUnavailable
        return booked


async def test_lost_storage_is_told_and_booking_again_is_safe() -> None:
    desk = Desk(LosingStore)
    order_id = await desk.order()
    [claim] = await desk.claim()
    booking = await desk.send(claim)

    assert isinstance(desk.store, LosingStore)
    desk.store.loses_answers = True
    with pytest.raises(StorageUnavailable):
        await desk.record([booking])
    desk.store.loses_answers = False
    [again] = await desk.record([booking])

    assert again.result is BookResult.UNCHANGED
    journal = await desk.store.journal(order_id, after_seq=0, limit=100)
    assert sum(isinstance(entry.event, ev.ExecutionAccepted) for entry in journal) == 1
