"""The limiter of a broker without limits."""

from collections.abc import Sequence
from math import inf

from pulse_domain.traffic.calls import CallCounts, CallKind, Granted, LaneView, Refused


class Unlimited:
    """Implements the `RateLimiter` port: whatever is asked is granted, and nothing is counted."""

    async def acquire(self, kind: CallKind, *, count: int = 1, timeout_s: float) -> Granted | Refused:
        return Granted(tokens=("",) * count, fresh_until=inf)

    async def give_back(self, tokens: Sequence[str]) -> None:
        pass

    async def peek(self) -> LaneView:
        return LaneView(second=0, minute=0, day=0, waiting=0)

    async def reseed(self, counts: CallCounts) -> None:
        pass

    async def close(self) -> None:
        pass
