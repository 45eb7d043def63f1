"""Orders that the executor's own process accepts: sent at once where a call may begin, else in their turn."""

import asyncio
from datetime import timedelta

import pytest

from pulse_adapters.limits.in_process import InProcessGate
from pulse_adapters.limits.limiter import GatedLimiter
from pulse_background.workers.slice_executor import CLAIM_LOST
from pulse_domain.errors import DuplicateOrderUniqueKey, RiskRejected, StorageUnavailable, TradingHalted
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import NewOrder, SplitConfig
from pulse_domain.orders.status import Phase
from pulse_domain.ports.order_store import Accepted
from pulse_domain.risk import RiskLimits
from pulse_domain.splitting import PaceLimits
from pulse_domain.testing.factories import new_order, plan
from pulse_domain.testing.fake_clock import settle
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.scripted_broker import Unavailable
from pulse_domain.traffic import LaneRules
from pulse_domain.use_cases.count_calls import CountCalls
from tests.unit.workers.floor import Broken, Floor, left_tidy, running, until
from tests.unit.workers.test_slice_executor import LEASE_S, POLL_S, Executor

LIVE, CLAIMED, PLANNED = Phase.LIVE, Phase.CLAIMED, Phase.PLANNED


@pytest.fixture
def executor(floor: Floor) -> Executor:
    return Executor(floor)


async def sent(floor: Floor, executor: Executor, new: NewOrder, limits: RiskLimits | None = None) -> Accepted:
    accepted = await executor.accept_at_once(new, limits)
    assert accepted is not None
    return accepted


async def reasons(floor: Floor, order_id: OrderId) -> list[str]:
    journal = await floor.store.journal(order_id, after_seq=0, limit=100)
    return [entry.event.reason for entry in journal if isinstance(entry.event, ev.ExecutionReleased)]


async def test_it_is_accepted_claimed_and_sent_in_one_step(floor: Floor, executor: Executor) -> None:
    new = new_order(floor.ids)

    async with running(executor.run()):
        before = floor.store.asked.copy()
        accepted = await sent(floor, executor, new)
        await settle()

        assert (accepted.order_id, accepted.replayed, accepted.claim is None) == (new.order_id, False, False)
        assert await floor.phases(new.order_id) == [LIVE]
        [ticket] = floor.broker.sent
        assert (ticket.quantity, ticket.tag) == (100, (await floor.execution(new.order_id)).tag)
        steps = floor.store.asked - before
        assert (steps["accept"], steps["claim_orders"], steps["claim_executions"]) == (1, 0, 0)
        assert executor.late_s == [0.0]


async def test_the_answer_does_not_wait_for_the_broker(floor: Floor, executor: Executor) -> None:
    floor.broker.hold()

    async with left_tidy(), running(executor.run()):
        new = new_order(floor.ids)
        accepted = await asyncio.wait_for(sent(floor, executor, new), 1)

        assert accepted.claim is not None
        await until(lambda: len(floor.broker.air) == 1)
        assert await floor.phases(new.order_id) == [CLAIMED]


@pytest.mark.parametrize(
    "over",
    [
        {"split_config": SplitConfig(num_splits=2, duration_minutes=1)},
        {"terms": InstrumentTerms(freeze_quantity=30)},
        {"body_digest": "0" * 64},
        {"later": True},
        {"moved": True},
    ],
    ids=["a schedule", "more than the exchange takes at once", "a webhook", "a start", "the next session"],
)
async def test_others_wait_for_their_turn(floor: Floor, executor: Executor, over: dict[str, object]) -> None:
    now = floor.clock.now()
    if over.pop("later", False):
        over["start_at"] = now + timedelta(minutes=1)
    if over.pop("moved", False):
        over["window"] = (now + timedelta(hours=1), now + timedelta(hours=1))
    new = new_order(floor.ids, **over)

    async with running(executor.run()):
        assert await executor.accept_at_once(new, None) is None
        assert await floor.store.get(new.order_id) is None


async def test_before_the_executor_runs_and_after_it_stops_nothing_is_sent_at_once(
    floor: Floor, executor: Executor
) -> None:
    before = await executor.accept_at_once(new_order(floor.ids), None)
    async with running(executor.run()):
        executor.stop()

        assert (before, await executor.accept_at_once(new_order(floor.ids), None)) == (None, None)
        assert floor.store.asked["accept"] == 0


async def test_while_the_broker_is_shut_it_waits_for_its_turn(floor: Floor, executor: Executor) -> None:
    executor.open = False

    async with running(executor.run()):
        assert await executor.accept_at_once(new_order(floor.ids), None) is None


async def test_without_a_free_call_it_waits_for_its_turn(floor: Floor) -> None:
    executor = Executor(floor, calls_max=1)
    floor.broker.hold()

    async with left_tidy(), running(executor.run()):
        await sent(floor, executor, new_order(floor.ids))

        assert await executor.accept_at_once(new_order(floor.ids), None) is None


async def test_without_leave_it_waits_for_its_turn_and_leave_that_is_not_used_goes_back(floor: Floor) -> None:
    rules = LaneRules(limits=PaceLimits(per_second=2, per_minute=100, per_day=1000))
    counts = CountCalls(floor.store, floor.clock)
    limiter = GatedLimiter(InProcessGate(rules, floor.clock), floor.clock, rules, counts, name="worker-1")
    executor = Executor(floor, limiter=limiter)

    async with running(executor.run()):
        first = await sent(floor, executor, new_order(floor.ids, order_unique_key="key"))
        await floor.clock.advance(2)
        again = await sent(floor, executor, new_order(floor.ids, order_unique_key="key"))
        counted = (await limiter.peek()).second
        other = await sent(floor, executor, new_order(floor.ids))
        refused = await executor.accept_at_once(new_order(floor.ids), None)

    assert (again.order_id, again.replayed, counted) == (first.order_id, True, 0)
    assert other.claim is not None
    assert refused is None


async def test_a_replay_is_not_sent_again(floor: Floor, executor: Executor) -> None:
    async with running(executor.run()):
        first = await sent(floor, executor, new_order(floor.ids, order_unique_key="key"))
        again = await sent(floor, executor, new_order(floor.ids, order_unique_key="key"))
        await settle()

        assert (again.order_id, again.replayed) == (first.order_id, True)
        assert len(floor.broker.sent) == 1


async def test_what_the_store_refuses_is_told_and_not_sent(floor: Floor, executor: Executor) -> None:
    async with running(executor.run()):
        await sent(floor, executor, new_order(floor.ids, order_unique_key="key"))
        with pytest.raises(DuplicateOrderUniqueKey):
            await executor.accept_at_once(new_order(floor.ids, order_unique_key="key", total_quantity=7), None)
        with pytest.raises(RiskRejected):
            await executor.accept_at_once(new_order(floor.ids), RiskLimits(max_orders=1))
        await floor.store.halt("desk", "test")
        with pytest.raises(TradingHalted):
            await executor.accept_at_once(new_order(floor.ids), None)
        await floor.clock.advance(POLL_S)

        assert len(floor.broker.sent) == 1
        # Nothing is in doubt, so nobody looks for claims.
        assert floor.store.asked["in_flight"] == 0


async def test_a_claim_whose_answer_was_lost_is_given_back_and_sent_once(
    floor: Floor, executor: Executor
) -> None:
    new = new_order(floor.ids)
    async with running(executor.run()):
        floor.store.lose_answer("accept")
        with pytest.raises(StorageUnavailable):
            await executor.accept_at_once(new, None)
        await floor.clock.advance(POLL_S)

        assert await reasons(floor, new.order_id) == [CLAIM_LOST]
        assert await floor.phases(new.order_id) == [LIVE]
        assert len(floor.broker.sent) == 1


async def test_a_claim_that_is_on_its_way_here_is_not_given_back(floor: Floor, executor: Executor) -> None:
    """Else it would be sent by this process, and by the next that claims it."""
    slow = new_order(floor.ids)
    await floor.order(due_in_s=0.5)
    # Another claim is in doubt, so all that is in flight is looked through.
    floor.store.fail("claim_executions")
    async with running(executor.run()):
        answers = floor.store.hold_answer("accept")
        waiting = asyncio.create_task(executor.accept_at_once(slow, None))
        await until(lambda: floor.store.asked["accept"] == 1)
        await floor.clock.advance(2 * POLL_S)
        looked = floor.store.asked["in_flight"]
        answers.set()
        accepted = await waiting
        await settle()

        assert looked > 0
        assert accepted is not None
        assert accepted.claim is not None
        assert await reasons(floor, slow.order_id) == []
        assert [ticket.tag for ticket in floor.broker.sent].count(
            (await floor.execution(slow.order_id)).tag
        ) == 1


async def test_whoever_asked_may_be_gone_and_it_is_sent_all_the_same(floor: Floor, executor: Executor) -> None:
    new = new_order(floor.ids)
    async with running(executor.run()):
        answers = floor.store.hold_answer("accept")
        waiting = asyncio.create_task(executor.accept_at_once(new, None))
        await until(lambda: floor.store.asked["accept"] == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        answers.set()
        await settle()

        assert await floor.phases(new.order_id) == [LIVE]
        assert len(floor.broker.sent) == 1


async def test_a_stop_waits_for_what_was_begun(floor: Floor, executor: Executor) -> None:
    new = new_order(floor.ids)
    answers = floor.store.hold_answer("accept")
    async with running(executor.run()) as task:
        waiting = asyncio.create_task(executor.accept_at_once(new, None))
        await until(lambda: floor.store.asked["accept"] == 1)
        executor.stop()
        await settle()
        early = task.done()
        answers.set()
        await until(task.done)

    assert not early
    assert await waiting is not None
    assert await floor.phases(new.order_id) == [LIVE]


async def test_after_a_long_way_back_it_is_not_sent_under_a_lease_that_may_have_ended(
    floor: Floor, executor: Executor
) -> None:
    new = new_order(floor.ids)
    async with running(executor.run()):
        answers = floor.store.hold_answer("accept")
        waiting = asyncio.create_task(executor.accept_at_once(new, None))
        await until(lambda: floor.store.asked["accept"] == 1)
        await floor.clock.advance(LEASE_S)
        answers.set()
        await waiting
        await settle()

        assert floor.broker.sent == []


async def test_what_the_broker_did_not_take_comes_again_by_the_ordinary_way(
    floor: Floor, executor: Executor
) -> None:
    new = new_order(floor.ids)
    floor.broker.on_place(Unavailable())
    async with running(executor.run()):
        await sent(floor, executor, new)
        await settle()
        before = await floor.phases(new.order_id)
        await floor.clock.advance(5)

        assert (before, await floor.phases(new.order_id)) == ([PLANNED], [LIVE])


async def test_a_fault_of_ours_reaches_whoever_asked_and_leaves_nothing_behind(
    floor: Floor, executor: Executor
) -> None:
    new = new_order(floor.ids)
    async with running(executor.run()):
        floor.store.fail("accept", Broken())
        with pytest.raises(Broken):
            await executor.accept_at_once(new, None)
        await floor.clock.advance(POLL_S)

        # It may have happened after all, so it was looked for.
        assert floor.store.asked["in_flight"] == 1
        assert await InMemoryOrderStore.get(floor.store, new.order_id) is None


async def test_an_answer_that_is_lost_after_more_than_the_leases_is_lost_as_any_other(
    floor: Floor, executor: Executor
) -> None:
    """As after a long stop of the process: by then the attempt is not remembered any more."""
    new = new_order(floor.ids)
    async with running(executor.run()):
        answers = floor.store.hold_answer("accept")
        floor.store.lose_answer("accept")
        waiting = asyncio.create_task(executor.accept_at_once(new, None))
        await until(lambda: floor.store.asked["accept"] == 1)
        await floor.clock.advance(3 * LEASE_S)
        # A claim of something else is when old attempts are forgotten.
        await split_order_beside(floor)
        executor.wakeup.call()
        await floor.clock.advance(POLL_S)
        looked = floor.store.asked["in_flight"]
        answers.set()

        with pytest.raises(StorageUnavailable):
            await waiting
        await floor.clock.advance(POLL_S)

        assert floor.store.asked["in_flight"] > looked
        assert len(floor.broker.sent) == 1, "what was due beside it"


async def split_order_beside(floor: Floor) -> None:
    order = new_order(floor.ids)
    await InMemoryOrderStore.accept(floor.store, order)
    [claimed] = await floor.store.claim_orders(1, "splitter", 60.0)
    await floor.store.save_split(order.order_id, plan(claimed, expires_in_s=9999))
