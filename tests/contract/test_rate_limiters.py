"""Every limiter keeps the port's contract, and Redis decides as the domain's own rules do."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator
from random import Random

import pytest

from pulse_adapters.clock import SystemClock
from pulse_adapters.limits.in_process import InProcessGate
from pulse_adapters.limits.limiter import GatedLimiter
from pulse_adapters.limits.redis import RedisLane
from pulse_adapters.limits.shared import SharedGate
from pulse_domain.splitting import PaceLimits
from pulse_domain.testing.contracts.rate_limiter import RULES, RateLimiterContract
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.traffic import CallCounts, CallKind, Lane, LaneRules, Unlimited

_lanes = itertools.count(1)


def new_lane() -> str:
    return f"test:{os.getpid()}-{next(_lanes)}"


async def nothing_called() -> CallCounts:
    return CallCounts()


class TestInProcess(RateLimiterContract):
    @pytest.fixture
    async def clock(self) -> AsyncIterator[FakeClock]:
        clock = FakeClock()

        async def drive() -> None:
            while True:
                await clock.advance(0.005)

        driving = asyncio.create_task(drive())
        yield clock
        driving.cancel()
        await asyncio.gather(driving, return_exceptions=True)

    @pytest.fixture
    def limiter(self, clock: FakeClock) -> GatedLimiter:
        return GatedLimiter(InProcessGate(RULES, clock), clock, RULES, nothing_called, name="worker-1")


class TestRedis(RateLimiterContract):
    @pytest.fixture
    def clock(self) -> SystemClock:
        return SystemClock()

    @pytest.fixture
    async def limiter(self, clock: SystemClock, redis_url: str) -> AsyncIterator[GatedLimiter]:
        redis = RedisLane(redis_url, RULES, lane=new_lane(), worker="worker-1")
        gate = SharedGate(redis, RULES, clock)
        limiter = GatedLimiter(gate, clock, RULES, nothing_called, name="worker-1")
        yield limiter
        await limiter.close()


class TestShareWithoutRedis(TestRedis):
    """A worker that has never seen Redis keeps the contract too, on the whole as its share."""

    @pytest.fixture
    async def limiter(self, clock: SystemClock) -> AsyncIterator[GatedLimiter]:
        redis = RedisLane("redis://127.0.0.1:1/0", RULES, lane=new_lane(), worker="worker-1")
        redis.workers = 1
        gate = SharedGate(redis, RULES, clock)
        limiter = GatedLimiter(gate, clock, RULES, nothing_called, name="worker-1")
        # It is quiet at first, for what others may have sent.
        leave = await limiter.acquire(CallKind.PLACE, timeout_s=5)
        await limiter.give_back(leave.tokens)  # type: ignore[union-attr]  # it is granted
        await clock.sleep(RULES.second_s)
        yield limiter
        await limiter.close()


async def test_a_broker_without_limits_grants_all_that_is_asked_for() -> None:
    limiter = Unlimited()
    leave = await limiter.acquire(CallKind.PLACE, count=1000, timeout_s=0)

    assert leave.count == 1000  # type: ignore[union-attr]  # it never refuses
    await limiter.give_back(leave.tokens)  # type: ignore[union-attr]
    await limiter.reseed(CallCounts(day=10**9))
    assert (await limiter.peek()).day == 0
    await limiter.close()


DAY_US = 86_400_000_000
RULE_SETS = [
    LaneRules(),
    RULES,
    LaneRules(limits=PaceLimits(per_second=1, per_minute=5, per_day=30), cancel_reserve=0, minute_s=4.0),
    LaneRules(limits=PaceLimits(per_second=300, per_minute=900, per_day=5000), cancel_reserve=0.2),
]


@pytest.mark.parametrize("seed", range(16))
async def test_redis_decides_as_the_domain_does(redis_url: str, seed: int) -> None:
    """The same questions at the same instants: the script and `Lane` answer alike, step by step."""

    async def take_over(counts: CallCounts) -> None:
        await redis.seed(counts)
        lane.seed(counts, now, now)

    rng = Random(seed)
    rules = RULE_SETS[seed % len(RULE_SETS)]
    # Not far from midnight in India.
    now = (1_767_587_400_000_000 // DAY_US + 1) * DAY_US - 19_800_000_000 - rng.choice([10, 10**4]) * 10**6
    redis = RedisLane(redis_url, rules, lane=new_lane(), worker="worker-1", at_us=lambda: now)
    lane = Lane(rules)
    tokens: list[str] = []
    live: list[str] = []
    assert await redis.ask("early", CallKind.CANCEL, 1) == lane.ask("early", CallKind.CANCEL, 1, now, now)
    await take_over(CallCounts(last_minute=rng.randrange(3), day=rng.randrange(3)))
    compared = 0
    for step in range(300):
        now += rng.choice([0, 1, 1_000, 20_000, 150_000, 400_000, rng.randrange(3_000_000)])
        match rng.choices(["ask", "again", "give back", "leave", "seed"], [10, 12, 3, 2, 1])[0]:
            case "seed" if rng.random() < 0.3:
                await take_over(CallCounts(last_minute=rng.randrange(8), day=rng.randrange(20)))
            case "ask" | "again" as which:
                if which == "ask" or not live:
                    live.append(f"t{step:04}")
                ticket = rng.choice(live)
                kind, count = rng.choice(list(CallKind)), rng.randint(1, 9)
                answer = await redis.ask(ticket, kind, count)
                assert answer == lane.ask(ticket, kind, count, now, now), (step, ticket, kind, count)
                compared += 1
                if answer.granted:
                    live.remove(ticket)
                    tokens += [f"{ticket}:{number}" for number in range(answer.granted)]
            case "give back" if tokens:
                given = [tokens.pop(rng.randrange(len(tokens)))]
                lane.view(now, now)
                await redis.give_back(given)
                lane.give_back(tuple(given))
            case "leave" if live:
                ticket = live.pop(rng.randrange(len(live)))
                lane.view(now, now)
                await redis.leave(ticket, 9)
                lane.leave(ticket, 9)
        assert await redis.view() == lane.view(now, now), step
    assert compared > 100
    await redis.close()
