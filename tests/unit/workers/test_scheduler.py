import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pulse_background.scheduler import Scheduler, SoleProcess
from pulse_domain.testing.fake_clock import FakeClock, settle
from tests.unit.workers.floor import Broken, left_tidy, running

CHECK_S = 1.0


class Lead:
    """Leadership that a test hands out."""

    def __init__(self, *, held: bool) -> None:
        self.held = held
        self.asked = 0
        self.released = 0

    async def hold(self) -> bool:
        self.asked += 1
        return self.held

    async def release(self) -> None:
        self.released += 1
        self.held = False


class Loop:
    """A loop that runs until it is ended, and counts its lives."""

    def __init__(self) -> None:
        self.begun = 0
        self.ended = 0
        self.fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> None:
        self.begun += 1
        try:
            await self.fault
        finally:
            self.fault = asyncio.get_running_loop().create_future()
            self.ended += 1

    @property
    def runs(self) -> bool:
        return self.begun > self.ended


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def schedule(lead: Lead | SoleProcess, clock: FakeClock, *loops: Callable[[], Awaitable[None]]) -> Scheduler:
    return Scheduler(lead, clock, loops)


async def test_a_leader_runs_every_loop(clock: FakeClock) -> None:
    one, other = Loop(), Loop()

    async with running(schedule(Lead(held=True), clock, one, other).run()):
        assert (one.runs, other.runs) == (True, True)


async def test_the_sole_process_leads(clock: FakeClock) -> None:
    loop = Loop()

    async with running(schedule(SoleProcess(), clock, loop).run()):
        await clock.advance(10)

        assert (loop.begun, loop.runs) == (1, True)


async def test_who_does_not_lead_runs_nothing(clock: FakeClock) -> None:
    loop = Loop()

    async with running(schedule(Lead(held=False), clock, loop).run()):
        await clock.advance(10)

        assert loop.begun == 0


async def test_the_lead_is_taken_when_it_comes_free(clock: FakeClock) -> None:
    lead, loop = Lead(held=False), Loop()

    async with running(schedule(lead, clock, loop).run()):
        await clock.advance(10)
        lead.held = True
        await clock.advance(CHECK_S)

        assert loop.runs


async def test_the_lead_is_checked_every_second(clock: FakeClock) -> None:
    lead = Lead(held=True)

    async with running(schedule(lead, clock, Loop()).run()):
        before = lead.asked
        await clock.advance(10 * CHECK_S)

        assert lead.asked == before + 10


async def test_a_lost_lead_ends_the_loops(clock: FakeClock) -> None:
    lead, one, other = Lead(held=True), Loop(), Loop()

    async with running(schedule(lead, clock, one, other).run()) as run:
        lead.held = False
        await clock.advance(CHECK_S)

        assert (one.runs, other.runs, run.done()) == (False, False, False)


async def test_a_regained_lead_runs_the_loops_again(clock: FakeClock) -> None:
    lead, loop = Lead(held=True), Loop()

    async with running(schedule(lead, clock, loop).run()):
        lead.held = False
        await clock.advance(2 * CHECK_S)
        lead.held = True
        await clock.advance(2 * CHECK_S)

        assert (loop.begun, loop.runs) == (2, True)


async def test_of_two_schedulers_only_the_leader_runs_its_loops(clock: FakeClock) -> None:
    leads = Lead(held=True), Lead(held=False)
    loops = Loop(), Loop()

    async with (
        running(schedule(leads[0], clock, loops[0]).run()),
        running(schedule(leads[1], clock, loops[1]).run()),
    ):
        before = [loop.runs for loop in loops]
        leads[0].held, leads[1].held = False, True
        await clock.advance(2 * CHECK_S)

        assert (before, [loop.runs for loop in loops]) == ([True, False], [False, True])


async def test_a_faulty_loop_ends_it_and_the_others(clock: FakeClock) -> None:
    faulty, sound = Loop(), Loop()

    async with running(schedule(Lead(held=True), clock, faulty, sound).run()) as run:
        faulty.fault.set_exception(Broken())
        await settle()

        assert run.done()
        with pytest.raises(Broken):
            await run
        assert not sound.runs


async def test_a_fault_gives_the_lead_up(clock: FakeClock) -> None:
    lead, faulty = Lead(held=True), Loop()

    async with running(schedule(lead, clock, faulty).run()):
        faulty.fault.set_exception(Broken())
        await settle()

        assert (lead.released, lead.held) == (1, False)


async def test_a_leader_that_is_ended_ends_its_loops_and_gives_the_lead_up(clock: FakeClock) -> None:
    lead, loop = Lead(held=True), Loop()

    async with running(schedule(lead, clock, loop).run()):
        pass

    assert (loop.runs, lead.released) == (False, 1)


async def test_the_loops_have_ended_before_the_lead_is_given_up(clock: FakeClock) -> None:
    lead = Lead(held=True)
    order: list[str] = []

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            order.append(f"ended, lead given up {lead.released} times")

    async with running(schedule(lead, clock, slow_to_end).run()):
        pass

    assert order == ["ended, lead given up 0 times"]


async def test_waiting_for_the_lead_it_gives_it_up_too_when_ended(clock: FakeClock) -> None:
    lead = Lead(held=False)

    async with running(schedule(lead, clock, Loop()).run()):
        pass

    assert lead.released == 1


async def test_a_leadership_that_fails_ends_it(clock: FakeClock) -> None:
    class Failing(Lead):
        async def hold(self) -> bool:
            if self.asked == 3:
                raise Broken
            return await super().hold()

    lead, loop = Failing(held=True), Loop()
    async with running(schedule(lead, clock, loop).run()) as run:
        await clock.advance(10 * CHECK_S)

        with pytest.raises(Broken):
            await run
        assert (loop.runs, lead.released) == (False, 1)


async def test_no_task_outlives_it(clock: FakeClock) -> None:
    async with left_tidy():
        before = asyncio.all_tasks()
        async with running(schedule(Lead(held=True), clock, Loop(), Loop()).run()):
            await clock.advance(3)
        await settle()

        assert asyncio.all_tasks() == before
