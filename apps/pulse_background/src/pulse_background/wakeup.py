"""Wait for an instant or for somebody's word, whichever is first."""

import asyncio

from pulse_domain.ports.clock import Clock


class Wakeup:
    """Calls between two waits count as one; a call during work is not lost."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._called = False
        self._waiting: set[asyncio.Future[None]] = set()

    def call(self) -> None:
        self._called = True
        for waiting in self._waiting:
            _finish(waiting)

    async def wait(self, seconds: float | None = None) -> None:
        """Return after `seconds`, if any, or as soon as it is called."""
        if not self._called and (seconds is None or seconds > 0):
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(waiting)
            sleeping = None
            if seconds is not None:
                sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
                sleeping.add_done_callback(lambda _: _finish(waiting))
            try:
                await waiting
            finally:
                self._waiting.discard(waiting)
                if sleeping is not None:
                    sleeping.cancel()
        self._called = False


def _finish(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
