"""A simulated process, with a clock of its own and the right to run; and the network between it and the world.

What a process asks of the world is a **request**: it leaves, arrives somewhere and has its effect there in one
instant, and its answer comes back. Killing the process may lose what has not arrived yet; freezing it holds up
what is not sent yet, and the answers.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar

from tests.simulation.loop import PROCESS, Handle, SimulatedLoop

T = TypeVar("T")

# How long after a kill what was written before it may still arrive.
_IN_THE_NETWORK_S = 30.0


class Gone(asyncio.CancelledError):
    """The simulation is over: whoever still waits is to end."""


class Process:
    """skew_s: how far its wall clock is off. on_end: told when `main` has ended by itself."""

    def __init__(
        self, loop: SimulatedLoop, name: str, start: datetime, rng: Random, *, skew_s: float = 0.0
    ) -> None:
        self.name = name
        self.loop = loop
        self.rng = rng
        self.skew_s = skew_s
        self.runs = True
        self.alive = True
        self.over = False
        self.frozen_s = 0.0
        self.outgoing: dict[Request, None] = {}
        # Calls that nobody waits for any more, and that may still arrive.
        self.hanging = 0
        self.context = Context()
        self.context.run(PROCESS.set, self)
        self.clock = ProcessClock(self, start)
        self._frozen_at = 0.0
        self._kept: list[Handle] = []

    def keep(self, handle: Handle) -> None:
        self._kept.append(handle)

    def begin(self, main: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run a task in this process."""
        return self.loop.create_task(main, name=f"{self.name}:{name}", context=self.context.copy())

    def kill(self) -> None:
        """kill -9: nothing of it runs again. What has not arrived yet may or may not arrive."""
        self.alive = self.runs = False
        for sent in tuple(self.outgoing):
            sent.lost = self.rng.random() < 0.5
            if not sent.lost and sent.arrives_at > self.loop.time() + _IN_THE_NETWORK_S:
                # The kernel goes on for a while with what was written, and not for longer.
                self.loop.after(self.rng.uniform(0.0, _IN_THE_NETWORK_S), _arrive, sent)
        self.outgoing.clear()

    def freeze(self) -> None:
        """SIGSTOP."""
        self.runs = False
        self._frozen_at = self.loop.time()

    def wake(self) -> None:
        """SIGCONT: it goes on in the middle, much later by every clock."""
        if not self.alive or self.runs:
            return
        self.runs = True
        self.frozen_s += self.loop.time() - self._frozen_at
        self._go_on()

    def end(self) -> None:
        """The simulation is over: let its tasks run to their ends, whatever it was."""
        self.over = True
        self.runs = True
        self._go_on()

    def _go_on(self) -> None:
        kept, self._kept = self._kept, []
        for handle in kept:
            self.loop.again(handle)

    async def never(self) -> None:
        """Wait for what does not come, as a process does that was killed at this point."""
        await self.loop.create_future()

    def pause(self, seconds: float) -> "asyncio.Future[None]":
        waits: asyncio.Future[None] = self.loop.create_future()
        if self.over:
            waits.set_exception(Gone())
        else:
            self.loop.call_at(self.loop.time() + seconds, settle, waits, context=self.context)
        return waits


class ProcessClock:
    """Implements the `Clock` port.

    oversleep: how long a sleep lasts instead, while nothing happens that it could miss.
    on_oversleep: told of a sleep that is prolonged, by its future, its process, and the seconds asked for.
    """

    def __init__(self, process: Process, start: datetime) -> None:
        self._process = process
        self._loop = process.loop
        self._start = start + timedelta(seconds=process.skew_s)
        self.oversleep: Callable[[float], float] = lambda seconds: seconds
        self.on_oversleep: Callable[[asyncio.Future[None], Process, float], object] = lambda *told: None

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time() + 1000.0

    def sleep(self, seconds: float) -> "asyncio.Future[None]":
        # A future at once: half of all that a simulation does is to sleep, and a task for each would double it.
        process = self._process
        waits: asyncio.Future[None] = self._loop.create_future()
        if process.over:
            waits.set_exception(Gone())
            return waits
        lasting = self.oversleep(seconds) if seconds > 0 else 0.0
        if lasting > seconds:
            self.on_oversleep(waits, process, seconds)
        self._loop.call_at(self._loop.time() + lasting, settle, waits, context=process.context)
        return waits


class WorldClock:
    """The time of the world, and of the store."""

    def __init__(self, loop: SimulatedLoop, start: datetime) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Request:
    """One request of a process on its way."""

    __slots__ = ("answer", "arrives_at", "back_s", "effect", "lost", "on_arrival", "process")

    def __init__(
        self,
        process: Process,
        answer: "asyncio.Future[Any]",
        effect: Callable[[], Any],
        arrives_at: float,
        back_s: float,
        on_arrival: Callable[[], object] | None,
    ) -> None:
        self.process = process
        self.answer = answer
        self.effect = effect
        self.arrives_at = arrives_at
        self.back_s = back_s
        self.on_arrival = on_arrival
        # Also of one that has arrived.
        self.lost = False


def request(
    process: Process,
    effect: Callable[[], T],
    *,
    there_s: float,
    back_s: float,
    on_arrival: Callable[[], object] | None = None,
) -> "asyncio.Future[T]":
    """Have `effect` take place in the world, and its result or error come back to the process."""
    loop = process.loop
    answer: asyncio.Future[T] = loop.create_future()
    if process.over:
        answer.set_exception(Gone())
        return answer
    sent = Request(process, answer, effect, loop.time() + there_s, back_s, on_arrival)
    process.outgoing[sent] = None
    loop.after(there_s, _arrive, sent)
    return answer


def _arrive(sent: Request) -> None:
    process = sent.process
    process.outgoing.pop(sent, None)
    if sent.lost or process.over:
        return
    sent.lost = True
    result, error = None, None
    try:
        result = sent.effect()
    except Exception as raised:
        error = raised
    if sent.on_arrival is not None:
        sent.on_arrival()
    if sent.back_s > 0:
        process.loop.call_later(sent.back_s, _settle, sent.answer, result, error, context=process.context)
    else:
        process.loop.call_soon(_settle, sent.answer, result, error, context=process.context)


def _settle(answer: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)


def settle(waits: "asyncio.Future[None]") -> None:
    if not waits.done():
        waits.set_result(None)
