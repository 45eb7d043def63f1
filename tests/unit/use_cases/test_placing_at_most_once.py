"""The protocol of placing at most once, told as stories and then shaken at random."""

from random import Random

import pytest

from pulse_domain.orders.journal import replay
from pulse_domain.orders.model import SplitConfig
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase, SliceStage, TerminalReason
from pulse_domain.orders.summary import summarise_history
from pulse_domain.ports.broker import BrokerOrderStatus
from pulse_domain.ports.order_store import Claim
from pulse_domain.testing.contracts.order_store import as_accepted, check_history
from pulse_domain.testing.memory_store import InMemoryPresence
from pulse_domain.testing.scripted_broker import (
    Accepts,
    CallOutcome,
    NoTrades,
    OtherDay,
    Partial,
    ReadOutcome,
    Rejects,
    TradesOutcome,
    Unavailable,
    Unknown,
)
from tests.unit.use_cases.desk import GIVE_UP_S, GRACE_S, LEASE_S, SETTLE_S, Desk

HOUR = SplitConfig(num_splits=2, duration_minutes=60, randomize=False)


async def test_crash_before_the_claim_leaves_it_to_anyone(desk: Desk) -> None:
    order_id = await desk.order()

    # Nothing is owned by a worker that has not claimed: the next one simply sends it.
    await desk.send_due()

    assert (await desk.execution(order_id)).phase is Phase.LIVE


async def test_crash_between_claim_and_send_is_never_sent_again(desk: Desk) -> None:
    order_id = await desk.order(split_config=HOUR)
    [claim] = await desk.claim()
    await desk.pass_time(LEASE_S)

    await desk.monitor()
    for _ in range(3):
        await desk.pass_time(SETTLE_S)
        assert await desk.claim() == []
        await desk.reconcile()

    # It may have been sent: the worker never told, so absence cannot make it safe to send it again.
    [first, second] = await desk.store.slices(order_id)
    assert first.executions[0].status is ExecutionStatus.REJECTED
    assert first.stage is SliceStage.PROCESSED
    assert desk.broker.times_sent(claim.execution.tag) == 0
    await desk.pass_time(3600 - LEASE_S - 3 * SETTLE_S)
    await desk.send_due()
    assert [ticket.tag for ticket in desk.broker.tickets] == [second.executions[0].tag]


async def test_what_a_dead_executor_claimed_and_never_sent_is_sent_by_another(desk: Desk) -> None:
    order_id = await desk.order(split_config=HOUR)
    presence = InMemoryPresence(desk.store, "executor-1")
    await presence.hold()
    [claim] = await desk.claim()
    await presence.release()  # killed
    await desk.pass_time(LEASE_S)
    await desk.monitor()

    for _ in range(3):
        await desk.pass_time(SETTLE_S)
        assert await desk.claim() == []
        await desk.reconcile()
    await desk.send_due()

    [first, _] = await desk.store.slices(order_id)
    assert first.executions[0].status is ExecutionStatus.OPEN
    assert first.executions[0].attempt == 2
    assert desk.broker.times_sent(claim.execution.tag) == 1


async def test_what_a_dead_executor_had_sent_is_found_and_not_sent_again(desk: Desk) -> None:
    await desk.order(split_config=HOUR)
    presence = InMemoryPresence(desk.store, "executor-1")
    await presence.hold()
    [claim] = await desk.claim()
    await desk.send(claim)
    await presence.release()
    await desk.pass_time(LEASE_S)
    await desk.monitor()

    for _ in range(3):
        await desk.pass_time(SETTLE_S)
        await desk.reconcile()
        await desk.send_due()

    assert desk.broker.times_sent(claim.execution.tag) == 1


@pytest.mark.parametrize("fate", ["stopped", "forgotten"])
async def test_without_proof_of_death_nothing_is_sent_again(desk: Desk, fate: str) -> None:
    # A stopped process keeps its lock; and a store that began a new life knows of nobody's end.
    await desk.order(split_config=HOUR)
    presence = InMemoryPresence(desk.store, "executor-1")
    await presence.hold()
    [claim] = await desk.claim()
    if fate == "forgotten":
        await presence.release()
        desk.store.forget_executors()
    await desk.pass_time(LEASE_S)
    await desk.monitor()

    for _ in range(3):
        await desk.pass_time(SETTLE_S)
        await desk.reconcile()
        await desk.send_due()

    assert desk.broker.times_sent(claim.execution.tag) == 0


async def test_an_order_of_a_day_that_the_book_has_dropped_is_closed_as_unresolved(desk: Desk) -> None:
    order_id = await desk.order()
    await desk.send_due()
    await desk.reconcile()
    resting = await desk.execution(order_id)
    assert resting.status is ExecutionStatus.OPEN
    await desk.pass_time(21 * 3600)
    desk.broker.remove(desk.row(resting.tag).broker_order_id)

    report = await desk.reconcile()

    execution = await desk.execution(order_id)
    assert report.unresolved == (execution.execution_id,)
    assert (execution.terminal, execution.reason) == (TerminalReason.UNRESOLVED, "DAY_OVER")
    assert (await desk.view(order_id)).summary.state is OrderState.UNRESOLVED
    assert (await desk.reconcile()).unresolved == ()


async def test_crash_between_send_and_record_is_found_by_its_tag(desk: Desk) -> None:
    order_id = await desk.order()
    [claim] = await desk.claim()
    await desk.send(claim)  # the worker dies before it can record the answer

    assert await desk.claim() == []
    await desk.pass_time(LEASE_S)
    await desk.monitor()
    lost = await desk.execution(order_id)
    await desk.reconcile()

    execution = await desk.execution(order_id)
    assert lost.status is ExecutionStatus.UNKNOWN
    assert execution.broker_order_id == desk.row(claim.execution.tag).broker_order_id
    assert execution.status is ExecutionStatus.OPEN
    assert desk.broker.times_sent(claim.execution.tag) == 1


async def test_answer_may_be_read_from_the_book_before_the_lease_ends(desk: Desk) -> None:
    order_id = await desk.order()
    [claim] = await desk.claim()
    booking = await desk.send(claim)

    await desk.reconcile()
    adopted = await desk.execution(order_id)
    await desk.record([booking])

    assert adopted.phase is Phase.LIVE
    assert await desk.execution(order_id) == adopted


async def test_lost_order_is_sent_again_with_the_same_tag_once_absence_is_proven(desk: Desk) -> None:
    order_id = await desk.order(split_config=HOUR)
    desk.broker.on_place(Unknown(took=False, call_ended=True))
    await desk.send_due()
    tag = desk.broker.tickets[0].tag

    await desk.pass_time(SETTLE_S)
    await desk.reconcile()
    assert await desk.send_due() == []
    await desk.pass_time(30)
    await desk.reconcile()
    await desk.send_due()

    execution = (await desk.executions(order_id))[0]
    assert desk.broker.times_sent(tag) == 2
    assert len(desk.broker.rows(tag)) == 1
    assert (execution.attempt, execution.phase) == (2, Phase.LIVE)


async def test_lost_order_whose_call_may_still_be_in_the_air_is_not_sent_again(desk: Desk) -> None:
    order_id = await desk.order(split_config=HOUR)
    desk.broker.on_place(Unknown(took=False, call_ended=False))
    await desk.send_due()
    tag = desk.broker.tickets[0].tag

    await desk.pass_time(LEASE_S + SETTLE_S)
    for _ in range(2):
        await desk.pass_time(30)
        await desk.reconcile()
    await desk.send_due()

    assert desk.broker.times_sent(tag) == 1
    assert (await desk.executions(order_id))[0].status is ExecutionStatus.REJECTED
    # And should it arrive after all, it is taken in.
    desk.broker.arrive(desk.broker.tickets[0])
    await desk.reconcile()
    assert (await desk.executions(order_id))[0].status is ExecutionStatus.OPEN


async def test_order_that_shows_late_is_not_taken_for_absent(desk: Desk) -> None:
    order_id = await desk.order(split_config=HOUR)
    desk.broker.on_place(Unknown(took=True, call_ended=True))
    await desk.send_due()
    row = desk.row(desk.broker.tickets[0].tag)
    desk.broker.hide(row.broker_order_id, reads=3)

    for _ in range(4):
        await desk.pass_time(30)
        await desk.reconcile()

    execution = (await desk.executions(order_id))[0]
    assert (execution.phase, execution.broker_order_id) == (Phase.LIVE, row.broker_order_id)
    assert desk.broker.times_sent(execution.tag) == 1


async def test_bad_reads_prove_nothing_however_many(desk: Desk) -> None:
    await desk.order("known")
    await desk.send_due()
    order_id = await desk.order("lost", split_config=HOUR)
    desk.broker.on_place(Unknown(took=True, call_ended=True))
    await desk.send_due()
    await desk.pass_time(SETTLE_S)
    desk.broker.on_read(OtherDay(), Partial(), OtherDay(), Partial(rows=1), OtherDay())

    for _ in range(5):
        await desk.reconcile()
        await desk.pass_time(30)
    lost = (await desk.executions(order_id))[0]
    await desk.reconcile()

    assert (lost.phase, lost.absences) == (Phase.UNKNOWN, 0)
    assert (await desk.executions(order_id))[0].phase is Phase.LIVE


async def test_look_alike_leaves_it_to_a_person_and_a_late_fact_settles_it(desk: Desk) -> None:
    order_id = await desk.order()
    desk.broker.on_place(Unknown(took=True, call_ended=True))
    await desk.send_due()
    tag = desk.broker.tickets[0].tag
    # The broker dropped the tag: nobody can tell that this is ours.
    row = desk.broker.edit(desk.row(tag).broker_order_id, tags=())

    for _ in range(int(GIVE_UP_S / 60)):
        await desk.pass_time(60)
        await desk.reconcile()
    assert (await desk.view(order_id)).summary.state is OrderState.UNRESOLVED
    desk.broker.edit(row.broker_order_id, tags=(tag,))
    desk.broker.fill(row.broker_order_id, 100)
    await desk.reconcile()

    assert (await desk.view(order_id)).summary.state is OrderState.FILLED
    assert desk.broker.times_sent(tag) == 1


async def test_order_found_after_its_cancel_is_cancelled_at_the_broker(desk: Desk) -> None:
    order_id = await desk.order()
    [claim] = await desk.claim()
    await desk.request_cancel(order_id, None, "desk-1")
    await desk.cancel_executions()
    await desk.send(claim)  # the worker dies here
    await desk.pass_time(LEASE_S)

    await desk.monitor()
    await desk.reconcile()
    await desk.monitor()
    await desk.reconcile()

    assert (await desk.view(order_id)).summary.state is OrderState.CANCELLED
    assert desk.broker.cancels == [desk.row(claim.execution.tag).broker_order_id]


async def test_late_slices_inside_the_window_go_out_spaced_and_later_ones_never(desk: Desk) -> None:
    config = SplitConfig(num_splits=4, duration_minutes=30, randomize=False)
    order_id = await desk.order(split_config=config)
    await desk.pass_time(24 * 60)

    # Three are late, and six minutes are left: one goes at once, the others two minutes apart.
    counts = []
    for _ in range(3):
        await desk.send_due()
        counts.append(len(desk.broker.tickets))
        await desk.pass_time(119)
        await desk.send_due()
        counts.append(len(desk.broker.tickets))
        await desk.pass_time(1)
    await desk.pass_time(GRACE_S)
    await desk.monitor()
    await desk.send_due()

    assert counts == [1, 1, 2, 2, 3, 3]
    assert [execution.status for execution in await desk.executions(order_id)] == [
        *[ExecutionStatus.OPEN] * 3, ExecutionStatus.EXPIRED,
    ]  # fmt: skip


async def test_restored_backup_learns_from_the_book_what_was_sent(desk: Desk) -> None:
    # The store forgot the claim and all that followed; the broker has the order.
    order_id = await desk.order()
    tag = (await desk.execution(order_id)).tag
    desk.broker.foreign(
        instrument=(await desk.view(order_id)).order.request.instrument,
        side=(await desk.view(order_id)).order.request.side,
        quantity=100,
        tags=[tag],
    )

    report = await desk.reconcile()
    await desk.send_due()

    assert [t.execution.tag for t in report.facts.flagged] == [tag]
    assert desk.broker.tickets == []


# --- at random


class Storm:
    """A desk on a bad day: calls fail in every way, workers die, reads lie within what brokers do."""

    def __init__(self, seed: int) -> None:
        self.desk = Desk()
        self.rng = Random(seed)

    async def round(self) -> None:
        desk, rng = self.desk, self.rng
        for claim in await desk.claim():
            await self._send(claim)
        self._trade()
        if rng.random() < 0.02:
            view = rng.choice((await desk.store.list_orders(None, limit=50))[:-1])
            if not view.summary.done:
                await desk.request_cancel(view.order.order_id, None, "desk-1")
        if rng.random() < 0.7:
            trades: list[TradesOutcome] = [Accepts(), NoTrades(), Unavailable()]
            reads: list[ReadOutcome] = [Accepts(), Accepts(), Accepts(), Partial(), OtherDay()]
            desk.broker.on_trades(rng.choice(trades))
            desk.broker.on_read(rng.choice(reads))
            await desk.reconcile()
        if rng.random() < 0.5:
            await desk.monitor()
        await desk.pass_time(rng.uniform(5, 25))

    async def _send(self, claim: Claim) -> None:
        desk, rng = self.desk, self.rng
        if rng.random() < 0.1:
            return  # the worker dies between claim and send
        outcomes: list[CallOutcome] = [
            Accepts(), Accepts(), Rejects("MARGIN"), Unavailable(), Unavailable(),
            Unknown(took=True, call_ended=True), Unknown(took=True, call_ended=False),
            Unknown(took=False, call_ended=True), Unknown(took=False, call_ended=False),
        ]  # fmt: skip
        outcome = rng.choice(outcomes)
        desk.broker.on_place(outcome)
        booking = await desk.send(claim)
        if isinstance(outcome, Unknown) and not outcome.took and not outcome.call_ended and rng.random() < 0.5:
            desk.broker.arrive(desk.broker.tickets[-1])  # it was in the air
        for row in desk.broker.rows(claim.execution.tag):
            # At most 50 s until it shows: less than the settle time.
            desk.broker.hide(row.broker_order_id, reads=rng.choice([0, 0, 1, 2]))
        if rng.random() < 0.2:
            return  # the worker dies before it records the outcome
        await desk.record([booking] * rng.choice([1, 1, 2]))

    def _trade(self) -> None:
        for row in self.desk.broker.rows():
            if row.quantity == 1 or row.status is not BrokerOrderStatus.OPEN or self.rng.random() < 0.7:
                continue
            rest = row.quantity - row.filled_quantity
            self.desk.broker.fill(row.broker_order_id, self.rng.choice([rest, (rest + 1) // 2]), "100.05")

    async def calm_down(self) -> None:
        """Everything answers again, and time goes on until nothing is left to happen."""
        desk = self.desk
        for _ in range(80):
            await desk.send_due()
            await desk.reconcile()
            await desk.monitor()
            await desk.pass_time(60)


@pytest.mark.parametrize("seed", range(25))
async def test_no_tag_is_ever_at_the_broker_twice_whatever_fails(seed: int) -> None:
    storm = Storm(seed)
    desk = storm.desk
    # With one order known to rest at the broker, a book of another day gives itself away.
    await desk.order("known", total_quantity=1)
    await desk.send_due()
    config = SplitConfig(num_splits=6, duration_minutes=20)
    order_ids = [await desk.order(f"k-{i}", total_quantity=120, split_config=config) for i in range(4)]

    for _ in range(80):
        await storm.round()
    await storm.calm_down()

    for order_id in order_ids:
        history = await check_history(desk.store, order_id)
        executions = [e for slice_ in history.slices for e in slice_.executions]
        for execution in executions:
            rows = desk.broker.rows(execution.tag)
            assert len(rows) <= 1
            assert [row.broker_order_id for row in rows] == [execution.broker_order_id] * len(rows)
            assert execution.filled_quantity == sum(row.filled_quantity for row in rows)
            assert execution.flags == ()
        for length in range(len(await desk.store.journal(order_id, after_seq=0, limit=10_000))):
            journal = await desk.store.journal(order_id, after_seq=0, limit=length)
            accepted = replay(as_accepted(history.order), journal)
            assert summarise_history(accepted).quantities.balanced
        # What is at the broker may rest for the day; nothing else is left open.
        assert {e.phase for e in executions} <= {Phase.LIVE, Phase.ENDED, Phase.GIVEN_UP}
