"""What every order store promises whoever accepts an order and sends it in the same breath.

A subclass overrides `store`, empty at every test, `pass_time` and `restore`; `ids` may stay.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from decimal import Decimal

import pytest

from pulse_domain.errors import DuplicateOrderUniqueKey, RiskRejected, TradingHalted
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId, OrderId
from pulse_domain.orders.model import NewOrder, OrderType, Side
from pulse_domain.orders.plan import tag_of_only_execution
from pulse_domain.orders.status import OrderQueueStatus, Phase
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.order_store import (
    AtOnce,
    Booking,
    CancelResult,
    Claim,
    LedgerWish,
    OrderStore,
    Selection,
)
from pulse_domain.risk import Breach, RiskLimits, RiskRule, Waiver
from pulse_domain.testing.factories import TAG_PREFIX, new_order, plan
from pulse_domain.testing.sequential_ids import SequentialIds

PassTime = Callable[[float], Awaitable[None]]
Restore = Callable[[], Awaitable[None]]
_LEASE_S, _GRACE_S = 60.0, 30.0
# More than the pool of a store has connections.
_MANY = 30


def at_once(new: NewOrder, executor: str = "executor") -> AtOnce:
    tag = tag_of_only_execution(new, TAG_PREFIX)
    assert tag is not None
    return AtOnce(executor=executor, lease_s=_LEASE_S, tag=tag, grace_s=_GRACE_S)


async def _claim(store: OrderStore, new: NewOrder) -> Claim:
    accepted = await store.accept(new, None, at_once(new))
    assert accepted.claim is not None
    return accepted.claim


async def _journal(store: OrderStore, order_id: OrderId) -> Sequence[ev.JournalEntry]:
    return await store.journal(order_id, after_seq=0, limit=100)


class AcceptAtOnceContract:
    @pytest.fixture
    def store(self) -> OrderStore:
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def pass_time(self) -> PassTime:
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def restore(self) -> Restore:
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def ids(self) -> Ids:
        return SequentialIds()

    async def test_what_is_stored_is_what_the_steps_one_by_one_store(self, store: OrderStore, ids: Ids) -> None:
        asked = {
            "order_type": OrderType.LIMIT,
            "limit_price": Decimal("2500.05"),
            "side": Side.SELL,
            "strategy_tag": "macd",
        }
        slow, fast = new_order(ids, **asked), new_order(ids, **asked)
        await store.accept(slow)
        [order] = await store.claim_orders(1, "executor", _LEASE_S)
        await store.save_split(slow.order_id, plan(order, expires_in_s=_GRACE_S))
        [one_by_one] = await store.claim_executions(1, "executor", _LEASE_S)

        in_one = await _claim(store, fast)

        assert _shape(in_one) == _shape(one_by_one)
        slow_journal, fast_journal = [await _journal(store, new.order_id) for new in (slow, fast)]
        assert _told(fast_journal) == _told(slow_journal)
        for new, claim in ((slow, one_by_one), (fast, in_one)):
            view = await store.get(new.order_id)
            assert view is not None
            assert (view.order, view.last_seq) == (claim.order, 4)
            [slice_] = await store.slices(new.order_id)
            assert slice_.executions == (claim.execution,)
            assert slice_.scheduled_at == view.order.created_at
        rows = await store.ledger(LedgerWish(strategy_tag="macd"), limit=10)
        assert [row.execution for row in rows] == [in_one.execution, one_by_one.execution]
        assert len({row.internal_id for row in rows}) == 2

    async def test_claim_may_be_sent_now_and_until_the_grace_is_over(self, store: OrderStore, ids: Ids) -> None:
        claim = await _claim(store, new_order(ids))

        order, execution = claim.order, claim.execution
        assert order.queue_status is OrderQueueStatus.DONE
        assert (execution.phase, execution.attempt, execution.executor) == (Phase.CLAIMED, 1, "executor")
        assert execution.due_at == order.created_at
        assert execution.expires_at == order.ends_at + timedelta(seconds=_GRACE_S)
        assert execution.lease_until is not None
        assert execution.lease_until >= order.created_at + timedelta(seconds=_LEASE_S)

    async def test_nobody_else_splits_or_claims_it(self, store: OrderStore, ids: Ids) -> None:
        claim = await _claim(store, new_order(ids))

        assert await store.claim_orders(10, "splitter", 60.0) == []
        assert await store.claim_executions(10, "other", 60.0) == []
        assert await store.in_flight() == [claim.execution]
        assert await store.next_due() is None

    async def test_its_outcome_is_booked_as_any_other(self, store: OrderStore, ids: Ids) -> None:
        claim = await _claim(store, new_order(ids))
        event = ev.ExecutionAccepted(seq=1, chunk=0, broker_order_id=BrokerOrderId("B-1"))

        [booked] = await store.book([Booking(order_id=claim.order.order_id, event=event)])

        assert booked.result == "APPLIED"
        assert booked.execution is not None
        assert booked.execution.phase is Phase.LIVE

    async def test_what_is_given_back_is_claimed_again(self, store: OrderStore, ids: Ids) -> None:
        claim = await _claim(store, new_order(ids))
        event = ev.ExecutionReleased(
            seq=1, chunk=0, attempt=1, reason="CLAIM_LOST", not_before=claim.execution.due_at
        )
        await store.book([Booking(order_id=claim.order.order_id, event=event)])

        [again] = await store.claim_executions(10, "other", 60.0)

        assert (again.execution.execution_id, again.execution.attempt) == (claim.execution.execution_id, 2)

    async def test_a_claim_of_which_nothing_is_heard_is_found_by_its_lease(
        self, store: OrderStore, ids: Ids, pass_time: PassTime
    ) -> None:
        claim = await _claim(store, new_order(ids))
        before = await store.select(Selection.LEASE_EXPIRED, limit=10)
        await pass_time(_LEASE_S + 1)

        [found] = await store.select(Selection.LEASE_EXPIRED, limit=10)

        assert before == []
        assert found.execution == claim.execution

    async def test_it_can_be_cancelled(self, store: OrderStore, ids: Ids) -> None:
        claim = await _claim(store, new_order(ids))

        assert await store.request_cancel(claim.order.order_id, "desk") is CancelResult.REQUESTED
        [found] = await store.select(Selection.TO_CANCEL, limit=10)
        assert found.execution == claim.execution

    # --- no claim is given

    async def test_the_same_request_again_is_replayed_without_a_claim(
        self, store: OrderStore, ids: Ids
    ) -> None:
        first = new_order(ids, order_unique_key="key")
        await _claim(store, first)
        again = new_order(ids, order_unique_key="key")

        accepted = await store.accept(again, None, at_once(again))

        assert (accepted.order_id, accepted.replayed, accepted.claim) == (first.order_id, True, None)
        assert await store.get(again.order_id) is None

    async def test_another_request_under_the_key_is_refused(self, store: OrderStore, ids: Ids) -> None:
        await _claim(store, new_order(ids, order_unique_key="key"))
        other = new_order(ids, order_unique_key="key", total_quantity=7)

        with pytest.raises(DuplicateOrderUniqueKey):
            await store.accept(other, None, at_once(other))

    async def test_of_many_at_once_under_one_key_one_is_given(self, store: OrderStore, ids: Ids) -> None:
        orders = [new_order(ids, order_unique_key="key") for _ in range(_MANY)]

        answers = await asyncio.gather(
            *(store.accept(new, None, at_once(new, f"executor-{i}")) for i, new in enumerate(orders))
        )

        claims = [answer.claim for answer in answers if answer.claim is not None]
        assert len(claims) == 1
        assert len({answer.order_id for answer in answers}) == 1
        assert await store.in_flight() == [claims[0].execution]

    async def test_during_a_halt_nothing_is_stored(self, store: OrderStore, ids: Ids) -> None:
        await store.halt("desk", "test")
        new = new_order(ids)

        with pytest.raises(TradingHalted):
            await store.accept(new, None, at_once(new))

        assert await store.get(new.order_id) is None

    async def test_what_was_accepted_before_a_halt_is_replayed_during_it(
        self, store: OrderStore, ids: Ids
    ) -> None:
        first = new_order(ids, order_unique_key="key")
        await _claim(store, first)
        await store.halt("desk", "test")
        again = new_order(ids, order_unique_key="key")

        accepted = await store.accept(again, None, at_once(again))

        assert (accepted.order_id, accepted.claim) == (first.order_id, None)

    async def test_an_order_of_the_kill_in_force_passes_and_of_another_does_not(
        self, store: OrderStore, ids: Ids
    ) -> None:
        state = await store.halt_to_square_off("desk", "test")
        of_it, of_another = (
            new_order(ids, kill_id=state.kill_id),
            new_order(ids, kill_id="20260101T000000000000"),
        )

        claim = await _claim(store, of_it)

        assert claim.order.kill_id == state.kill_id
        with pytest.raises(TradingHalted):
            await store.accept(of_another, None, at_once(of_another))

    async def test_limits_that_count_orders_are_held(self, store: OrderStore, ids: Ids) -> None:
        limits = RiskLimits(max_open_orders=2)
        orders = [new_order(ids) for _ in range(_MANY)]

        answers = await asyncio.gather(
            *(store.accept(new, limits, at_once(new)) for new in orders), return_exceptions=True
        )

        refused = [answer for answer in answers if isinstance(answer, RiskRejected)]
        assert len(refused) == _MANY - 2
        assert len(await store.in_flight()) == 2

    async def test_what_closes_is_held_to_what_is_left_to_close(self, store: OrderStore, ids: Ids) -> None:
        waiver = Waiver(breaches=(Breach(RiskRule.CUT_OFF, "late"),), carried=-250, since=await store.now())
        orders = [new_order(ids) for _ in range(5)]
        answers = await asyncio.gather(
            *(store.accept(new, RiskLimits(waiver=waiver), at_once(new)) for new in orders),
            return_exceptions=True,
        )

        assert [isinstance(answer, RiskRejected) for answer in answers].count(True) == 3

    async def test_in_a_restored_store_it_is_accepted_and_not_claimed(
        self, store: OrderStore, ids: Ids, restore: Restore
    ) -> None:
        await store.notice_restore("worker-1")
        await restore()
        new = new_order(ids)

        accepted = await store.accept(new, None, at_once(new))

        assert (accepted.order_id, accepted.claim) == (new.order_id, None)
        assert await store.in_flight() == []
        assert [entry.event.__struct_config__.tag for entry in await _journal(store, new.order_id)] == [
            "order_accepted"
        ]


def _shape(claim: Claim) -> tuple[object, ...]:
    """What does not depend on the order's id and instant."""
    order, execution = claim.order, claim.execution
    return (
        order.request, order.terms, order.queue_status, order.split_attempt, order.skip_reason, order.failure,
        order.ends_at - order.starts_at, execution.seq, execution.chunk, execution.quantity,
        execution.planned_quantity, execution.attempt, execution.executor, execution.phase, execution.status,
        execution.due_at - order.created_at, execution.expires_at - order.created_at, claim.lease_s,
    )  # fmt: skip


def _told(journal: Sequence[ev.JournalEntry]) -> list[object]:
    """The journal without ids and instants."""
    told: list[object] = []
    for entry in journal:
        match event := entry.event:
            case ev.SplitSaved(slices=slices):
                told.append(("split_saved", event.attempt, [(s.quantity, len(s.executions)) for s in slices]))
            case ev.ExecutionClaimed():
                told.append(("execution_claimed", event.seq, event.chunk, event.attempt, event.executor))
            case _:
                told.append((entry.seq, event))
    return told
