import asyncio
from collections.abc import Sequence

import pytest

from pulse_domain.errors import BrokerRejected, NotCancellable, NotFound, StorageUnavailable
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId, ClientId
from pulse_domain.orders.model import SplitConfig
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.ports.order_store import Booked, Booking
from pulse_domain.ports.work_queue import Job, JobKind
from pulse_domain.testing.factories import CLIENT
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.scripted_broker import Accepts, Rejects, ScriptedBroker, Unavailable, Unknown
from pulse_domain.traffic import CallCounts, CallKind, Granted, LaneView, Refused
from pulse_domain.use_cases.cancel import CancelExecutions
from pulse_domain.use_cases.count_calls import CountCalls
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
    cancel = CancelExecutions(desk.store, desk.broker, desk.clock, batch_size=1)

    for _ in range(3):
        await cancel()

    assert (await desk.execution(silent)).phase is Phase.UNKNOWN
    assert len(desk.broker.cancels) >= 1


async def test_many_executions_are_cancelled_in_passes(desk: Desk) -> None:
    order_id = await desk.order(split_config=FOUR)
    await desk.request_cancel(order_id, None, "desk-1")
    cancel = CancelExecutions(desk.store, desk.broker, desk.clock, batch_size=3)

    assert [await cancel() for _ in range(3)] == [3, 1, 0]
    assert (await desk.view(order_id)).summary.state is OrderState.CANCELLED


# --- cancels that are refused


async def test_cancels_that_are_refused_again_and_again_do_not_hold_the_others_up(desk: Desk) -> None:
    await live_orders(desk, 5)
    stuck = {desk.row(tag).broker_order_id for tag in [ticket.tag for ticket in desk.broker.tickets[:3]]}
    asked: list[str] = []

    class Refuses(ScriptedBroker):
        async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
            asked.append(broker_order_id)
            if broker_order_id in stuck:
                raise BrokerRejected("PROCESSING", "it is being worked on")
            await desk.broker.cancel(broker_order_id, timeout_s=timeout_s)

    cancel = CancelExecutions(desk.store, Refuses(desk.clock), desk.clock, batch_size=2)
    for _ in range(40):
        await cancel()
        await desk.reconcile()

    assert len(set(asked)) == 5
    # After 1, 3, 7, 15 passes, each.
    assert all(3 <= asked.count(each) <= 6 for each in stuck)


async def test_refusals_are_forgotten_when_the_order_has_ended(desk: Desk) -> None:
    await live_orders(desk, 1)
    [ticket] = desk.broker.tickets
    row = desk.row(ticket.tag)
    desk.broker.on_cancel(Rejects("PROCESSING"))
    await desk.cancel_executions()
    before = len(desk.cancel_executions._refused)
    desk.broker.fill(row.broker_order_id, row.quantity)
    await desk.reconcile()
    await desk.cancel_executions()

    assert (before, desk.cancel_executions._refused) == (1, {})


# --- leave of the limiter


class Doorman:
    """A limiter that gives leave as it is told to, and keeps what comes back.

    gives: how many calls each asking is let through with; zero is a refusal, and the last is repeated.
    """

    def __init__(self, desk: Desk, *gives: int, fresh_s: float = 60.0) -> None:
        self.asked: list[tuple[CallKind, int]] = []
        self.returned: list[str] = []
        self._desk = desk
        self._gives = list(gives)
        self._fresh_s = fresh_s

    async def acquire(self, kind: CallKind, *, count: int = 1, timeout_s: float) -> Granted | Refused:
        self.asked.append((kind, count))
        given = min(count, self._gives.pop(0) if len(self._gives) > 1 else self._gives[0])
        if not given:
            return Refused(wait_s=1.0)
        tokens = tuple(f"{len(self.asked)}:{number}" for number in range(given))
        return Granted(tokens=tokens, fresh_until=self._desk.clock.monotonic() + self._fresh_s)

    async def give_back(self, tokens: Sequence[str]) -> None:
        self.returned += tokens

    async def peek(self) -> LaneView:
        return LaneView(second=0, minute=0, day=0, waiting=0)

    async def reseed(self, counts: CallCounts) -> None:
        pass

    async def close(self) -> None:
        pass


async def live_orders(desk: Desk, count: int) -> None:
    for number in range(count):
        order_id = await desk.order(f"key-{number}")
        await desk.send_due()
        await desk.request_cancel(order_id, CLIENT, "desk-1")


async def test_cancels_take_leave_for_all_that_is_left(desk: Desk) -> None:
    await live_orders(desk, 4)
    doorman = Doorman(desk, 1, 2, 9)

    assert await CancelExecutions(desk.store, desk.broker, desk.clock, limiter=doorman)() == 4
    assert doorman.asked == [(CallKind.CANCEL, 4), (CallKind.CANCEL, 3), (CallKind.CANCEL, 1)]
    assert len(desk.broker.cancels) == 4


async def test_cancels_without_leave_are_left_to_the_next_pass(desk: Desk) -> None:
    await live_orders(desk, 3)
    cancel = CancelExecutions(desk.store, desk.broker, desk.clock, limiter=Doorman(desk, 2, 0, 9))

    assert (await cancel(), len(desk.broker.cancels)) == (2, 2)
    await desk.reconcile()
    assert (await cancel(), len(desk.broker.cancels)) == (1, 3)


async def test_leave_that_went_stale_between_two_cancels_is_taken_anew(desk: Desk) -> None:
    await live_orders(desk, 3)
    desk.broker.on_cancel(Unknown(took=True, call_ended=True, hangs=True))
    doorman = Doorman(desk, 9, fresh_s=1.0)
    cancelling = asyncio.create_task(CancelExecutions(desk.store, desk.broker, desk.clock, limiter=doorman)())
    await desk.pass_time(10)

    assert await cancelling == 3
    assert (len(doorman.asked), doorman.returned) == (2, ["1:1", "1:2"])


async def test_leave_is_given_back_where_a_cancel_breaks_off(desk: Desk) -> None:
    await live_orders(desk, 3)

    class Breaks(ScriptedBroker):
        async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
            raise ZeroDivisionError

    doorman = Doorman(desk, 9)
    with pytest.raises(ZeroDivisionError):
        await CancelExecutions(desk.store, Breaks(desk.clock), desk.clock, limiter=doorman)()

    assert doorman.returned == ["1:1", "1:2"]


async def test_nothing_to_cancel_asks_for_no_leave(desk: Desk) -> None:
    doorman = Doorman(desk, 9)
    await CancelExecutions(desk.store, desk.broker, desk.clock, limiter=doorman)()

    assert doorman.asked == []


# --- the record of calls


async def test_every_cancel_is_on_record_whatever_came_of_it(desk: Desk) -> None:
    await live_orders(desk, 3)
    desk.broker.on_cancel(Rejects("NOT_NOW"), Unavailable(), Accepts())

    await desk.cancel_executions()

    cancels = [call for call in desk.store.calls if call.operation == "cancel"]
    assert [call.error for call in cancels] == [
        "NOT_NOW: NOT_NOW",
        "REFUSED_CONNECTION: REFUSED_CONNECTION",
        None,
    ]
    assert [call.request["broker_order_id"] for call in cancels] == desk.broker.cancels


async def test_the_record_of_a_cancel_waits_for_a_store_that_is_away(desk: Desk) -> None:
    class Store(InMemoryOrderStore):
        away = False

        async def book(self, bookings: Sequence[Booking]) -> list[Booked]:
            if self.away and any(booking.call for booking in bookings):
                raise StorageUnavailable
            return await super().book(bookings)

    desk = Desk(Store)
    await live_orders(desk, 1)
    Store.away = True
    with pytest.raises(StorageUnavailable):
        await desk.cancel_executions()
    Store.away = False
    await desk.reconcile()
    await desk.cancel_executions()

    assert [call.operation for call in desk.store.calls] == ["place", "cancel"]
    assert len(desk.broker.cancels) == 1


async def test_calls_are_counted_by_minute_and_by_day_in_india(desk: Desk) -> None:
    count = CountCalls(desk.store, desk.clock)
    await live_orders(desk, 2)
    first = await count()
    await desk.pass_time(61)
    await live_orders(desk, 1)
    later = await count()
    # It is half past nine in the morning there.
    await desk.pass_time(14.5 * 3600)

    assert first == CallCounts(last_minute=2, day=2)
    assert later.day == first.day + later.last_minute
    assert await count() == CallCounts()
