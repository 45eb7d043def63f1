"""Look at the limiter from time to time: for the figures, and so that others know of this process."""

from pulse_domain.ports.clock import Clock
from pulse_domain.ports.rate_limiter import RateLimiter

# Well below the time after which a silent process no longer counts as one that takes a share.
_LOOK_S = 3.0


class LimiterWatch:
    def __init__(self, limiter: RateLimiter, clock: Clock) -> None:
        self._limiter = limiter
        self._clock = clock

    async def run(self) -> None:
        while True:
            await self._limiter.peek()
            await self._clock.sleep(_LOOK_S)
