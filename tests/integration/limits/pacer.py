"""A process of its own that takes leave and notes when: started by the tests beside it."""

import asyncio
import itertools
import json
import sys
import time

from pulse_adapters.clock import SystemClock
from pulse_adapters.limits.limiter import GatedLimiter
from pulse_adapters.limits.redis import RedisLane
from pulse_adapters.limits.shared import SharedGate
from pulse_domain.splitting import PaceLimits
from pulse_domain.traffic import CallCounts, CallKind, Granted, LaneRules

RULES = LaneRules(limits=PaceLimits(per_second=8, per_minute=10_000, per_day=100_000))


async def nothing_called() -> CallCounts:
    return CallCounts()


def new_limiter(redis_url: str, lane: str, name: str) -> GatedLimiter:
    clock = SystemClock()
    gate = SharedGate(RedisLane(redis_url, RULES, lane=lane, worker=name), RULES, clock)
    return GatedLimiter(gate, clock, RULES, nothing_called, name=name)


async def pace(redis_url: str, lane: str, name: str, seconds: float) -> None:
    """Call as fast as leave is given; one line per leave: asked, given (by the machine's clock), how many."""
    limiter = new_limiter(redis_url, lane, name)
    until = time.monotonic() + seconds
    for number in itertools.count():
        asked = time.monotonic()
        if asked >= until:
            break
        kind = CallKind.CANCEL if number % 9 == 8 else CallKind.PLACE
        leave = await limiter.acquire(kind, count=8, timeout_s=until - asked)
        if isinstance(leave, Granted):
            shared = (await limiter.peek()).shared
            sys.stdout.write(json.dumps([asked, time.monotonic(), leave.count, kind, shared]) + "\n")
            sys.stdout.flush()
    await limiter.close()


if __name__ == "__main__":
    asyncio.run(pace(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
