import asyncio

import pytest

from pulse_background.wakeup import Wakeup
from pulse_background.workers.outcome_recorder import OutcomeRecorder
from pulse_background.workers.slice_executor import ExecutorSettings, SliceExecutor
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.status import ExecutionStatus, Phase
from pulse_domain.ports.order_store import Claim
from pulse_domain.ports.rate_limiter import RateLimiter
from pulse_domain.testing.factories import TAG_PREFIX
from pulse_domain.testing.fake_clock import settle
from pulse_domain.testing.scripted_broker import Accepts, Rejects, Unavailable, Unknown
from pulse_domain.use_cases.execute import DEADLINE_PASSED, ExecuteSettings, ExecuteSlice
from service_kit import Ids, current
from tests.unit.workers.floor import Broken, Floor, ShakyStore, left_tidy, running, until

POLL_S = 1.0
LEASE_S = 120.0
CALL_S = 10.0
PLANNED, CLAIMED, LIVE, UNKNOWN = Phase.PLANNED, Phase.CLAIMED, Phase.LIVE, Phase.UNKNOWN


class Executor(SliceExecutor):
    """The executor on a floor, its wake-up, and how late it was with each execution."""

    def __init__(self, floor: Floor, *, calls_max: int = 50, limiter: RateLimiter | None = None) -> None:
        self.open = True
        self.wakeup = Wakeup(floor.clock)
        self.late_s: list[float] = []
        execute = ExecuteSettings(executor="executor-1", call_timeout_s=CALL_S, lease_s=LEASE_S)
        super().__init__(
            floor.store,
            ExecuteSlice(floor.broker, floor.clock, execute),
            OutcomeRecorder(floor.record, floor.clock),
            floor.clock,
            self.wakeup,
            ExecutorSettings(
                tag_prefix=TAG_PREFIX, grace_s=60.0, poll_s=POLL_S, calls_max=calls_max, execute=execute
            ),
            self.late_s.append,
            self._look,
            limiter,
        )

    async def _look(self) -> bool:
        return self.open


@pytest.fixture
def executor(floor: Floor) -> Executor:
    return Executor(floor)


def places(floor: Floor) -> int:
    return len(floor.broker.tickets)


# --- when it sends


async def test_what_is_due_is_sent_at_once(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order(10, 20, 30)

    async with running(executor.run()):
        assert await floor.phases(order_id) == [LIVE] * 3
        assert sorted(ticket.quantity for ticket in floor.broker.sent) == [10, 20, 30]


async def test_it_sleeps_to_the_due_instant(floor: Floor, executor: Executor) -> None:
    # None of them lies on the grid of the polls.
    await floor.order(10, 10, 10, due_in_s=(0.25, 0.75, 3.125))

    async with running(executor.run()):
        await floor.clock.advance(0.2)
        before = places(floor)
        await floor.clock.advance(5)

    assert before == 0
    assert executor.late_s == [0.0, 0.0, 0.0]


async def test_while_the_broker_is_shut_nothing_is_claimed_and_later_it_goes_on(
    floor: Floor, executor: Executor
) -> None:
    orders = await floor.crowd(2)
    executor.open = False

    async with running(executor.run()):
        await floor.clock.advance(30)
        meanwhile = (await floor.phases(*orders), floor.store.asked["claim_executions"])
        executor.open = True
        await floor.clock.advance(POLL_S)

        assert meanwhile == ([PLANNED] * 2, 0)
        assert await floor.phases(*orders) == [LIVE] * 2


async def test_nothing_is_sent_before_its_instant_however_often_it_is_woken(
    floor: Floor, executor: Executor
) -> None:
    order_id = await floor.order(10, due_in_s=0.5)

    async with running(executor.run()):
        for _ in range(4):
            executor.wakeup.call()
            await floor.clock.advance(0.1)

        assert await floor.phases(order_id) == [PLANNED]


async def test_a_hint_makes_it_look_before_its_poll(floor: Floor, executor: Executor) -> None:
    async with running(executor.run()):
        order_id = await floor.order()
        executor.wakeup.call()
        await settle()

        assert await floor.phases(order_id) == [LIVE]


async def test_slices_of_another_process_are_found_at_the_next_poll(floor: Floor, executor: Executor) -> None:
    async with running(executor.run()):
        order_id = await floor.order()
        await floor.clock.advance(POLL_S - 0.1)
        before = await floor.phases(order_id)
        await floor.clock.advance(0.1)

        assert (before, await floor.phases(order_id)) == ([PLANNED], [LIVE])


async def test_something_sooner_than_what_it_sleeps_to_is_sent_at_its_own_instant(
    floor: Floor, executor: Executor
) -> None:
    later = await floor.order(due_in_s=60)
    async with running(executor.run()):
        await floor.clock.advance(5)
        sooner = await floor.order(due_in_s=POLL_S + 0.5)
        await floor.clock.advance(POLL_S + 0.5)

        assert (await floor.phases(sooner), await floor.phases(later)) == ([LIVE], [PLANNED])


class CrowdedStore(ShakyStore):
    """What is due is held by others for a moment: a claim finds nothing."""

    crowded = True

    async def claim_executions(self, limit: int, executor: str, lease_s: float) -> list[Claim]:
        claims = super().claim_executions
        return await claims(0 if self.crowded else limit, executor, lease_s)


async def test_while_others_hold_what_is_due_it_does_not_spin() -> None:
    async with left_tidy():
        floor = Floor(CrowdedStore)
        order_id = await floor.order()
        async with running(Executor(floor).run()):
            await settle(200)
            asked = floor.store.asked["claim_executions"]
            CrowdedStore.crowded = False
            await floor.clock.advance(POLL_S)

            assert asked == 1
            assert await floor.phases(order_id) == [LIVE]


async def test_nothing_is_sent_while_trading_is_halted(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()
    await floor.store.halt("desk-1", "test")
    async with running(executor.run()):
        await floor.clock.advance(10)
        halted = await floor.phases(order_id)
        await floor.store.resume("desk-1", "test")
        await floor.clock.advance(POLL_S)

        assert (halted, await floor.phases(order_id)) == ([PLANNED], [LIVE])


async def test_nothing_is_sent_of_an_order_that_is_to_be_cancelled(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order(10, 10, due_in_s=(0, 30))
    async with running(executor.run()):
        await floor.store.request_cancel(order_id, "desk-1")
        await floor.clock.advance(60)

        assert await floor.phases(order_id) == [LIVE, PLANNED]


# --- how much it sends at a time


async def test_it_claims_no_more_than_it_has_free_slots(floor: Floor) -> None:
    executor = Executor(floor, calls_max=3)
    order_id = await floor.order(*[10] * 8)
    floor.broker.hold()
    async with running(executor.run()):
        await floor.clock.advance(5)

        assert len(floor.broker.air) == 3
        assert (await floor.phases(order_id)).count(CLAIMED) == 3


async def test_a_slot_that_comes_free_is_used_at_once(floor: Floor) -> None:
    executor = Executor(floor, calls_max=3)
    order_id = await floor.order(*[10] * 8)
    floor.broker.hold()
    async with running(executor.run()):
        floor.broker.let_go(1)
        await settle()
        phases = await floor.phases(order_id)

        assert (phases.count(LIVE), phases.count(CLAIMED), len(floor.broker.air)) == (1, 3, 3)
        floor.broker.let_go()
        await until(lambda: places(floor) == 8)


async def test_calls_are_in_the_air_side_by_side(floor: Floor, executor: Executor) -> None:
    await floor.order(*[10] * 20)
    floor.broker.hold()

    async with running(executor.run()):
        assert len(floor.broker.air) == 20


# --- what came of it


async def test_a_yes_is_recorded(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()

    async with running(executor.run()):
        execution = await floor.execution(order_id)
        [row] = floor.broker.rows(execution.tag)
        assert (execution.status, execution.broker_order_id) == (ExecutionStatus.OPEN, row.broker_order_id)


async def test_a_no_is_recorded_and_final(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()
    floor.broker.on_place(Rejects("MARGIN", "not enough"))

    async with running(executor.run()):
        await floor.clock.advance(60)

        execution = await floor.execution(order_id)
        assert (execution.status, execution.reason_code) == (ExecutionStatus.REJECTED, "MARGIN")
        assert places(floor) == 1


async def test_what_was_certainly_not_sent_is_sent_again(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()
    floor.broker.on_place(Unavailable(), Unavailable())

    async with running(executor.run()):
        await floor.clock.advance(10)

        execution = await floor.execution(order_id)
        assert (execution.phase, execution.attempt) == (LIVE, 3)
        assert len({ticket.tag for ticket in floor.broker.tickets}) == 1


async def test_silence_is_recorded_and_never_sent_again(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()
    floor.broker.on_place(Unknown(took=False, call_ended=True))

    async with running(executor.run()):
        await floor.clock.advance(60)

        assert (await floor.phases(order_id), places(floor)) == ([UNKNOWN], 1)


async def test_a_claim_that_took_too_long_is_not_sent(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()
    claiming = floor.store.hold_answer("claim_executions")
    async with running(executor.run()):
        await floor.clock.advance(LEASE_S - CALL_S + 1)
        floor.store.hold("next_due")
        claiming.set()
        await settle()

        execution = await floor.execution(order_id)
        assert (execution.phase, execution.reason) == (PLANNED, DEADLINE_PASSED)
        assert places(floor) == 0


async def test_every_call_at_the_broker_is_on_record(floor: Floor, executor: Executor) -> None:
    await floor.order(10, 10)
    floor.broker.on_place(Rejects("MARGIN"))

    async with running(executor.run()):
        assert [(call.operation, call.error is None) for call in floor.store.calls] == [
            ("place", False),
            ("place", True),
        ]


async def test_each_call_runs_under_the_ids_of_its_order(floor: Floor, executor: Executor) -> None:
    await floor.order(request_id="req-1", trace_id="trace-1")
    await floor.order(request_id="req-2", trace_id="trace-2")

    async with running(executor.run()):
        assert floor.broker.ids == [Ids("req-1", "trace-1"), Ids("req-2", "trace-2")]
        assert current() is None


# --- what goes wrong


@pytest.mark.parametrize("step", ["next_due", "claim_executions"])
async def test_a_store_that_does_not_answer_is_asked_again(floor: Floor, executor: Executor, step: str) -> None:
    order_id = await floor.order()
    floor.store.fail(step, times=3)

    async with running(executor.run()):
        before = await floor.phases(order_id)
        await floor.clock.advance(5 * POLL_S)

        assert (before, await floor.phases(order_id)) == ([PLANNED], [LIVE])


async def test_a_store_that_is_away_is_not_besieged(floor: Floor, executor: Executor) -> None:
    floor.store.away = True

    async with running(executor.run()):
        await settle(200)

        assert floor.store.asked["next_due"] == 1


async def test_a_claim_whose_answer_was_lost_is_given_back_and_sent_once(
    floor: Floor, executor: Executor
) -> None:
    order_id = await floor.order()
    floor.store.lose_answer("claim_executions")

    async with running(executor.run()):
        before = (await floor.phases(order_id), places(floor))
        await floor.clock.advance(5 * POLL_S)

        execution = await floor.execution(order_id)
        assert before == ([CLAIMED], 0)
        assert (execution.phase, execution.attempt, places(floor)) == (LIVE, 2, 1)


@pytest.mark.parametrize("step", ["in_flight", "book"])
async def test_a_lost_claim_is_given_back_though_that_fails_at_first(
    floor: Floor, executor: Executor, step: str
) -> None:
    order_id = await floor.order()
    floor.store.lose_answer("claim_executions")
    floor.store.fail(step, times=2)

    async with running(executor.run()):
        await floor.clock.advance(10 * POLL_S)

        execution = await floor.execution(order_id)
        assert (execution.phase, execution.attempt, places(floor)) == (LIVE, 2, 1)


async def test_stopping_with_a_lost_claim_leaves_it_to_its_lease(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()
    floor.store.lose_answer("claim_executions")
    async with running(executor.run()) as run:
        executor.stop()
        await floor.clock.advance(5 * POLL_S)

        assert (run.done(), await floor.phases(order_id), places(floor)) == (True, [CLAIMED], 0)


async def test_claims_of_others_are_not_given_back_with_a_lost_one(floor: Floor, executor: Executor) -> None:
    of_others = await floor.order()
    await floor.store.claim_executions(1, "executor-2", LEASE_S)
    await floor.order()
    floor.store.lose_answer("claim_executions")

    async with running(executor.run()):
        await floor.clock.advance(5 * POLL_S)

        assert (await floor.execution(of_others)).executor == "executor-2"
        assert places(floor) == 1


async def test_a_call_in_the_air_is_not_given_back_with_a_lost_claim(floor: Floor, executor: Executor) -> None:
    in_the_air = await floor.order()
    floor.broker.hold()
    async with running(executor.run()):
        await floor.order()
        floor.store.lose_answer("claim_executions")
        executor.wakeup.call()
        await floor.clock.advance(5 * POLL_S)
        meanwhile = (await floor.execution(in_the_air)).phase
        floor.broker.let_go()
        await settle()

        assert (meanwhile, await floor.phases(in_the_air)) == (CLAIMED, [LIVE])
        assert [floor.broker.times_sent(ticket.tag) for ticket in floor.broker.sent] == [1, 1]


@pytest.mark.parametrize(
    "answer", [Accepts(), Unknown(took=True, call_ended=True), Unknown(took=True, call_ended=False)],
    ids=["yes", "silence", "silence, and the call may last"],
)  # fmt: skip
async def test_a_call_whose_outcome_waits_to_be_stored_is_not_given_back_with_a_lost_claim(
    floor: Floor, executor: Executor, answer: Accepts | Unknown
) -> None:
    """The network fails: a claim's answer is lost, a call ends, and its outcome cannot be stored at once."""
    sent = await floor.order()
    floor.broker.hold()
    floor.broker.on_place(answer)
    async with running(executor.run()):
        await floor.order()
        floor.store.lose_answer("claim_executions")
        executor.wakeup.call()
        await settle()
        floor.store.away = True
        await floor.clock.advance(0.8 * POLL_S)
        floor.broker.let_go()
        await settle()
        floor.store.away = False
        await floor.clock.advance(30)

        assert floor.broker.times_sent((await floor.execution(sent)).tag) == 1


@pytest.mark.parametrize("was_sent", [True, False], ids=["after it was sent", "before it was sent"])
async def test_a_call_that_broke_off_is_not_given_back_with_a_lost_claim(
    floor: Floor, executor: Executor, was_sent: bool
) -> None:
    """Nobody knows whether it was sent: that is for the broker's book to tell."""
    broken_off = await floor.order()
    floor.broker.fault, floor.broker.fault_when_sent = Broken(), was_sent
    async with running(executor.run()):
        await floor.order()
        floor.store.lose_answer("claim_executions")
        executor.wakeup.call()
        await floor.clock.advance(5 * POLL_S)

        assert (await floor.execution(broken_off)).phase is CLAIMED
        assert floor.broker.times_sent((await floor.execution(broken_off)).tag) == int(was_sent)


async def test_an_outcome_waits_for_a_store_that_is_away(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()
    floor.broker.hold()
    async with running(executor.run()):
        floor.store.away = True
        floor.broker.let_go()
        await floor.clock.advance(30)
        meanwhile = await floor.phases(order_id)
        floor.store.away = False
        await floor.clock.advance(POLL_S)

        assert (meanwhile, await floor.phases(order_id)) == ([CLAIMED], [LIVE])
        assert places(floor) == 1


async def test_a_call_that_breaks_off_leaves_its_claim_and_the_loop_goes_on(
    floor: Floor, executor: Executor
) -> None:
    order_id = await floor.order(10, 10, 10, due_in_s=(0, 0, 5))
    floor.broker.fault = Broken()

    async with running(executor.run()) as run:
        await floor.clock.advance(10)

        assert await floor.phases(order_id) == [CLAIMED, LIVE, LIVE]
        assert not run.done()


async def test_a_call_that_broke_off_frees_its_slot(floor: Floor) -> None:
    executor = Executor(floor, calls_max=1)
    order_id = await floor.order(10, 10)
    floor.broker.fault = Broken()

    async with running(executor.run()):
        assert await floor.phases(order_id) == [CLAIMED, LIVE]


@pytest.mark.parametrize("step", ["next_due", "claim_executions"])
async def test_a_mistake_of_ours_ends_it(floor: Floor, executor: Executor, step: str) -> None:
    await floor.order()
    floor.store.fail(step, Broken())

    with pytest.raises(Broken):
        await executor.run()


# --- stopping


async def test_stopping_ends_a_wait_at_once(floor: Floor, executor: Executor) -> None:
    await floor.order(due_in_s=60)
    async with running(executor.run()) as run:
        executor.stop()
        await settle()

        assert run.done()


async def claimed_after_stop(floor: Floor, executor: Executor, order_id: OrderId) -> bool:
    """Stop, let much time pass, and tell whether anything was claimed since."""
    before = floor.store.asked["claim_executions"]
    executor.stop()
    await floor.clock.advance(30)
    return floor.store.asked["claim_executions"] > before or PLANNED not in await floor.phases(order_id)


async def test_nothing_is_claimed_after_stop_though_it_comes_due(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order(due_in_s=0.5)

    async with running(executor.run()) as run:
        assert not await claimed_after_stop(floor, executor, order_id)
        assert run.done()


async def test_nothing_is_claimed_when_stop_comes_during_the_look_at_what_is_due(
    floor: Floor, executor: Executor
) -> None:
    order_id = await floor.order()
    looking = floor.store.hold("next_due")
    async with running(executor.run()) as run:
        executor.stop()
        looking.set()

        assert not await claimed_after_stop(floor, executor, order_id)
        assert run.done()


async def test_nothing_is_claimed_when_a_slot_comes_free_after_stop(floor: Floor) -> None:
    executor = Executor(floor, calls_max=1)
    order_id = await floor.order(10, 10)
    floor.broker.hold()
    async with running(executor.run()) as run:
        executor.stop()
        floor.broker.let_go()
        await floor.clock.advance(30)

        assert (run.done(), await floor.phases(order_id)) == (True, [LIVE, PLANNED])


async def test_stopped_before_it_ran_it_claims_nothing(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()
    executor.stop()

    await executor.run()

    assert await floor.phases(order_id) == [PLANNED]


async def test_stopping_waits_for_the_calls_in_the_air_and_records_them(
    floor: Floor, executor: Executor
) -> None:
    order_id = await floor.order(10, 10)
    floor.broker.hold()
    async with running(executor.run()) as run:
        executor.stop()
        await settle()
        waits = not run.done()
        floor.broker.let_go()
        await settle()

        assert (waits, run.done()) == (True, True)
        assert await floor.phases(order_id) == [LIVE, LIVE]


async def test_what_a_claim_under_way_brings_is_still_sent_after_stop(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()
    claiming = floor.store.hold("claim_executions")
    async with running(executor.run()) as run:
        executor.stop()
        claiming.set()
        await settle()

        assert (run.done(), await floor.phases(order_id)) == (True, [LIVE])


async def test_stopping_lasts_until_the_outcomes_are_stored(floor: Floor, executor: Executor) -> None:
    order_id = await floor.order()
    recording = floor.store.hold("book")
    async with running(executor.run()) as run:
        executor.stop()
        await settle()
        waits = not run.done()
        recording.set()
        await settle()

        assert (waits, run.done()) == (True, True)
        assert await floor.phases(order_id) == [LIVE]


async def test_no_task_outlives_a_stop(floor: Floor, executor: Executor) -> None:
    before = asyncio.all_tasks()
    await floor.order(10, 10, due_in_s=(0, 30))
    async with running(executor.run()) as run:
        executor.stop()
        await until(run.done)
    await settle()

    assert asyncio.all_tasks() == before
