"""Pacing and the circuit breaker, seen from the loops of a process in simulated time."""

import asyncio
from collections.abc import Coroutine
from decimal import Decimal
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from pulse_adapters.limits.in_process import InProcessGate
from pulse_adapters.limits.limiter import GatedLimiter
from pulse_background.background import Background, BackgroundPorts
from pulse_background.scheduler import SoleProcess
from pulse_background.settings import Settings
from pulse_background.traffic import MeteredLimiter, TrafficMetrics, create_limiter
from pulse_domain.errors import StorageUnavailable
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase
from pulse_domain.ports.broker import OrderTicket
from pulse_domain.ports.order_store import Claim
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.testing.factories import TAG_PREFIX
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.scripted_broker import Rejects, Unavailable, Unknown
from pulse_domain.traffic import BreakerState, CallCounts, CallKind, Granted, LaneRules, Unlimited
from pulse_domain.use_cases.count_calls import CountCalls
from tests.unit.workers.floor import Floor, ShakyStore, SlowBroker, left_tidy, running, until

LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": Decimal(90)}
RULES = LaneRules()
PLACED, CANCELLED = "place", "cancel"


class TimedBroker(SlowBroker):
    """Notes when each write arrives."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.writes: list[tuple[float, str]] = []
        self.fails = False

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        self.writes.append((self._clock.monotonic(), PLACED))
        if self.fails:
            self.on_place(Unavailable())
        return await super().place(ticket, timeout_s=timeout_s)

    async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
        self.writes.append((self._clock.monotonic(), CANCELLED))
        await super().cancel(broker_order_id, timeout_s=timeout_s)

    @property
    def instants(self) -> list[float]:
        return [at for at, _ in self.writes]


class Desk:
    """A process with limits on a floor; its limiter has seen nothing yet."""

    def __init__(self, floor: Floor, broker: TimedBroker | None = None, **settings: Any) -> None:
        self.stop = asyncio.Event()
        self.broker = broker or TimedBroker(floor.clock)
        floor.broker = self.broker
        self.registry = CollectorRegistry()
        self.traffic = TrafficMetrics(self.registry)
        given = Settings(
            database_url="postgresql://unused", tag_prefix=TAG_PREFIX, broker_orders_per_second=8, **settings
        )
        self.limiter = MeteredLimiter(
            create_limiter(given, floor.store, floor.clock, "worker-1"), self.traffic, floor.clock
        )
        ports = BackgroundPorts(
            store=floor.store,
            broker=self.broker,
            clock=floor.clock,
            leadership=SoleProcess(),
            presence=SoleProcess(),
            executor_id="worker-1",
            limiter=self.limiter,
            on_breaker=self.traffic.show_breaker,
        )
        self.background = Background(ports, given)

    def run(self) -> Coroutine[Any, Any, None]:
        return self.background.run(self.stop)

    def figure(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def desk(floor: Floor) -> Desk:
    return Desk(floor)


def fullest(instants: list[float], length_s: float) -> int:
    return max(sum(at <= other < at + length_s for other in instants) for at in instants)


# --- pacing


async def test_200_slices_due_in_one_second_are_paced_and_all_are_sent(floor: Floor, desk: Desk) -> None:
    orders = await floor.crowd(200)
    async with running(desk.run()):
        await floor.clock.advance(34)

        assert set(await floor.phases(*orders)) == {Phase.LIVE}
        assert len(desk.broker.sent) == len({ticket.tag for ticket in desk.broker.sent}) == 200
        assert fullest(desk.broker.instants, 1.0) <= 7
        # Nor does any second of a clock of the broker's own, however it is shifted.
        for phase in range(20):
            seconds = [int(at + phase / 20) for at in desk.broker.instants]
            assert max(map(seconds.count, seconds)) <= 8


async def test_a_cancel_in_the_middle_goes_before_the_placements_that_remain(floor: Floor, desk: Desk) -> None:
    resting = await floor.order(50, 50, 50, **LIMIT)
    await floor.clock.advance(0.001)
    crowd = await floor.crowd(200)
    async with running(desk.run()):
        await until(lambda: len(desk.broker.writes) >= 60, floor.clock)
        before = len(desk.broker.writes)
        asked_at = floor.clock.monotonic()
        await floor.ask_for_cancel(resting)
        desk.background.wake(JobKind.CANCEL_ORDER)
        await floor.clock.advance(40)

        after = desk.broker.writes[before:]
        assert [what for _, what in after[:3]] == [CANCELLED] * 3
        # The first has the reserve; the others have what is free first.
        assert after[0][0] == asked_at
        assert after[2][0] - asked_at <= RULES.second_us / 1e6
        assert [e.status for e in await floor.executions(resting)] == [ExecutionStatus.CANCELLED] * 3
        assert set(await floor.phases(*crowd)) == {Phase.LIVE}
        assert fullest(desk.broker.instants, 1.0) <= 8


async def test_what_waits_for_leave_is_not_claimed(floor: Floor, desk: Desk) -> None:
    order_id = await floor.order(*[10] * 20)
    async with running(desk.run()):
        await floor.clock.advance(0.5)

        assert (await floor.phases(order_id)).count(Phase.PLANNED) == 13
        await floor.ask_for_cancel(order_id)
        await floor.clock.advance(60)

    assert len([what for _, what in desk.broker.writes if what == PLACED]) == 7


async def test_leave_for_which_nothing_is_due_is_given_back(floor: Floor, desk: Desk) -> None:
    await floor.order(10, 10, 10, due_in_s=(0, 0, 600))
    async with running(desk.run()):
        await floor.clock.advance(0.5)

        assert (await desk.limiter.peek()).second == 2


async def test_a_claim_that_fails_gives_its_leave_back(floor: Floor, desk: Desk) -> None:
    await floor.order()
    floor.store.fail("claim_executions", times=3)
    async with running(desk.run()):
        await floor.clock.advance(0.5)

        assert (await desk.limiter.peek()).day == 0


async def test_leave_that_a_slow_claim_outlasted_is_taken_anew(floor: Floor, desk: Desk) -> None:
    """Calls are counted where they are sent, however long the store took."""
    order_id = await floor.order(10)
    claiming = floor.store.hold_answer("claim_executions")
    async with running(desk.run()):
        await floor.clock.advance(1.5)
        claiming.set()
        await settle()

        assert await floor.phases(order_id) == [Phase.LIVE]
        view = await desk.limiter.peek()
        assert (view.second, view.day) == (1, 1)
        assert desk.figure("broker_leave_returned_total") == 1


class Crowded(ShakyStore):
    async def claim_executions(self, limit: int, executor: str, lease_s: float) -> list[Claim]:
        claims = await super().claim_executions(limit, executor, lease_s)
        await self._clock.sleep(0.4)
        return claims


async def test_a_store_that_is_always_slow_delays_and_bunches_nothing() -> None:
    async with left_tidy():
        floor = Floor(Crowded)
        desk = Desk(floor)
        order_id = await floor.order(*[10] * 20)
        async with running(desk.run()):
            await floor.clock.advance(20)

            assert set(await floor.phases(order_id)) == {Phase.LIVE}
            assert fullest(desk.broker.instants, 1.0) <= 7


async def test_stopping_ends_a_wait_for_leave(floor: Floor, desk: Desk) -> None:
    order_id = await floor.order(*[10] * 20)
    async with running(desk.run()) as run:
        await floor.clock.advance(0.2)
        desk.stop.set()
        await settle(60)

        assert run.done()
    assert (await floor.phases(order_id)).count(Phase.PLANNED) == 13
    await desk.limiter.close()
    assert (await desk.limiter.peek()).waiting == 0


async def test_the_calls_of_the_day_are_taken_over_by_the_next_process(floor: Floor, desk: Desk) -> None:
    await floor.order(*[10] * 5)
    async with running(desk.run()):
        await floor.clock.advance(1)
    later = Desk(floor, desk.broker)
    order_id = await floor.order(10)
    async with running(later.run()):
        await floor.clock.advance(0.9)
        quiet = await floor.phases(order_id)
        await floor.clock.advance(0.5)

        view = await later.limiter.peek()
        assert (quiet, await floor.phases(order_id)) == ([Phase.PLANNED], [Phase.LIVE])
        assert (view.minute, view.day) == (6, 6)


async def test_cancels_are_on_record_as_calls(floor: Floor, desk: Desk) -> None:
    order_id = await floor.order(10, 10, **LIMIT)
    async with running(desk.run()):
        await floor.clock.advance(0.1)
        desk.broker.on_cancel(Rejects("TRY_AGAIN"))
        await floor.ask_for_cancel(order_id)
        desk.background.wake(JobKind.CANCEL_ORDER)
        await floor.clock.advance(0.1)

        calls = [(call.operation, call.error) for call in floor.store.calls]
        assert calls == [
            ("place", None), ("place", None), ("cancel", "TRY_AGAIN: TRY_AGAIN"), ("cancel", None),
        ]  # fmt: skip
        assert await CountCalls(floor.store, floor.clock)() == CallCounts(last_minute=4, day=4)


async def test_a_process_without_limits_is_not_paced(floor: Floor) -> None:
    settings = Settings(database_url="postgresql://unused")

    assert isinstance(create_limiter(settings, floor.store, floor.clock, "worker-1"), Unlimited)


# --- the breaker


async def test_an_outage_opens_the_breaker_and_then_nothing_is_claimed(floor: Floor, desk: Desk) -> None:
    order_id = await floor.order(*[10] * 40)
    desk.broker.fails = True
    async with running(desk.run()):
        await floor.clock.advance(3)
        placed, claims = len(desk.broker.tickets), floor.store.asked["claim_executions"]
        await floor.clock.advance(0.9)

        assert placed < 12
        assert (len(desk.broker.tickets), floor.store.asked["claim_executions"]) == (placed, claims)
        attempts = [execution.attempt for execution in await floor.executions(order_id)]
        assert sum(attempts) == placed
        assert desk.figure("broker_breaker_state", state="OPEN") == 1
        assert desk.figure("broker_breaker_opened_total") == 1


async def test_a_probe_that_is_answered_lets_placements_go_on(floor: Floor, desk: Desk) -> None:
    orders = await floor.crowd(40)
    desk.broker.fails = True
    async with running(desk.run()):
        await floor.clock.advance(3)
        desk.broker.fails = False
        await floor.clock.advance(15)

        assert set(await floor.phases(*orders)) == {Phase.LIVE}
        assert desk.figure("broker_breaker_state", state="CLOSED") == 1
        assert fullest(desk.broker.instants, 1.0) <= 7


async def test_an_order_is_never_the_probe(floor: Floor, desk: Desk) -> None:
    """Reads are answered and writes are not: each probe costs what was let through before a write failed."""
    await floor.order(*[10] * 40, **LIMIT)
    desk.broker.fails = True
    async with running(desk.run()):
        await floor.clock.advance(60)

        opened = desk.figure("broker_breaker_opened_total")
        assert opened is not None
        assert 3 <= opened <= 6
        assert len(desk.broker.tickets) <= 5 + 8 * opened


async def test_silence_opens_it_too(floor: Floor, desk: Desk) -> None:
    order_id = await floor.order(*[10] * 7)
    desk.broker.on_place(*[Unknown(took=False, call_ended=True)] * 5)
    async with running(desk.run()):
        await floor.clock.advance(0.5)

        assert desk.figure("broker_breaker_opened_total") == 1
        assert (await floor.phases(order_id)).count(Phase.UNKNOWN) == 5


async def test_refusals_are_answers(floor: Floor, desk: Desk) -> None:
    order_id = await floor.order(*[10] * 20)
    desk.broker.on_place(*[Rejects("MARGIN")] * 20)
    async with running(desk.run()):
        await floor.clock.advance(10)

        assert (await floor.view(order_id)).summary.state is OrderState.REJECTED
        assert desk.figure("broker_breaker_opened_total") == 0


async def test_cancels_are_tried_while_it_is_open(floor: Floor, desk: Desk) -> None:
    resting = await floor.order(10, **LIMIT)
    async with running(desk.run()):
        await floor.clock.advance(0.1)
        desk.broker.fails = True
        await floor.order(*[10] * 10)
        await floor.clock.advance(2)
        assert desk.figure("broker_breaker_state", state="OPEN") == 1
        await floor.ask_for_cancel(resting)
        desk.background.wake(JobKind.CANCEL_ORDER)
        await floor.clock.advance(0.1)

        assert (await floor.execution(resting)).status is ExecutionStatus.CANCELLED


# --- figures


async def test_the_figures_tell_what_went_through_and_who_waits(floor: Floor, desk: Desk) -> None:
    await floor.order(*[10] * 20)
    async with running(desk.run()):
        await floor.clock.advance(3.2)

        granted = desk.figure("broker_leave_granted_total", kind="place")
        assert granted == len(desk.broker.tickets) == 20
        assert desk.figure("broker_leave_wait_seconds_count", kind="place") is not None
        assert desk.figure("broker_calls_counted", window="day") is not None
        assert desk.figure("broker_limits_shared") == 1


async def test_who_waits_and_who_gives_up_is_counted(floor: Floor, desk: Desk) -> None:
    while isinstance(await desk.limiter.acquire(CallKind.PLACE, count=8, timeout_s=0), Granted):
        pass
    async with running(desk.limiter.acquire(CallKind.PLACE, timeout_s=5)):
        assert desk.figure("broker_leave_waiting", kind="place") == 1
    assert desk.figure("broker_leave_waiting", kind="place") == 0
    assert desk.figure("broker_leave_refused_total", kind="place") == 1


def test_one_state_of_the_breaker_is_shown() -> None:
    registry = CollectorRegistry()
    traffic = TrafficMetrics(registry)
    for state in (BreakerState.OPEN, BreakerState.HALF_OPEN):
        traffic.show_breaker(state)

    shown = {each: registry.get_sample_value("broker_breaker_state", {"state": each}) for each in BreakerState}
    assert shown == {BreakerState.CLOSED: 0, BreakerState.OPEN: 0, BreakerState.HALF_OPEN: 1}


async def test_a_limiter_whose_store_is_away_waits_for_it(floor: Floor) -> None:
    asked = 0

    async def counts() -> CallCounts:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise StorageUnavailable
        return CallCounts()

    limiter = GatedLimiter(InProcessGate(RULES, floor.clock), floor.clock, RULES, counts, name="w")
    async with running(limiter.acquire(CallKind.PLACE, timeout_s=5)) as asking:
        await floor.clock.advance(2)

        assert isinstance(asking.result(), Granted)
