"""A clock that stands still until it is told to move."""

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Time moves only by `advance`, or, with `auto=True`, by every `sleep`."""

    def __init__(self, start: datetime | None = None, *, auto: bool = False) -> None:
        self._start = start or datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
        self._elapsed_s = 0.0
        self._auto = auto
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        if self._auto:
            self._elapsed_s += seconds
            await asyncio.sleep(0)
            return
        wakes: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed_s + seconds, next(self._order), wakes))
        await wakes

    async def advance(self, seconds: float) -> None:
        """Move time on, waking sleepers in the order of their instants and letting each run."""
        await settle()
        until = self._elapsed_s + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            instant, _, wakes = heapq.heappop(self._sleepers)
            self._elapsed_s = max(self._elapsed_s, instant)
            if not wakes.done():
                wakes.set_result(None)
            await settle()
        self._elapsed_s = until
        await settle()


async def settle(turns: int = 20) -> None:
    """Let every task that can run do so for some turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
