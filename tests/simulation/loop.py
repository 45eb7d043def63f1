"""An event loop without an outside: time is virtual, and jumps to the next timer when nothing is ready.

Every callback belongs to a simulated process, or to the world (`PROCESS` is None in its context). Those of a
process that is frozen wait until it is woken; those of one that was killed never run. As the tasks of a
process are nothing but callbacks, any `await` may so be the last of them, without a `finally` ever running.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Owner(Protocol):
    """Who a callback belongs to."""

    runs: bool

    def keep(self, handle: "Handle") -> None:
        """Take a callback that is ready while its owner does not run."""
        ...


PROCESS: ContextVar[Owner | None] = ContextVar("simulated_process", default=None)


class Handle:
    __slots__ = ("args", "callback", "cancelled_", "context", "when_")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when: float = 0.0
    ) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args
        self.context = context
        self.when_ = when
        self.cancelled_ = False

    def cancel(self) -> None:
        self.cancelled_ = True
        self.callback = None
        self.args = ()

    def cancelled(self) -> bool:
        return self.cancelled_

    def when(self) -> float:
        return self.when_


class SimulatedLoop(asyncio.AbstractEventLoop):
    """faults: what was raised in a callback or never looked at; a simulation is to end with none.

    Timers of the same instant fire in an order that `rng` draws.
    """

    def __init__(self, rng: Random) -> None:
        self._now = 0.0
        self._random = rng.random
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[float, float, int, Handle]] = []
        self._count = 0
        self._stopping = False
        self.steps = 0
        self.faults: list[str] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.world = Context()

    # --- what asyncio asks for

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        self.tasks.append(task)
        if len(self.tasks) > 2000:
            self.tasks = [each for each in self.tasks if not each.done()]
        return task

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, context if context is not None else copy_context())
        self._ready.append(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args, context if context is not None else copy_context(), when)
        self._count += 1
        heapq.heappush(self._timers, (when, self._random(), self._count, handle))
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.faults.append(f"{context.get('message')}: {error!r}")

    # --- what a simulation asks for

    def at(self, when: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call back as the world, which no fault of a process can hold up."""
        return self.call_at(max(when, self._now), callback, *args, context=self.world)

    def after(self, delay: float, callback: Callable[..., object], *args: Any) -> Handle:
        return self.call_at(self._now + delay, callback, *args, context=self.world)

    def again(self, handle: Handle) -> None:
        """Put back what an owner has kept."""
        self._ready.append(handle)

    def stop(self) -> None:
        self._stopping = True

    def run(self, until: float, steps_max: int = 10_000_000) -> None:
        """Run until an instant, `stop`, or until nothing is left to do.

        Raises:
            RuntimeError: so many steps were not enough; something turns on the spot.
        """
        self._stopping = False
        ready, timers = self._ready, self._timers
        asyncio._set_running_loop(self)
        steps = 0
        try:
            while not self._stopping:
                if ready:
                    handle = ready.popleft()
                elif timers:
                    when = timers[0][0]
                    if when > until:
                        self._now = until
                        return
                    handle = heapq.heappop(timers)[3]
                    if handle.cancelled_:
                        continue
                    if when > self._now:
                        self._now = when
                else:
                    return
                callback = handle.callback
                if callback is None:
                    continue
                owner = handle.context.get(PROCESS)
                if owner is not None and not owner.runs:
                    owner.keep(handle)
                    continue
                handle.context.run(callback, *handle.args)
                steps += 1
                if steps > steps_max:
                    raise RuntimeError(f"no end after {steps} steps at {self._now}")
        finally:
            self.steps += steps
            asyncio._set_running_loop(None)

    def play(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run what needs no waiting to its end, in the world's name."""
        try:
            coroutine.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        raise AssertionError("a step of the store waits for nothing")


def simulated_loop(rng: Random) -> SimulatedLoop:
    """A new loop; what asyncio asks of none of our parts (sockets, signals, threads) it does not have."""
    return SimulatedLoop(rng)  # type: ignore[abstract]
