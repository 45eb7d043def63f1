"""The venue's own clock: another machine's, so it is a little off, and it can be moved on."""

from datetime import datetime, timedelta

from pulse_domain.ports.clock import Clock


class VenueClock:
    """`offset_s` is how far it is ahead of the real one."""

    def __init__(self, clock: Clock, offset_s: float = 0.0) -> None:
        self._clock = clock
        self._offset = timedelta(seconds=offset_s)
        self._moved = timedelta()

    @property
    def offset_s(self) -> float:
        return self._offset.total_seconds()

    def now(self) -> datetime:
        return self._clock.now() + self._offset

    def unmoved(self) -> datetime:
        """Now, as if the clock had never been moved on: for what others make by their own clocks."""
        return self.now() - self._moved

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    def advance(self, seconds: float) -> None:
        """Raises ValueError for a step back: what has happened is not undone."""
        if seconds < 0:
            raise ValueError("the clock moves forward only")
        self._offset += timedelta(seconds=seconds)
        self._moved += timedelta(seconds=seconds)
