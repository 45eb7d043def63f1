import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from pulse_domain.errors import BrokerUnavailable
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import OrderId, tags
from pulse_domain.orders.model import Side, SplitConfig
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase, SliceOutcome, TerminalReason
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus
from pulse_domain.ports.order_store import Tracked
from pulse_domain.testing.factories import TAG_PREFIX
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.scripted_broker import OtherDay, Partial, Unavailable, Unknown
from pulse_domain.use_cases.reconcile import NOT_PROVABLE, PROVEN_ABSENT, ReconcileReport
from tests.unit.use_cases.desk import GIVE_UP_S, LEASE_S, NIFTY, RELIANCE, SETTLE_S, Desk

# A window that is still open when absence is proven.
HOUR = SplitConfig(num_splits=2, duration_minutes=60, randomize=False)


async def unknown(
    desk: Desk, *, took: bool = False, call_ended: bool = True, key: str = "key-1", **request: Any
) -> OrderId:
    """An order whose first execution was sent, and nobody knows what came of it."""
    order_id = await desk.order(key, **{"split_config": HOUR} | request)
    desk.broker.on_place(Unknown(took=took, call_ended=call_ended))
    await desk.send_due()
    if not call_ended:
        # The lease is what bounds a call that is not known to have ended.
        await desk.pass_time(LEASE_S)
    assert (await first(desk, order_id)).phase is Phase.UNKNOWN
    return order_id


async def first(desk: Desk, order_id: OrderId) -> Execution:
    return (await desk.executions(order_id))[0]


async def prove_absent(desk: Desk) -> ReconcileReport:
    """Two complete reads after the settle time; returns what the second led to."""
    await desk.pass_time(SETTLE_S)
    await desk.reconcile()
    await desk.pass_time(30)
    return await desk.reconcile()


# --- presence


async def test_found_by_its_tag_it_is_adopted(desk: Desk) -> None:
    order_id = await unknown(desk, took=True)

    report = await desk.reconcile()

    execution = await first(desk, order_id)
    assert (report.complete, report.facts.applied) == (True, 1)
    assert execution.broker_order_id == desk.row(execution.tag).broker_order_id
    assert execution.status is ExecutionStatus.OPEN


async def test_found_before_the_settle_time_it_is_adopted_too(desk: Desk) -> None:
    order_id = await unknown(desk, took=True, call_ended=False)
    desk.broker.on_read(Partial(rows=1))

    await desk.reconcile()

    assert (await first(desk, order_id)).phase is Phase.LIVE


async def test_found_filled_it_is_filled(desk: Desk) -> None:
    order_id = await unknown(desk, took=True)
    row = desk.row((await first(desk, order_id)).tag)
    desk.broker.fill(row.broker_order_id, 50)

    await desk.reconcile()

    assert (await first(desk, order_id)).status is ExecutionStatus.FILLED


async def test_found_rejected_it_is_rejected(desk: Desk) -> None:
    order_id = await unknown(desk, took=True)
    row = desk.row((await first(desk, order_id)).tag)
    desk.broker.end(row.broker_order_id, BrokerOrderStatus.REJECTED, reason_code="RMS")

    await desk.reconcile()

    execution = await first(desk, order_id)
    assert (execution.status, execution.reason_code) == (ExecutionStatus.REJECTED, "RMS")


async def test_row_that_was_a_stranger_first_is_adopted_later(desk: Desk) -> None:
    accepted = await desk.accept()
    [tag] = tags(TAG_PREFIX, [f"exe_{accepted.order_id[4:]}_1_0"])
    desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=100, tags=[tag])
    assert len((await desk.reconcile()).facts.strangers) == 1
    await desk.split()
    desk.broker.on_place(Unknown(took=False, call_ended=True))
    await desk.send_due()

    for _ in range(2):
        await desk.reconcile()

    execution = await desk.execution(accepted.order_id)
    assert (execution.tag, execution.phase) == (tag, Phase.LIVE)


async def test_appearing_after_one_absence_it_is_adopted(desk: Desk) -> None:
    order_id = await unknown(desk, took=True)
    row = desk.row((await first(desk, order_id)).tag)
    desk.broker.hide(row.broker_order_id, reads=1)
    await desk.pass_time(SETTLE_S)

    await desk.reconcile()
    once_absent = await first(desk, order_id)
    await desk.reconcile()

    assert (once_absent.phase, once_absent.absences) == (Phase.UNKNOWN, 1)
    assert (await first(desk, order_id)).phase is Phase.LIVE
    assert desk.broker.times_sent(once_absent.tag) == 1


async def test_unchanged_rows_are_not_booked_again(desk: Desk) -> None:
    order_id = await unknown(desk, took=True)
    await desk.reconcile()
    before = await desk.view(order_id)

    report = await desk.reconcile()

    assert report.facts.applied == 0
    assert await desk.view(order_id) == before


class CountingStore(InMemoryOrderStore):
    """Counts how often executions are looked up."""

    lookups = 0

    async def find_by_tags(self, tags: Sequence[str]) -> list[Tracked]:
        self.lookups += 1
        return await super().find_by_tags(tags)


async def test_unchanged_rows_cost_no_look_into_the_store() -> None:
    desk = Desk(CountingStore)
    assert isinstance(desk.store, CountingStore)
    order_id = await desk.order()
    await desk.send_due()
    await desk.reconcile()
    row = desk.row((await desk.execution(order_id)).tag)

    await desk.reconcile()
    unchanged = desk.store.lookups
    desk.broker.fill(row.broker_order_id, 40)
    await desk.reconcile()

    assert unchanged == 1
    assert desk.store.lookups == 2


async def test_reconcilers_at_once_book_once(desk: Desk) -> None:
    order_id = await unknown(desk, took=True)

    reports = await asyncio.gather(desk.reconcile(), desk.new_reconcile()())

    assert sum(report.facts.applied for report in reports) == 1
    assert (await first(desk, order_id)).phase is Phase.LIVE


async def test_resting_order_is_followed_to_its_end(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    row = desk.row((await desk.execution(order_id)).tag)

    for quantity in (30, 70):
        desk.broker.fill(row.broker_order_id, quantity)
        await desk.reconcile()

    assert (await desk.view(order_id)).summary.state is OrderState.FILLED


async def test_provisional_total_is_replaced_when_the_trades_can_be_read(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    row = desk.row((await desk.execution(order_id)).tag)
    fill = desk.broker.fill(row.broker_order_id, 100)
    desk.broker.on_trades(Unavailable())

    await desk.reconcile()
    provisional = await desk.execution(order_id)
    await desk.pass_time(5)
    await desk.reconcile()

    assert (provisional.fills, provisional.filled_quantity) == ((), 100)
    assert (await desk.execution(order_id)).fills == (fill,)


# --- absence


async def test_absent_in_two_reads_with_its_call_ended_it_is_released(desk: Desk) -> None:
    order_id = await unknown(desk)

    report = await prove_absent(desk)

    execution = await first(desk, order_id)
    assert report.released == (execution.execution_id,)
    assert (execution.phase, execution.reason) == (Phase.PLANNED, PROVEN_ABSENT)


async def test_absent_in_two_reads_with_a_call_in_the_air_it_fails(desk: Desk) -> None:
    order_id = await unknown(desk, call_ended=False)

    report = await prove_absent(desk)

    [slice_, _] = await desk.store.slices(order_id)
    assert report.failed == (slice_.executions[0].execution_id,)
    assert slice_.outcome is SliceOutcome.FAILED
    assert slice_.executions[0].terminal is TerminalReason.FAILED


async def test_absent_after_its_window_it_fails(desk: Desk) -> None:
    order_id = await unknown(desk, split_config=None)

    report = await prove_absent(desk)

    assert report.failed == ((await first(desk, order_id)).execution_id,)
    assert (await desk.view(order_id)).summary.state is OrderState.FAILED


async def test_one_absence_proves_nothing(desk: Desk) -> None:
    order_id = await unknown(desk)
    await desk.pass_time(SETTLE_S)

    report = await desk.reconcile()

    assert (report.released, report.failed) == ((), ())
    assert (await first(desk, order_id)).phase is Phase.UNKNOWN


async def test_absence_before_the_settle_time_proves_nothing(desk: Desk) -> None:
    order_id = await unknown(desk)

    for _ in range(5):
        await desk.pass_time(SETTLE_S / 5 - 0.1)
        await desk.reconcile()

    execution = await first(desk, order_id)
    assert (execution.phase, execution.absences) == (Phase.UNKNOWN, 0)


async def test_settle_time_of_a_call_in_the_air_counts_from_its_lease(desk: Desk) -> None:
    order_id = await desk.order(split_config=HOUR)
    desk.broker.on_place(Unknown(took=False, call_ended=False))
    await desk.send_due()

    await desk.pass_time(LEASE_S + SETTLE_S - 1)
    await desk.reconcile()
    before = (await first(desk, order_id)).absences
    await desk.pass_time(1)
    await desk.reconcile()

    assert (before, (await first(desk, order_id)).absences) == (0, 1)


async def test_truncated_reads_prove_nothing(desk: Desk) -> None:
    order_id = await unknown(desk)
    await desk.pass_time(SETTLE_S)
    desk.broker.on_read(*[Partial(rows=99)] * 5)

    reports = [await desk.reconcile() for _ in range(5)]

    assert not any(report.complete for report in reports)
    assert (await first(desk, order_id)).absences == 0


async def test_failed_reads_prove_nothing_and_are_told(desk: Desk) -> None:
    order_id = await unknown(desk)
    await desk.pass_time(SETTLE_S)
    desk.broker.on_read(Unavailable(), Unavailable())

    for _ in range(2):
        with pytest.raises(BrokerUnavailable):
            await desk.reconcile()

    assert (await first(desk, order_id)).absences == 0


async def test_reads_that_lack_a_known_order_prove_nothing(desk: Desk) -> None:
    known = await desk.order("known")
    await desk.send_due()
    order_id = await unknown(desk)
    await desk.pass_time(SETTLE_S)
    desk.broker.on_read(OtherDay(), OtherDay())

    reports = [await desk.reconcile() for _ in range(2)]

    assert not any(report.complete for report in reports)
    assert (await desk.execution(known)).phase is Phase.LIVE
    assert (await first(desk, order_id)).absences == 0


async def test_book_of_yesterday_proves_nothing_while_nothing_of_today_is_known(desk: Desk) -> None:
    order_id = await unknown(desk, took=True)
    yesterday = desk.broker.foreign(
        instrument=NIFTY, side=Side.SELL, quantity=75, placed_at=desk.clock.now() - timedelta(days=1)
    )
    desk.broker.on_read(OtherDay((yesterday,)), OtherDay((yesterday,)))

    report = await prove_absent(desk)

    assert report.released == ()
    assert (await first(desk, order_id)).phase is Phase.UNKNOWN


async def test_orders_of_earlier_days_need_not_be_in_the_book(desk: Desk) -> None:
    await desk.order("yesterday")
    await desk.send_due()
    yesterday = desk.broker.rows()[0]
    await desk.pass_time(24 * 3600)
    desk.broker.remove(yesterday.broker_order_id)
    order_id = await unknown(desk)

    await prove_absent(desk)

    assert (await first(desk, order_id)).phase is Phase.PLANNED


async def test_book_of_today_proves_nothing_of_an_order_of_yesterday(desk: Desk) -> None:
    order_id = await unknown(desk, split_config=None)
    await desk.pass_time(24 * 3600)

    report = await prove_absent(desk)

    assert (report.failed, report.released) == ((), ())
    assert (await desk.view(order_id)).summary.state is OrderState.UNRESOLVED


async def test_absences_need_not_be_in_a_row_of_good_reads(desk: Desk) -> None:
    order_id = await unknown(desk)
    await desk.pass_time(SETTLE_S)

    await desk.reconcile()
    desk.broker.on_read(Partial(), Unavailable())
    await desk.reconcile()
    with pytest.raises(BrokerUnavailable):
        await desk.reconcile()
    await desk.pass_time(5)
    report = await desk.reconcile()

    assert report.released == ((await first(desk, order_id)).execution_id,)


async def test_read_begun_in_the_same_instant_is_no_second_read(desk: Desk) -> None:
    order_id = await unknown(desk)
    await desk.pass_time(SETTLE_S)

    await asyncio.gather(desk.reconcile(), desk.new_reconcile()())

    assert (await first(desk, order_id)).phase is Phase.UNKNOWN


# --- look-alikes


async def test_look_alike_keeps_it_unknown(desk: Desk) -> None:
    order_id = await unknown(desk)
    desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=50)

    report = await prove_absent(desk)

    execution = await first(desk, order_id)
    assert report.look_alikes == (execution.execution_id,)
    assert (report.released, report.failed) == ((), ())
    assert execution.phase is Phase.UNKNOWN


async def test_look_alike_with_a_tag_of_its_own_is_a_look_alike(desk: Desk) -> None:
    order_id = await unknown(desk)
    desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=50, tags=["by-hand"])

    report = await prove_absent(desk)

    assert report.look_alikes == ((await first(desk, order_id)).execution_id,)


def _other(**over: Any) -> dict[str, Any]:
    return {"instrument": RELIANCE, "side": Side.BUY, "quantity": 50} | over


@pytest.mark.parametrize(
    "row",
    [
        _other(instrument=NIFTY),
        _other(side=Side.SELL),
        _other(quantity=51),
        _other(tags=["T1" + "Z" * 18]),
        _other(placed_at=timedelta(seconds=-6)),
    ],
    ids=["instrument", "side", "quantity", "tagged as ours", "placed before it was due"],
)
async def test_row_that_cannot_be_it_does_not_keep_it_unknown(desk: Desk, row: dict[str, Any]) -> None:
    order_id = await unknown(desk)
    placed_at = desk.clock.now() + row.pop("placed_at", timedelta(0))
    desk.broker.foreign(**row, placed_at=placed_at)

    report = await prove_absent(desk)

    assert report.look_alikes == ()
    assert (await first(desk, order_id)).phase is Phase.PLANNED


async def test_look_alike_that_never_goes_leaves_it_unresolved(desk: Desk) -> None:
    order_id = await unknown(desk)
    desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=50)
    await desk.pass_time(GIVE_UP_S - 1)
    assert (await desk.reconcile()).unresolved == ()
    await desk.pass_time(1)

    report = await desk.reconcile()

    execution = await first(desk, order_id)
    assert report.unresolved == (execution.execution_id,)
    assert (execution.terminal, execution.reason) == (TerminalReason.UNRESOLVED, NOT_PROVABLE)
    assert execution.status is ExecutionStatus.UNKNOWN


async def test_broker_that_never_shows_a_whole_book_leaves_it_unresolved(desk: Desk) -> None:
    order_id = await unknown(desk, call_ended=False)
    desk.broker.on_read(*[Partial()] * 10)

    for _ in range(10):
        await desk.pass_time(GIVE_UP_S / 9)
        await desk.reconcile()

    [slice_, _] = await desk.store.slices(order_id)
    assert slice_.outcome is SliceOutcome.UNRESOLVED


async def test_after_a_long_outage_a_second_read_that_comes_too_soon_gives_nothing_up(desk: Desk) -> None:
    order_id = await unknown(desk)
    await desk.pass_time(2 * GIVE_UP_S)
    await desk.reconcile()

    await desk.pass_time(1)
    report = await desk.reconcile()

    assert report.unresolved == ()
    await desk.pass_time(30)
    await desk.reconcile()
    assert (await first(desk, order_id)).reason == PROVEN_ABSENT


async def test_unresolved_execution_is_never_sent_again(desk: Desk) -> None:
    order_id = await unknown(desk, split_config=None)
    desk.broker.foreign(instrument=RELIANCE, side=Side.BUY, quantity=100)
    await desk.pass_time(GIVE_UP_S)
    await desk.reconcile()

    summary = (await desk.view(order_id)).summary
    assert (summary.state, summary.done, summary.quantities.unknown) == (OrderState.UNRESOLVED, True, 100)
    assert await desk.claim() == []


# --- late facts


async def failed(desk: Desk) -> tuple[OrderId, BrokerOrder]:
    """Proven absent, and then the call that was in the air arrives."""
    order_id = await unknown(desk, call_ended=False, split_config=None)
    await prove_absent(desk)
    assert (await desk.view(order_id)).summary.state is OrderState.FAILED
    broker_order_id = desk.broker.arrive(desk.broker.tickets[0])
    return order_id, next(row for row in desk.broker.rows() if row.broker_order_id == broker_order_id)


async def test_late_order_corrects_a_failure(desk: Desk) -> None:
    order_id, row = await failed(desk)

    await desk.reconcile()

    execution = await first(desk, order_id)
    assert (execution.phase, execution.broker_order_id) == (Phase.LIVE, row.broker_order_id)
    assert (await desk.view(order_id)).summary.state is OrderState.WORKING


async def test_late_fill_corrects_a_failure(desk: Desk) -> None:
    order_id, row = await failed(desk)
    desk.broker.fill(row.broker_order_id, 100)

    await desk.reconcile()

    summary = (await desk.view(order_id)).summary
    assert (summary.state, summary.quantities.filled) == (OrderState.FILLED, 100)


async def test_late_rejection_corrects_an_unresolved_end(desk: Desk) -> None:
    order_id = await unknown(desk, took=True, split_config=None)
    row = desk.row((await first(desk, order_id)).tag)
    desk.broker.hide(row.broker_order_id, reads=1)
    desk.broker.on_read(Partial())
    await desk.pass_time(GIVE_UP_S)
    await desk.reconcile()
    assert (await desk.view(order_id)).summary.state is OrderState.UNRESOLVED

    desk.broker.end(row.broker_order_id, BrokerOrderStatus.REJECTED, reason_code="RMS")
    await desk.reconcile()

    assert (await desk.view(order_id)).summary.state is OrderState.REJECTED
