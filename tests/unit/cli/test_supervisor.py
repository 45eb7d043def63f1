"""The supervisor on a clock that is moved by hand, with children that do as they are told."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pulse.supervisor import QUICK_DEATHS_MAX, ChildFailed, RestartPolicy, Supervisor
from pulse_domain.testing.fake_clock import FakeClock, settle


class FakeChild:
    """It lives until `die`; `refusals` starts in a row fail. What happens is noted in `journal`."""

    def __init__(self, name: str, journal: list[str], *, refusals: int = 0) -> None:
        self.name = name
        self.pid: int | None = None
        self.refusals = refusals
        self.starts = 0
        self.is_up = asyncio.Event()
        self.is_up.set()
        self._journal = journal
        self._dead = asyncio.Event()

    async def start(self) -> None:
        self.starts += 1
        self._journal.append(f"start {self.name}")
        await self.is_up.wait()
        if self.refusals > 0:
            self.refusals -= 1
            raise ChildFailed("ended with exit code 2")
        self._dead.clear()
        self.pid = self.starts

    async def ended(self) -> str:
        await self._dead.wait()
        self.pid = None
        return "was ended by signal 9"

    async def stop(self) -> None:
        self._journal.append(f"stop {self.name}")
        await asyncio.sleep(0)
        self._journal.append(f"stopped {self.name}")
        self._dead.set()

    async def die(self) -> None:
        self._dead.set()
        await settle()


class Desk:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.said: list[str] = []
        self.journal: list[str] = []
        self.changes = 0
        self.supervisor = Supervisor(self.clock, self.said.append, self.changed)

    def changed(self) -> None:
        self.changes += 1

    def child(self, name: str = "worker", *, refusals: int = 0) -> FakeChild:
        return FakeChild(name, self.journal, refusals=refusals)


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    await desk.supervisor.stop([])


def test_pauses_grow_to_the_longest_and_an_end_comes() -> None:
    policy = RestartPolicy()

    pauses = [policy.pause_s(lived_s=0.5) for _ in range(QUICK_DEATHS_MAX + 1)]

    assert pauses == [1, 2, 4, 8, 8, 8, None]


@pytest.mark.parametrize(("lived_s", "pause_s"), [(59.9, 4), (60, 1)])
def test_a_minute_of_life_counts_as_sound(lived_s: float, pause_s: float) -> None:
    policy = RestartPolicy()
    policy.pause_s(0)
    policy.pause_s(0)

    assert policy.pause_s(lived_s) == pause_s


async def test_a_dead_child_is_started_again_after_its_pause(desk: Desk) -> None:
    child = desk.child()
    await desk.supervisor.start(child)

    await child.die()
    await desk.clock.advance(0.9)
    before = child.starts
    await desk.clock.advance(0.2)

    assert (before, child.starts, child.pid) == (1, 2, 2)
    [vital] = desk.supervisor.vitals()
    assert (vital.name, vital.pid, vital.restarts) == ("worker", 2, 1)
    assert desk.said == ["worker was ended by signal 9; started again in 1 s", "worker is up again"]
    assert desk.changes == 3, "told of the start, of the death, and of the new start"


async def test_deaths_far_apart_are_met_with_the_shortest_pause(desk: Desk) -> None:
    child = desk.child()
    await desk.supervisor.start(child)

    for _ in range(3 * QUICK_DEATHS_MAX):
        await desk.clock.advance(61)
        await child.die()
        await desk.clock.advance(1)

    assert child.starts == 1 + 3 * QUICK_DEATHS_MAX
    assert not desk.supervisor.failed.is_set()


async def test_starts_that_fail_are_deaths_too(desk: Desk) -> None:
    child = desk.child()
    await desk.supervisor.start(child)
    child.refusals = 2

    await child.die()
    await desk.clock.advance(1 + 2 + 3.9)
    before = child.pid
    await desk.clock.advance(0.2)

    assert (before, child.pid, child.starts) == (None, 4, 4)


async def test_a_child_that_keeps_dying_is_given_up(desk: Desk) -> None:
    child, other = desk.child(), desk.child("gapi")
    await desk.supervisor.start(child, other)
    child.refusals = 1000

    await child.die()
    await desk.clock.advance(1 + 2 + 4 + 8 + 8 + 7)
    before = desk.supervisor.failed.is_set()
    await desk.clock.advance(2)

    assert (before, desk.supervisor.failed.is_set()) == (False, True)
    assert desk.supervisor.reason == "worker ended with exit code 2; it is given up after 7 quick deaths"
    assert child.starts == 1 + QUICK_DEATHS_MAX
    assert other.starts == 1


async def test_a_first_start_that_fails_is_not_tried_again(desk: Desk) -> None:
    child = desk.child(refusals=1)

    with pytest.raises(ChildFailed, match=r"^worker ended with exit code 2$"):
        await desk.supervisor.start(child)
    await desk.clock.advance(100)

    assert child.starts == 1


async def test_children_are_stopped_group_by_group_and_the_rest_last(desk: Desk) -> None:
    names = ["postgres", "extra", "worker-1", "worker-2", "gapi"]
    await desk.supervisor.start(*(desk.child(name) for name in names))
    desk.journal.clear()

    await desk.supervisor.stop([["gapi"], ["worker-1", "worker-2"], ["unknown"], ["postgres"]])

    assert desk.journal == [
        "stop gapi", "stopped gapi",
        "stop worker-1", "stop worker-2", "stopped worker-1", "stopped worker-2",
        "stop postgres", "stopped postgres",
        "stop extra", "stopped extra",
    ]  # fmt: skip
    await desk.clock.advance(100)
    assert desk.said == [], "nobody is started again"


async def test_a_stop_in_a_pause_or_in_a_start_starts_nobody(desk: Desk) -> None:
    pausing, starting = desk.child("pausing"), desk.child("starting")
    await desk.supervisor.start(pausing, starting)
    starting.is_up.clear()
    await starting.die()
    await desk.clock.advance(1)
    await pausing.die()

    await desk.supervisor.stop([])
    await desk.clock.advance(100)

    assert (pausing.starts, starting.starts) == (1, 2)
    assert {"stopped pausing", "stopped starting"} <= set(desk.journal)


async def test_what_was_being_started_is_stopped_too(desk: Desk) -> None:
    slow = desk.child("slow")
    slow.is_up.clear()
    starting = asyncio.create_task(desk.supervisor.start(slow))
    await settle()

    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    await desk.supervisor.stop([])

    assert desk.journal == ["start slow", "stop slow", "stopped slow"]
