"""The time that a recording was made at, running while it is played."""

from datetime import UTC, datetime, timedelta

from pulse_domain.ports.clock import Clock
from pulse_domain.units import to_time, to_us

_SECOND_US = 1_000_000
# How soon somebody who waits looks again where the feed, and not the clock, is behind.
_HELD_LOOK_S = 0.005
# How soon a leap is noticed, and that something else is wanted.
_LOOK_S = 0.25


class ReplayClock:
    """Implements `Clock` in recorded time: its seconds are those of the recording, `speed` of them in one of
    `clock`.

    It stands at the first row until the feed runs. It is never ahead of a row that is not given yet, however
    late the feed is, so that what lives by this clock sees the rows of an instant before it sees the instant
    pass. It leaps over what the feed leaves out, and goes on after the last row.
    """

    def __init__(self, clock: Clock, starts_at: datetime, speed: float) -> None:
        self._clock = clock
        self._first_us = self._from_us = to_us(starts_at)
        self._per_s = speed * _SECOND_US
        self._from_s: float | None = None
        self._held_us: int | None = None

    def now(self) -> datetime:
        return to_time(self.now_us()).astimezone(UTC)

    def monotonic(self) -> float:
        return (self.now_us() - self._first_us) / _SECOND_US

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await self._clock.sleep(0)
            return
        until_us = self.now_us() + round(seconds * _SECOND_US)
        while (left_us := until_us - self.now_us()) > 0:
            left_s = min(left_us / self._per_s, _LOOK_S)
            await self._clock.sleep(max(left_s, _HELD_LOOK_S) if self._is_held() else left_s)

    # --- for the feed

    def start(self) -> None:
        """Run from where it stands, if it does."""
        if self._from_s is None:
            self._from_s = self._clock.monotonic()

    def stop(self) -> None:
        """Stand still until it is started again."""
        self._from_us, self._from_s = self.now_us(), None

    def hold(self, us: int | None) -> None:
        """Do not go beyond this instant; None lets it go."""
        self._held_us = us

    def leap(self, us: int) -> None:
        """Be at a later instant at once."""
        self._from_us, self._from_s = us, self._clock.monotonic()

    async def wait_towards(self, us: int) -> None:
        """Wait until this instant, or for a while."""
        await self._clock.sleep(min((us - self._free_us()) / self._per_s, _LOOK_S))

    def is_due(self, us: int) -> bool:
        return us <= self._free_us()

    def now_us(self) -> int:
        free_us = self._free_us()
        return free_us if self._held_us is None else min(free_us, self._held_us)

    def _is_held(self) -> bool:
        return self._from_s is None or (self._held_us is not None and self._free_us() > self._held_us)

    def _free_us(self) -> int:
        if self._from_s is None:
            return self._from_us
        return self._from_us + int((self._clock.monotonic() - self._from_s) * self._per_s)


def seconds_us(seconds: float) -> int:
    """Seconds as microseconds."""
    return timedelta(seconds=seconds) // timedelta(microseconds=1)
