"""Limits that processes share through a real Redis, which may go away."""

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from pulse_adapters.embedded.redis import EmbeddedRedis
from pulse_adapters.limits.limiter import GatedLimiter
from pulse_domain.traffic import CallCounts, CallKind, Granted, Refused
from tests.integration.limits.pacer import RULES, new_limiter

_lanes = itertools.count(1)
LIMIT = RULES.limits.per_second


@pytest.fixture
def lane() -> str:
    return f"shared:{os.getpid()}-{next(_lanes)}"


class Leave(NamedTuple):
    asked: float
    given: float
    calls: int
    kind: str
    shared: bool
    process: int


async def run_pacers(redis_url: str, lane: str, *, seconds: float, processes: int = 2) -> list[Leave]:
    pacers = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.integration.limits.pacer", redis_url, lane, f"worker-{n}",
            str(seconds), stdout=asyncio.subprocess.PIPE,
        )
        for n in range(processes)
    ]  # fmt: skip
    outputs = await asyncio.gather(*(pacer.communicate() for pacer in pacers))
    assert [pacer.returncode for pacer in pacers] == [0] * processes
    return [
        Leave._make([*json.loads(line), process])
        for process, (output, _) in enumerate(outputs)
        for line in output.decode().splitlines()
        if line.startswith("[")  # beside them there are log lines
    ]


def fullest(leaves: list[Leave], length_s: float) -> int:
    """The most calls that lie in one window for certain, wherever between asking and giving they counted."""
    return max(
        sum(each.calls for each in leaves if each.asked >= first.asked and each.given < first.asked + length_s)
        for first in leaves
    )


async def test_two_processes_share_one_limit(redis_url: str, lane: str) -> None:
    leaves = await run_pacers(redis_url, lane, seconds=6)

    by_process = [sum(each.calls for each in leaves if each.process == n) for n in range(2)]
    assert fullest(leaves, 1.0) <= LIMIT
    # Neither is starved, and together they use what there is: seven in 1.05 s, and the reserve for cancels.
    assert min(by_process) > 0.3 * sum(by_process)
    assert sum(by_process) >= 6 / 1.1 * 6
    assert all(each.shared for each in leaves)
    # And no second of a clock that we do not know sees more than the ten that a broker really takes.
    for phase in range(20):
        seconds = [int(each.given + phase / 20) for each in leaves for _ in range(each.calls)]
        assert max(map(seconds.count, seconds)) <= 10


async def test_a_cancel_of_one_worker_goes_before_the_placements_of_another(redis_url: str, lane: str) -> None:
    placing, cancelling = (new_limiter(redis_url, lane, f"worker-{n}") for n in range(2))
    # Everything that there is, the reserve too.
    for kind in (CallKind.PLACE, CallKind.CANCEL):
        while isinstance(await placing.acquire(kind, count=8, timeout_s=0), Granted):
            pass
    granted: list[CallKind] = []

    async def wait(limiter: GatedLimiter, kind: CallKind) -> None:
        assert isinstance(await limiter.acquire(kind, timeout_s=10), Granted)
        granted.append(kind)

    waiting = [asyncio.create_task(wait(placing, CallKind.PLACE)) for _ in range(4)]
    await asyncio.sleep(0.2)
    await asyncio.gather(*waiting, *(wait(cancelling, CallKind.CANCEL) for _ in range(2)))

    assert granted == [CallKind.CANCEL] * 2 + [CallKind.PLACE] * 4
    for limiter in (placing, cancelling):
        await limiter.close()


async def test_an_outage_of_redis_in_the_middle_slows_down_and_lets_no_second_overflow(
    own_redis: EmbeddedRedis, lane: str
) -> None:
    pacing = asyncio.create_task(run_pacers(own_redis.url, lane, seconds=14))
    await asyncio.sleep(4)
    halted_at = time.monotonic()
    await asyncio.to_thread(own_redis.halt)
    await asyncio.sleep(4)
    await asyncio.to_thread(own_redis.resume)
    resumed_at = time.monotonic()
    leaves = await pacing

    placements = [each for each in leaves if each.kind == CallKind.PLACE]
    alone = [each for each in leaves if not each.shared]
    assert fullest(placements, 1.0) <= LIMIT
    # During the outage both go on, each with its share; afterwards they share again.
    during = [each for each in alone if halted_at < each.asked < resumed_at]
    assert {each.process for each in during} == {0, 1}
    again = [each for each in leaves if each.asked > resumed_at + 2]
    assert again
    assert all(each.shared for each in again)
    assert fullest(again, 1.0) <= LIMIT


async def test_a_worker_that_never_saw_redis_takes_one_call_a_second(lane: str) -> None:
    limiter = new_limiter("redis://127.0.0.1:1/0", lane, "lonely")
    began, given = time.monotonic(), 0
    while time.monotonic() - began < 4:
        given += isinstance(await limiter.acquire(CallKind.PLACE, count=8, timeout_s=0.5), Granted)
    await limiter.close()

    assert 2 <= given <= 3


@pytest.fixture
async def limiter(own_redis: EmbeddedRedis, lane: str) -> AsyncIterator[GatedLimiter]:
    limiter = new_limiter(own_redis.url, lane, "worker-1")
    yield limiter
    await limiter.close()


async def test_counts_lost_with_redis_are_taken_from_the_ledger(
    own_redis: EmbeddedRedis, limiter: GatedLimiter
) -> None:
    await limiter.acquire(CallKind.PLACE, timeout_s=1)

    async def ledger() -> CallCounts:
        return CallCounts(last_minute=3, day=40)

    limiter._counts = ledger
    await asyncio.to_thread(own_redis.restart)
    leave = await limiter.acquire(CallKind.PLACE, timeout_s=10)
    while not (view := await limiter.peek()).shared:
        await limiter.acquire(CallKind.PLACE, timeout_s=0.1)

    assert isinstance(leave, Granted)
    assert view.day >= 40
    assert view.minute >= 3


async def test_placements_are_quiet_after_a_loss_and_cancels_are_not(
    own_redis: EmbeddedRedis, limiter: GatedLimiter
) -> None:
    await limiter.acquire(CallKind.PLACE, timeout_s=1)
    await asyncio.to_thread(own_redis.halt)
    lost_at = time.monotonic()

    placed = await limiter.acquire(CallKind.PLACE, timeout_s=0.2)
    cancelled = await limiter.acquire(CallKind.CANCEL, timeout_s=0.2)
    later = await limiter.acquire(CallKind.PLACE, timeout_s=5)

    assert isinstance(placed, Refused)
    assert isinstance(cancelled, Granted)
    assert isinstance(later, Granted)
    assert time.monotonic() - lost_at >= 1.0


async def test_the_clock_of_redis_counts_and_not_that_of_a_worker(redis_url: str, lane: str) -> None:
    limiter = new_limiter(redis_url, lane, "worker-1")
    given = 0
    while isinstance(leave := await limiter.acquire(CallKind.PLACE, count=8, timeout_s=0), Granted):
        given += leave.count
    await limiter.close()

    assert given == LIMIT - 1
