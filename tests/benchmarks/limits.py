"""What the limiter costs: leave from Redis against a bare PING, and slices sent with it and without.

The limits are so wide that nobody has to wait: what is measured is the asking. The executor is the real one,
on Postgres with fsync on, at a broker that answers at once.
"""

import asyncio
import itertools
import time

import asyncpg
import uvloop
from redis.asyncio import Redis

from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded.postgres import EmbeddedPostgres
from pulse_adapters.embedded.redis import EmbeddedRedis
from pulse_adapters.ids import RandomIds
from pulse_adapters.limits.in_process import InProcessGate
from pulse_adapters.limits.limiter import GatedLimiter
from pulse_adapters.limits.redis import RedisLane
from pulse_adapters.limits.shared import SharedGate
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_background.wakeup import Wakeup
from pulse_background.workers.outcome_recorder import OutcomeRecorder
from pulse_background.workers.slice_executor import ExecutorSettings, SliceExecutor
from pulse_domain.ports.rate_limiter import RateLimiter
from pulse_domain.splitting import PaceLimits
from pulse_domain.testing.factories import split_order
from pulse_domain.testing.scripted_broker import ScriptedBroker
from pulse_domain.traffic import CallCounts, CallKind, Granted, LaneRules, Unlimited
from pulse_domain.use_cases.execute import ExecuteSettings, ExecuteSlice
from pulse_domain.use_cases.record_outcome import RecordOutcomes
from service_kit import configure
from tests.benchmarks.report import median, report

CALLS, SLICES, ROUNDS = 3000, 400, 7
WIDE = LaneRules(limits=PaceLimits(per_second=100_000, per_minute=1_000_000, per_day=100_000_000))
_lanes = itertools.count(1)


async def nothing_called() -> CallCounts:
    return CallCounts()


def shared_limiter(redis_url: str, clock: SystemClock) -> GatedLimiter:
    redis = RedisLane(redis_url, WIDE, lane=f"bench-{next(_lanes)}", worker="bench")
    return GatedLimiter(SharedGate(redis, WIDE, clock), clock, WIDE, nothing_called, name="bench")


async def ask_many(limiter: RateLimiter, *, keep: int) -> list[float]:
    """Seconds per leave, with `keep` calls of the last minute counted already."""
    for _ in range(keep):
        await limiter.acquire(CallKind.CANCEL, timeout_s=1)
    took = []
    for _ in range(CALLS):
        began = time.perf_counter()
        leave = await limiter.acquire(CallKind.CANCEL, timeout_s=1)
        took.append(time.perf_counter() - began)
        assert isinstance(leave, Granted)
        await limiter.give_back(leave.tokens)
    return sorted(took)


async def ping_many(redis_url: str) -> list[float]:
    redis = Redis.from_url(redis_url)
    took = []
    for _ in range(CALLS):
        began = time.perf_counter()
        await redis.ping()
        took.append(time.perf_counter() - began)
    await redis.aclose()
    return sorted(took)


async def send_round(pool: asyncpg.Pool, clock: SystemClock, limiter: RateLimiter) -> float:
    """Slices sent per second, of so many that are due at once."""
    store, broker, ids = (
        PostgresOrderStore(Database(pool)),
        ScriptedBroker(clock, pushes=False),
        RandomIds(clock),
    )
    for _ in range(SLICES // 100):
        await split_order(store, ids, [[10]] * 100)
    execute = ExecuteSettings(executor=ids.executor_id())
    recorder = OutcomeRecorder(RecordOutcomes(store, lambda: None), clock)
    executor = SliceExecutor(
        store, ExecuteSlice(broker, clock, execute), recorder, clock, Wakeup(clock),
        ExecutorSettings(tag_prefix="BE", grace_s=60.0, execute=execute), limiter=limiter,
    )  # fmt: skip
    began = time.perf_counter()
    running = asyncio.create_task(executor.run())
    while len(broker.sent) < SLICES:  # noqa: ASYNC110  # what is waited for has no event
        await asyncio.sleep(0.001)
    took = time.perf_counter() - began
    executor.stop()
    await running
    unsent = await pool.fetchval("SELECT count(*) FROM order_ledger WHERE phase <> 'LIVE'")
    assert (unsent, len({ticket.tag for ticket in broker.sent})) == (0, SLICES)
    return SLICES / took


async def main() -> None:
    configure("bench", "ERROR")
    clock = SystemClock()
    with EmbeddedRedis.start() as redis, EmbeddedPostgres.start(None, durable=True) as postgres:
        await migrate(postgres.dsn)
        pool = await create_pool(postgres.dsn)
        shared, full = shared_limiter(redis.url, clock), shared_limiter(redis.url, clock)
        alone = GatedLimiter(InProcessGate(WIDE, clock), clock, WIDE, nothing_called, name="bench")
        ping = await ping_many(redis.url)
        empty, busy = await ask_many(shared, keep=0), await ask_many(full, keep=400)
        limiters: dict[str, RateLimiter] = {"none": Unlimited(), "in_process": alone, "redis": shared}
        rates: dict[str, list[float]] = {name: [] for name in limiters}
        for number in range(ROUNDS + 1):
            for name, limiter in limiters.items():
                rate = await send_round(pool, clock, limiter)
                if number:  # the first is for warming up
                    rates[name].append(rate)
        for limiter in (shared, full):
            await limiter.close()
        await pool.close()
    middle = {name: median(values) for name, values in rates.items()}
    report(
        "limits",
        {
            "leave_vs_ping": median(busy) / median(ping),
            "slices_redis_vs_none": middle["redis"] / middle["none"],
            "slices_in_process_vs_none": middle["in_process"] / middle["none"],
        },
        {
            "ping_p50_us": round(median(ping) * 1e6),
            "ping_p99_us": round(ping[int(CALLS * 0.99)] * 1e6),
            "leave_p50_us": round(median(empty) * 1e6),
            "leave_p99_us": round(empty[int(CALLS * 0.99)] * 1e6),
            "leave_p50_us_400_counted": round(median(busy) * 1e6),
            "leave_p99_us_400_counted": round(busy[int(CALLS * 0.99)] * 1e6),
            **{f"slices_per_second_{name}": round(value) for name, value in middle.items()},
        },
    )


if __name__ == "__main__":
    uvloop.run(main())
