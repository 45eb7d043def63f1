"""Wait for an instant or for somebody's word, whichever is first."""

import asyncio

from pulse_domain.ports.clock import Clock


class Wakeup:
    """Calls between two waits count as one; a call during work is not lost."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._called = asyncio.Event()

    def call(self) -> None:
        self._called.set()

    async def wait(self, seconds: float | None = None) -> None:
        """Return after `seconds`, if any, or as soon as it is called."""
        if seconds is None:
            await self._called.wait()
        elif not self._called.is_set() and seconds > 0:
            waiting = asyncio.ensure_future(self._called.wait())
            sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
            try:
                await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
                sleeping.cancel()
        self._called.clear()
