import asyncio

import pytest

from pulse_domain.errors import StorageUnavailable, TradingHalted
from pulse_domain.orders.status import ExecutionStatus, OrderState
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.testing.fake_clock import settle
from pulse_domain.testing.scripted_broker import Unknown
from pulse_domain.use_cases.kill import KillTrading
from tests.unit.use_cases.desk import Desk


@pytest.fixture
def kill(desk: Desk) -> KillTrading:
    return KillTrading(desk.store, desk.queue, desk.halt)


async def test_kill_halts_and_cancels_what_is_not_done(desk: Desk, kill: KillTrading) -> None:
    working = await desk.order("k-1")
    await desk.send_due()
    waiting = (await desk.accept("k-2")).order_id
    desk.queue.jobs.clear()

    report = await kill("telegram:7", "fat finger")
    await desk.cancel_executions()
    await desk.reconcile()

    assert report.cancelled == 2
    assert (report.halt.state.halted, report.halt.state.changed_by, report.halt.state.reason) == (
        True, "telegram:7", "fat finger",
    )  # fmt: skip
    assert {(job.kind, job.order_id) for job in desk.queue.jobs} == {
        (JobKind.CANCEL_ORDER, working),
        (JobKind.CANCEL_ORDER, waiting),
    }
    assert (await desk.execution(working)).status is ExecutionStatus.CANCELLED
    view = await desk.store.get(waiting)
    assert view is not None
    assert view.summary.state is OrderState.CANCELLED
    with pytest.raises(TradingHalted):
        await desk.accept("k-3")


async def test_kill_again_changes_nothing_more(desk: Desk, kill: KillTrading) -> None:
    order_id = await desk.order()
    await kill("operator", "one")
    journal = await desk.store.journal(order_id, after_seq=0, limit=100)

    report = await kill("operator", "two")

    assert report.cancelled == 0
    assert report.halt.state.halted
    assert await desk.store.journal(order_id, after_seq=0, limit=100) == journal


async def test_kill_of_an_idle_system_is_a_halt(desk: Desk, kill: KillTrading) -> None:
    report = await kill("operator", "drill")

    assert (report.halt.state.halted, report.cancelled) == (True, 0)


async def test_more_orders_than_one_look_holds_are_all_cancelled(
    desk: Desk, kill: KillTrading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulse_domain.use_cases.kill._BATCH", 3)
    for number in range(10):
        await desk.accept(f"k-{number}")

    assert (await kill("operator", "all of them")).cancelled == 10
    assert await desk.store.open_orders(100) == []


async def test_kill_that_was_cut_off_leaves_the_halt_and_is_completed_by_the_next(
    desk: Desk, kill: KillTrading, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        await desk.accept(f"k-{number}")
    request_cancel, asked = desk.store.request_cancel, list[str]()

    async def cut_off_at_the_third(order_id: str, requested_by: str) -> object:
        if len(asked) == 2:
            raise StorageUnavailable()
        asked.append(order_id)
        return await request_cancel(order_id, requested_by)  # type: ignore[arg-type]  # as it was given

    with monkeypatch.context() as patched:
        patched.setattr(desk.store, "request_cancel", cut_off_at_the_third)
        with pytest.raises(StorageUnavailable):
            await kill("operator", "first try")

    assert (await desk.store.trading_state()).halted
    assert (await kill("operator", "second try")).cancelled == 2


async def test_cancels_do_not_wait_for_a_placement_that_hangs_and_its_order_is_cancelled_when_it_is_known(
    desk: Desk, kill: KillTrading
) -> None:
    working = await desk.order("k-1")
    await desk.send_due()
    hanging = await desk.order("k-2")
    desk.broker.on_place(Unknown(took=True, call_ended=True, hangs=True))
    [claim] = await desk.claim()
    sending = asyncio.create_task(desk.send(claim))
    await settle()

    killing = asyncio.create_task(kill("operator", "now"))
    await settle()
    asked = {job.order_id for job in desk.queue.jobs if job.kind is JobKind.CANCEL_ORDER}
    await desk.cancel_executions()
    await desk.reconcile()
    still = killing.done()
    await desk.pass_time(3)
    report = await killing
    await desk.pass_time(10)
    await desk.record([await sending])
    for _ in range(2):
        await desk.reconcile()
        await desk.cancel_executions()

    assert (asked, still) == ({working, hanging}, False)
    assert [each.execution_id for each in report.halt.in_flight] == [claim.execution.execution_id]
    assert report.cancelled == 2
    for order_id in (working, hanging):
        assert (await desk.execution(order_id)).status is ExecutionStatus.CANCELLED


@pytest.mark.parametrize("canceller", ["before the answer", "after it"])
async def test_a_placement_that_is_answered_while_the_kill_waits_is_cancelled(
    desk: Desk, kill: KillTrading, canceller: str
) -> None:
    order_id = await desk.order()
    [claim] = await desk.claim()
    killing = asyncio.create_task(kill("operator", "now"))
    await settle()

    if canceller == "before the answer":
        await desk.cancel_executions()
    await desk.record([await desk.send(claim)])
    if canceller == "after it":
        await desk.cancel_executions()
    await desk.reconcile()
    await desk.pass_time(0.2)

    assert killing.done()
    assert (await killing).halt.in_flight == ()
    assert (await desk.execution(order_id)).status is ExecutionStatus.CANCELLED
