"""Be seen alive: others may send what this process had claimed only once it is proven dead."""

from typing import Protocol

import structlog

from pulse_domain.ports.clock import Clock
from service_kit import bound

log = structlog.get_logger(__name__)

_CHECK_S = 1.0


class Presence(Protocol):
    """A lock under the name of this process, which goes with it when it is killed."""

    async def hold(self) -> bool:
        """Take the lock, or see whether it is still ours."""
        ...

    async def release(self) -> None: ...


class ExecutorPresence:
    def __init__(self, presence: Presence, clock: Clock) -> None:
        self._presence = presence
        self._clock = clock

    async def run(self) -> None:
        with bound(worker="executor"):
            held = None
            try:
                while True:
                    before, held = held, await self._presence.hold()
                    if before is True and not held:
                        # Nothing stops: should this process die now, its claims end as failed, not sent again.
                        log.warning("the lock of this process is lost; it is taken again")
                    await self._clock.sleep(_CHECK_S)
            finally:
                await self._presence.release()
