"""Run some loops in one process only: the leader's."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

_CHECK_S = 1.0


class Leadership(Protocol):
    async def hold(self) -> bool:
        """Take the lead if it is free, or see whether it is still ours."""
        ...

    async def release(self) -> None: ...


class SoleProcess:
    """Leadership where there is nobody else: the all-in-one."""

    async def hold(self) -> bool:
        return True

    async def release(self) -> None:
        pass


class Scheduler:
    def __init__(
        self, leadership: Leadership, clock: Clock, loops: tuple[Callable[[], Awaitable[None]], ...]
    ) -> None:
        self._leadership = leadership
        self._clock = clock
        self._loops = loops

    async def run(self) -> None:
        """Run the loops while this process leads; wait for the lead otherwise."""
        try:
            while True:
                if await self._leadership.hold():
                    log.info("leading")
                    await self._lead()
                    log.warning("no longer leading")
                await self._clock.sleep(_CHECK_S)
        finally:
            await self._leadership.release()

    async def _lead(self) -> None:
        tasks = {asyncio.ensure_future(loop()) for loop in self._loops}
        try:
            while await self._leadership.hold():
                sleeping = asyncio.ensure_future(self._clock.sleep(_CHECK_S))
                try:
                    done, _ = await asyncio.wait({*tasks, sleeping}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    sleeping.cancel()
                for task in done & tasks:
                    # A loop ends only by a fault: let it end the process.
                    await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
