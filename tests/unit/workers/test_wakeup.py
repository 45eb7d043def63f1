import asyncio

import pytest

from pulse_background.wakeup import Wakeup
from pulse_domain.testing.fake_clock import FakeClock, settle
from tests.unit.workers.floor import running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def wakeup(clock: FakeClock) -> Wakeup:
    return Wakeup(clock)


async def test_it_returns_when_its_seconds_have_passed(wakeup: Wakeup, clock: FakeClock) -> None:
    async with running(wakeup.wait(5)) as waiting:
        await clock.advance(4.9)
        early = waiting.done()
        await clock.advance(0.1)

        assert (early, waiting.done()) == (False, True)


async def test_it_returns_as_soon_as_it_is_called(wakeup: Wakeup) -> None:
    async with running(wakeup.wait(5)) as waiting:
        wakeup.call()
        await settle()

        assert waiting.done()


async def test_a_call_that_came_before_the_wait_is_not_lost(wakeup: Wakeup) -> None:
    wakeup.call()

    async with running(wakeup.wait(5)) as waiting:
        assert waiting.done()


async def test_calls_between_two_waits_count_as_one(wakeup: Wakeup) -> None:
    wakeup.call()
    wakeup.call()
    await wakeup.wait(5)

    async with running(wakeup.wait(5)) as waiting:
        assert not waiting.done()


async def test_a_call_ends_one_wait_only(wakeup: Wakeup) -> None:
    async with running(wakeup.wait(5)):
        wakeup.call()
        await settle()

    async with running(wakeup.wait(5)) as waiting:
        assert not waiting.done()


@pytest.mark.parametrize("seconds", [0, -1.0])
async def test_nothing_to_wait_for_returns_at_once(wakeup: Wakeup, seconds: float) -> None:
    async with running(wakeup.wait(seconds)) as waiting:
        assert waiting.done()


async def test_a_wait_of_nothing_takes_the_call_with_it(wakeup: Wakeup) -> None:
    wakeup.call()
    await wakeup.wait(0)

    async with running(wakeup.wait(5)) as waiting:
        assert not waiting.done()


@pytest.mark.parametrize("ending", ["time", "call", "cancel"])
async def test_no_task_outlives_the_wait(wakeup: Wakeup, clock: FakeClock, ending: str) -> None:
    before = asyncio.all_tasks()
    async with running(wakeup.wait(5)):
        if ending == "time":
            await clock.advance(5)
        elif ending == "call":
            wakeup.call()
    await settle()

    assert asyncio.all_tasks() == before


async def test_a_call_is_kept_for_the_next_wait_when_one_is_cancelled(wakeup: Wakeup) -> None:
    async with running(wakeup.wait(5)) as waiting:
        waiting.cancel()
        wakeup.call()

    async with running(wakeup.wait(5)) as waiting:
        assert waiting.done()


async def test_two_wakeups_are_called_apart(clock: FakeClock) -> None:
    one, other = Wakeup(clock), Wakeup(clock)

    async with running(one.wait(5)) as first, running(other.wait(5)) as second:
        one.call()
        await settle()

        assert (first.done(), second.done()) == (True, False)
