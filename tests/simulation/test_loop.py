"""The event loop of the simulation: virtual time, and processes that may end or stand still at any await."""

import asyncio
from datetime import UTC, datetime
from random import Random
from typing import Any

from tests.simulation.loop import SimulatedLoop, simulated_loop
from tests.simulation.process import Process, request

START = datetime(2026, 11, 20, tzinfo=UTC)


def make_process(loop: SimulatedLoop, name: str = "worker-0.1") -> Process:
    return Process(loop, name, START, Random(1))


def test_time_jumps_to_the_next_timer() -> None:
    loop = simulated_loop(Random(1))
    process, seen = make_process(loop), list[Any]()

    async def work() -> None:
        seen.append(process.clock.now())
        await process.clock.sleep(7200.0)
        seen.append(process.clock.now())

    process.begin(work(), "work")
    loop.run(1e6)

    assert (seen[1] - seen[0]).total_seconds() == 7200.0


def test_nothing_of_a_killed_process_runs_again_not_even_a_finally() -> None:
    loop = simulated_loop(Random(1))
    process, seen = make_process(loop), list[Any]()

    async def work() -> None:
        try:
            seen.append("begun")
            await process.clock.sleep(10.0)
            seen.append("gone on")
        finally:
            seen.append("finally")

    process.begin(work(), "work")
    loop.at(5.0, process.kill)
    loop.run(100.0)

    assert seen == ["begun"]
    process.end()
    loop.run(1e6)


def test_frozen_process_goes_on_in_the_middle_by_a_clock_that_has_moved() -> None:
    loop = simulated_loop(Random(1))
    process, seen = make_process(loop), list[Any]()

    async def work() -> None:
        before = process.clock.monotonic()
        await process.clock.sleep(10.0)
        seen.append(process.clock.monotonic() - before)

    process.begin(work(), "work")
    loop.at(5.0, process.freeze)
    loop.at(3600.0, process.wake)
    loop.run(1e6)

    assert seen == [3600.0]


def test_request_of_a_killed_process_has_its_effect_or_not() -> None:
    effects = []
    for seed in range(20):
        loop = simulated_loop(Random(seed))
        process = Process(loop, "worker-0.1", START, Random(seed))

        async def work(process: Process = process, seed: int = seed) -> None:
            await request(process, lambda: effects.append(seed), there_s=2.0, back_s=2.0)

        process.begin(work(), "work")
        loop.at(1.0, process.kill)
        loop.run(100.0)
        process.end()
        loop.run(1e6)

    assert 0 < len(effects) < 20


def test_request_of_a_frozen_process_is_answered_when_it_wakes() -> None:
    loop = simulated_loop(Random(1))
    process, seen = make_process(loop), list[Any]()

    async def work() -> None:
        answer = await request(process, loop.time, there_s=2.0, back_s=2.0)
        seen.append((answer, loop.time()))

    process.begin(work(), "work")
    loop.at(1.0, process.freeze)
    loop.at(900.0, process.wake)
    loop.run(1e6)

    assert seen == [(2.0, 900.0)]


def test_timers_of_one_instant_fire_in_an_order_that_the_seed_draws() -> None:
    def order_of(seed: int) -> list[int]:
        loop, seen = simulated_loop(Random(seed)), list[int]()
        for number in range(8):
            loop.at(1.0, seen.append, number)
        loop.run(2.0)
        return seen

    assert order_of(1) == order_of(1)
    assert order_of(1) != order_of(2)
    assert sorted(order_of(2)) == list(range(8))


def test_parts_of_asyncio_that_the_workers_use_run_on_it() -> None:
    loop = simulated_loop(Random(1))
    process, seen = make_process(loop), list[Any]()

    async def work() -> None:
        called, lock = asyncio.Event(), asyncio.Lock()

        async def wait() -> None:
            async with lock:
                await called.wait()
            seen.append("woken")

        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            group.create_task(wait())
            await process.clock.sleep(1.0)
            called.set()
        done, _ = await asyncio.wait({asyncio.ensure_future(process.clock.sleep(1.0))}, timeout=0.5)
        seen.append(len(done))
        async with asyncio.timeout(60):
            await process.clock.sleep(30.0)

    task = process.begin(work(), "work")
    loop.run(1e6)

    assert task.done()
    assert task.exception() is None
    assert seen == ["woken", "woken", 0]
