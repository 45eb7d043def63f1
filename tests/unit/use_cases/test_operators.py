"""What operators do: pause and resume an order, resolve an execution, compare with the broker."""

import pytest

from pulse_domain.errors import NotFound, NotPausable, NotResolvable, ReconcileRequired
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import FOUND_BY_HAND, UNPLANNED, Execution
from pulse_domain.orders.ids import BrokerOrderId, OrderId, execution_id, place_of, slice_id
from pulse_domain.orders.model import Side, SplitConfig
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase, TerminalReason
from pulse_domain.ports.broker import BrokerOrder
from pulse_domain.ports.work_queue import Job, JobKind
from pulse_domain.testing.factories import TAG_PREFIX
from pulse_domain.testing.scripted_broker import Partial, Unavailable, Unknown
from pulse_domain.use_cases.execute import ticket_of
from pulse_domain.use_cases.pause import PauseOrder
from pulse_domain.use_cases.resolve import ResolveExecution, Word
from pulse_domain.use_cases.review import InspectBook, ReviewTrading
from tests.unit.use_cases.desk import GIVE_UP_S, GRACE_S, RELIANCE, Desk

HOUR = SplitConfig(num_splits=2, duration_minutes=60, randomize=False)
ABSENT = Word(broker_order_id=None, resolved_by="asha", note="not on their page")


def found(broker_order_id: str) -> Word:
    return Word(broker_order_id=BrokerOrderId(broker_order_id), resolved_by="asha", note="on their page")


async def unknown(desk: Desk, key: str = "key-1", *, took: bool = True) -> OrderId:
    """An order whose only execution was sent, and nobody knows what came of it."""
    order_id = await desk.order(key)
    desk.broker.on_place(Unknown(took=took, call_ended=False))
    await desk.send_due()
    assert (await desk.execution(order_id)).phase is Phase.UNKNOWN
    return order_id


async def unresolved(desk: Desk, key: str = "key-1", *, took: bool = True) -> OrderId:
    order_id = await unknown(desk, key, took=took)
    desk.broker.on_read(Partial(rows=0))
    await desk.pass_time(GIVE_UP_S + 600)
    await desk.reconcile()
    assert (await desk.execution(order_id)).terminal is TerminalReason.UNRESOLVED
    return order_id


def hide_tag(desk: Desk, execution: Execution) -> BrokerOrder:
    """Let the broker lose the tag of an order, as when somebody entered it again by hand."""
    row = desk.row(execution.tag)
    desk.broker.edit(row.broker_order_id, tags=())
    return row


# --- pausing


async def test_paused_order_is_not_sent_and_goes_on_when_it_is_resumed(desk: Desk) -> None:
    order_id = await desk.order()
    pause = PauseOrder(desk.store, desk.queue)

    view = await pause.pause(order_id, "asha")
    assert await desk.send_due() == []
    again = await pause.pause(order_id, "ravi")
    resumed = await pause.resume(order_id, "asha")

    assert (view.order.paused_at, again.last_seq) == (desk.clock.now(), view.last_seq)
    assert resumed.order.paused_at is None
    assert len(await desk.send_due()) == 1
    assert desk.queue.jobs[-1] == Job(JobKind.SPLIT_ORDER, order_id)
    assert (await pause.resume(order_id, "asha")).order.paused_at is None


async def test_what_a_paused_window_leaves_behind_expires(desk: Desk) -> None:
    order_id = await desk.order(split_config=HOUR)
    await desk.send_due()
    await PauseOrder(desk.store, desk.queue).pause(order_id, "asha")

    await desk.pass_time(3600 + GRACE_S + 1)
    assert await desk.send_due() == []
    report = await desk.monitor()

    assert report.lapsed == 1
    assert (await desk.executions(order_id))[1].status is ExecutionStatus.EXPIRED


async def test_order_that_was_paused_before_its_split_expires_with_its_window(desk: Desk) -> None:
    accepted = await desk.accept(split_config=HOUR)
    await PauseOrder(desk.store, desk.queue).pause(accepted.order_id, "asha")
    assert (await desk.split()).seen == 0

    await desk.pass_time(3600 + GRACE_S + 1)
    assert (await desk.split()).saved == (accepted.order_id,)
    await desk.monitor()

    assert (await desk.view(accepted.order_id)).summary.state is OrderState.EXPIRED
    assert desk.broker.rows() == []


async def test_done_and_unknown_orders_are_not_paused(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.request_cancel(order_id, None, "desk-1")
    await desk.cancel_executions()
    pause = PauseOrder(desk.store, desk.queue)

    with pytest.raises(NotPausable):
        await pause.pause(order_id, "asha")
    for operation in (pause.pause, pause.resume):
        with pytest.raises(NotFound):
            await operation(desk.ids.order_id(), "asha")


# --- resolving


@pytest.mark.parametrize("make", [unknown, unresolved])
async def test_found_by_a_person_it_takes_what_the_broker_says_of_that_id(desk: Desk, make) -> None:
    order_id = await make(desk)
    execution = await desk.execution(order_id)
    row = hide_tag(desk, execution)
    await desk.reconcile()  # the row is seen, and nobody's, and does not change any more
    desk.broker.fill(row.broker_order_id, 100)
    await desk.reconcile()
    assert (await desk.execution(order_id)).broker_order_id is None

    resolved = await ResolveExecution(desk.store, desk.queue)(order_id, found(row.broker_order_id))
    await desk.reconcile()

    assert (resolved.phase, resolved.broker_order_id) == (Phase.LIVE, row.broker_order_id)
    assert FOUND_BY_HAND in resolved.flags
    assert "asha" in (resolved.reason or "")
    view = await desk.view(order_id)
    assert (view.summary.state, view.summary.quantities.filled) == (OrderState.FILLED, 100)
    assert len((await desk.execution(order_id)).fills) == 1
    assert Job(JobKind.RECONCILE, order_id) in desk.queue.jobs


async def test_pushed_update_reaches_what_a_person_named(desk: Desk) -> None:
    order_id = await unresolved(desk)
    row = hide_tag(desk, await desk.execution(order_id))
    await ResolveExecution(desk.store, desk.queue)(order_id, found(row.broker_order_id))

    fill = desk.broker.fill(row.broker_order_id, 40)
    [update] = [r for r in desk.broker.rows() if r.broker_order_id == row.broker_order_id]
    await desk.facts([update])

    assert (await desk.execution(order_id)).fills == (fill,)


async def test_wrong_id_leaves_reads_of_the_book_complete(desk: Desk) -> None:
    order_id = await unresolved(desk)
    await ResolveExecution(desk.store, desk.queue)(order_id, found("MISTYPED-1"))

    assert (await desk.new_reconcile()()).complete


async def test_absent_it_is_closed_and_never_sent_again(desk: Desk) -> None:
    order_id = await unresolved(desk, took=False)
    resolve = ResolveExecution(desk.store, desk.queue)

    resolved = await resolve(order_id, ABSENT)
    again = await resolve(resolved.execution_id, ABSENT)

    assert (resolved.terminal, again) == (TerminalReason.FAILED, resolved)
    assert resolved.reason == "absent, says asha: not on their page"
    assert (await desk.view(order_id)).summary.state is OrderState.FAILED
    assert await desk.send_due() == []
    [told] = [
        entry.event
        for entry in await desk.store.journal(order_id, after_seq=0, limit=100)
        if isinstance(entry.event, ev.ExecutionResolvedAbsent)
    ]
    assert (told.resolved_by, told.note) == ("asha", "not on their page")


async def test_what_the_broker_says_later_corrects_a_persons_word(desk: Desk) -> None:
    order_id = await unresolved(desk)
    await ResolveExecution(desk.store, desk.queue)(order_id, ABSENT)

    await desk.new_reconcile()()

    assert (await desk.execution(order_id)).phase is Phase.LIVE


async def test_persons_mistake_is_mended_by_naming_the_execution(desk: Desk) -> None:
    order_id = await unresolved(desk)
    row = hide_tag(desk, await desk.execution(order_id))
    resolve = ResolveExecution(desk.store, desk.queue)
    closed = await resolve(order_id, ABSENT)

    reopened = await resolve(closed.execution_id, found(row.broker_order_id))
    repeated = await resolve(closed.execution_id, found(row.broker_order_id))

    assert reopened.phase is Phase.LIVE
    assert repeated == reopened


async def test_nothing_else_can_be_resolved(desk: Desk) -> None:
    live = await desk.order("live")
    await desk.send_due()
    planned = await desk.order("planned")
    resolve = ResolveExecution(desk.store, desk.queue)

    for order_id in (live, planned):
        name = (await desk.execution(order_id)).execution_id
        for word in (ABSENT, found("B-99")):
            with pytest.raises(NotResolvable):
                await resolve(name, word)
            with pytest.raises(NotResolvable, match="no execution is in doubt"):
                await resolve(order_id, word)
    for name in (desk.ids.order_id(), "exe_nonsense", execution_id(live, 7, 0), slice_id(live, 7), ""):
        with pytest.raises(NotFound):
            await resolve(name, ABSENT)


async def test_several_in_doubt_have_to_be_named(desk: Desk) -> None:
    order_id = await desk.order(split_config=HOUR)
    for _ in range(2):
        desk.broker.on_place(Unknown(took=False, call_ended=False))
        await desk.send_due()
        await desk.pass_time(3600)
    resolve = ResolveExecution(desk.store, desk.queue)
    first, second = await desk.executions(order_id)

    with pytest.raises(NotResolvable) as refused:
        await resolve(order_id, ABSENT)
    await resolve(slice_id(order_id, 2), ABSENT)

    assert refused.value.details["executions"] == [first.execution_id, second.execution_id]
    assert [e.terminal for e in await desk.executions(order_id)] == [None, TerminalReason.FAILED]


async def test_broker_order_id_of_another_execution_is_refused(desk: Desk) -> None:
    other = await desk.order("other")
    await desk.send_due()
    order_id = await unresolved(desk)
    resolve = ResolveExecution(desk.store, desk.queue)
    taken = (await desk.execution(other)).broker_order_id or ""

    with pytest.raises(NotResolvable, match="another execution"):
        await resolve(order_id, found(taken))

    assert (await desk.execution(order_id)).terminal is TerminalReason.UNRESOLVED


async def test_found_after_a_cancel_was_asked_it_is_cancelled(desk: Desk) -> None:
    order_id = await unknown(desk)
    row = hide_tag(desk, await desk.execution(order_id))
    await desk.request_cancel(order_id, None, "desk-1")
    await desk.cancel_executions()
    await ResolveExecution(desk.store, desk.queue)(order_id, found(row.broker_order_id))

    await desk.cancel_executions()
    await desk.reconcile()

    assert (await desk.view(order_id)).summary.state is OrderState.CANCELLED


@pytest.mark.parametrize(
    "text", ["ord_1", "exe_" + "0" * 26, "slc_" + "Z" * 26 + "_1", "exe_" + "0" * 26 + "_0_0"]
)
def test_what_is_no_id_names_nothing(text: str) -> None:
    assert place_of(text) is None


def test_ids_name_their_places(desk: Desk) -> None:
    order_id = desk.ids.order_id()

    assert place_of(order_id) == (order_id, None, None)
    assert place_of(slice_id(order_id, 12)) == (order_id, 12, None)
    assert place_of(execution_id(order_id, 3, 14)) == (order_id, 3, 14)


# --- comparing


async def look(desk: Desk, inspect: InspectBook) -> str | None:
    return await inspect(await desk.new_reconcile()())


def stranger(desk: Desk) -> BrokerOrder:
    """An order of ours that no execution explains."""
    return desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=40, tags=[TAG_PREFIX + 18 * "X"])


async def placed(desk: Desk, key: str) -> Execution:
    order_id = await desk.order(key)
    await desk.send_due()
    return await desk.execution(order_id)


async def test_book_that_agrees_halts_nothing(desk: Desk) -> None:
    await placed(desk, "key-1")

    assert await look(desk, InspectBook(desk.store, "worker-1")) is None

    kept = await desk.store.findings()
    assert kept is not None
    assert (kept.complete, kept.strangers) == (True, ())
    assert not (await desk.store.trading_state()).halted


async def test_stranger_in_the_first_complete_look_halts_until_it_is_confirmed(desk: Desk) -> None:
    row = stranger(desk)
    inspect = InspectBook(desk.store, "worker-1")
    desk.broker.on_read(Partial(rows=1))
    assert await look(desk, inspect) is None, "an incomplete look judges nothing"

    reason = await look(desk, inspect)

    assert reason is not None
    assert reason.startswith(
        f"STRANGERS: the broker has orders of ours that we do not know: {row.broker_order_id}"
    )
    state = await desk.store.trading_state()
    assert (state.halted, state.needs_reconcile, state.reason) == (True, True, reason)
    review = ReviewTrading(desk.store, desk.queue)
    shown = await review.look()
    assert shown.findings is not None
    assert [it.broker_order_id for it in shown.findings.strangers] == [row.broker_order_id]
    assert Job(JobKind.RECONCILE) in desk.queue.jobs
    with pytest.raises(ReconcileRequired):
        await desk.resume("operator", "go on")

    await review.confirm("asha", "closed by hand")

    assert await look(desk, InspectBook(desk.store, "worker-2")) is None
    assert not (await desk.store.trading_state()).halted


async def test_stranger_that_comes_later_is_told_and_halts_nothing(desk: Desk) -> None:
    inspect = InspectBook(desk.store, "worker-1")
    await look(desk, inspect)
    row = stranger(desk)

    assert await look(desk, inspect) is None

    kept = await desk.store.findings()
    assert kept is not None
    assert [it.broker_order_id for it in kept.strangers] == [row.broker_order_id]
    assert not (await desk.store.trading_state()).halted


@pytest.mark.parametrize("pushed", [False, True])
async def test_order_that_was_never_sent_as_far_as_we_knew_halts(desk: Desk, pushed: bool) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unavailable())
    [claim] = await desk.claim()
    await desk.record([await desk.send(claim)])
    execution = await desk.execution(order_id)
    assert execution.phase is Phase.PLANNED
    desk.broker.arrive(ticket_of(claim))
    inspect = InspectBook(desk.store, "worker-1")
    if pushed:
        inspect.saw(await desk.facts(desk.broker.rows()))

    reason = await look(desk, inspect)

    assert reason is not None
    assert reason.startswith("UNPLANNED: ")
    assert execution.execution_id in reason
    shown = await ReviewTrading(desk.store, desk.queue).look()
    assert [t.execution.execution_id for t in shown.in_doubt] == [execution.execution_id]
    assert UNPLANNED in shown.in_doubt[0].execution.flags


async def test_restored_store_is_halted_and_the_next_look_is_the_first(desk: Desk) -> None:
    inspect = InspectBook(desk.store, "worker-1")
    assert not await inspect.store_is_another()
    await look(desk, inspect)
    stranger(desk)
    desk.store.identity = "restored"

    assert await inspect.store_is_another()
    assert await desk.send_due() == []
    state = await desk.store.trading_state()
    assert (state.needs_reconcile, (state.reason or "").partition(":")[0]) == (True, "RESTORED")
    reason = await look(desk, inspect)

    assert reason is not None
    assert (await desk.store.trading_state()).reason == state.reason, "once halted, the first reason stays"
