"""Leave to call the broker, within its limits."""

from collections.abc import Sequence
from typing import Protocol

from pulse_domain.traffic import CallCounts, CallKind, Granted, LaneView, Refused


class RateLimiter(Protocol):
    """Counts the calls of one lane: those that one user makes at one broker, in every process.

    In no window of a second or a minute, whatever its phase, and on no day are more calls granted than the
    limits say. Cancels come before placements and changes, which leave them a reserve. Who waits longest is
    served first.
    """

    async def acquire(self, kind: CallKind, *, count: int = 1, timeout_s: float) -> Granted | Refused:
        """Wait for leave to make up to `count` calls; the first that can be granted end the wait.

        The calls are to be made at once: leave that has waited says nothing any more. Ending the wait by
        cancelling the task leaves nothing counted.
        """
        ...

    async def give_back(self, tokens: Sequence[str]) -> None:
        """Return leave that was not used; it does not count any more. Never raises."""
        ...

    async def peek(self) -> LaneView:
        """What counts at the moment; it changes nothing."""
        ...

    async def reseed(self, counts: CallCounts) -> None:
        """Take over what the ledger knows of calls before now, where it is more than is counted already."""
        ...

    async def close(self) -> None:
        """End all connections; the limiter is not used afterwards."""
        ...
