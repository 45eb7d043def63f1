"""Keep children running: start them, restart the dead with a growing pause, stop them in order.

What a child is does not matter here (`children.py` has the real ones), so all of this runs on a clock and
children of a test's own.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from pulse_domain.ports.clock import Clock

PAUSES_S = (1.0, 2.0, 4.0, 8.0)
STEADY_S = 60.0
QUICK_DEATHS_MAX = 6


class ChildFailed(Exception):
    """A child did not come up; the text says why."""


class Child(Protocol):
    """Something that runs, and may end by itself. `name` is unique among the children.

    pid: while it runs.
    """

    @property
    def name(self) -> str: ...

    @property
    def pid(self) -> int | None: ...

    async def start(self) -> None:
        """Run it, anew where it ran before, and return when it is ready.

        Raises:
            ChildFailed: it is not; nothing of it is left running.
        """
        ...

    async def ended(self) -> str:
        """Wait for its end, and say how it ended."""
        ...

    async def stop(self) -> None:
        """End it gracefully, else by force. Safe to repeat, and at any time."""
        ...


class RestartPolicy:
    """Counts the deaths of one child.

    A child that has lived for a minute counts as sound: the next pause is the shortest again.
    """

    def __init__(
        self,
        *,
        pauses_s: Sequence[float] = PAUSES_S,
        steady_s: float = STEADY_S,
        quick_deaths_max: int = QUICK_DEATHS_MAX,
    ) -> None:
        self._pauses_s = pauses_s
        self._steady_s = steady_s
        self._quick_deaths_max = quick_deaths_max
        self._quick_deaths = 0

    @property
    def quick_deaths(self) -> int:
        return self._quick_deaths

    def pause_s(self, lived_s: float) -> float | None:
        """How long to wait after a death, told how long the child lived; None to give it up."""
        self._quick_deaths = 1 if lived_s >= self._steady_s else self._quick_deaths + 1
        if self._quick_deaths > self._quick_deaths_max:
            return None
        return self._pauses_s[min(self._quick_deaths, len(self._pauses_s)) - 1]


class Vital(Struct, frozen=True, kw_only=True):
    """What a child is at the moment. restarts: since the supervisor began."""

    name: str
    pid: int | None
    restarts: int


class _Kept:
    def __init__(self, child: Child) -> None:
        self.child = child
        self.policy = RestartPolicy()
        self.restarts = 0
        self.keeper: asyncio.Task[None] | None = None


class Supervisor:
    """say: tells a person. changed: told whenever a process id has changed.

    `failed` is set, with the reason in `reason`, where a child is given up.
    """

    def __init__(self, clock: Clock, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._clock = clock
        self._say = say
        self._changed = changed
        self._kept: list[_Kept] = []
        self.failed = asyncio.Event()
        self.reason = ""

    def vitals(self) -> list[Vital]:
        return [Vital(name=each.child.name, pid=each.child.pid, restarts=each.restarts) for each in self._kept]

    async def start(self, *children: Child) -> None:
        """Start children side by side, and keep them from then on.

        Raises:
            ChildFailed: one did not come up; a first start is not tried again. The others are still to be
                stopped.
        """
        added = [_Kept(child) for child in children]
        self._kept += added  # before they run, so that an end at any time stops them
        starting = [asyncio.ensure_future(_first_start(each.child)) for each in added]
        try:
            await asyncio.gather(*starting)
        finally:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
        for each in added:
            each.keeper = asyncio.create_task(self._keep(each), name=f"keep-{each.child.name}")
        self._changed()

    async def stop(self, order: Iterable[Iterable[str]]) -> None:
        """Stop all, group by group in the order given; within a group and of the rest side by side."""
        keepers = [each.keeper for each in self._kept if each.keeper is not None]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        left = {each.child.name: each.child for each in self._kept}
        for group in [*order, list(left)]:
            await asyncio.gather(*(left.pop(name).stop() for name in list(group) if name in left))
        self._changed()

    async def _keep(self, kept: _Kept) -> None:
        child, began = kept.child, self._clock.monotonic()
        how = await child.ended()
        while True:
            pause_s = kept.policy.pause_s(self._clock.monotonic() - began)
            self._changed()
            if pause_s is None:
                self._give_up(
                    f"{child.name} {how}; it is given up after {kept.policy.quick_deaths} quick deaths"
                )
                return
            self._say(f"{child.name} {how}; started again in {pause_s:g} s")
            await self._clock.sleep(pause_s)
            began = self._clock.monotonic()
            kept.restarts += 1
            try:
                await child.start()
            except ChildFailed as failed:
                how = str(failed)
                continue
            self._say(f"{child.name} is up again")
            self._changed()
            how = await child.ended()

    def _give_up(self, reason: str) -> None:
        if not self.failed.is_set():
            self.reason = reason
            self.failed.set()


async def _first_start(child: Child) -> None:
    try:
        await child.start()
    except ChildFailed as failed:
        raise ChildFailed(f"{child.name} {failed}") from failed
