"""Waiting for leave: the part of every limiter that does not depend on where the calls are counted."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from pulse_domain.errors import StorageUnavailable
from pulse_domain.ports.clock import Clock
from pulse_domain.traffic import Answer, CallCounts, CallKind, Granted, LaneView, Refused
from pulse_domain.traffic.lane import REASK_US, LaneRules, tokens_of

log = structlog.get_logger(__name__)

_US = 1_000_000
_SEED_RETRY_S = 0.5


class Gate(Protocol):
    """Where calls are counted; the rules are those of `pulse_domain.traffic.lane.Lane`. Nothing here raises."""

    async def ask(self, ticket: str, kind: CallKind, count: int) -> Answer: ...

    async def leave(self, ticket: str, count: int) -> None: ...

    async def give_back(self, tokens: Sequence[str]) -> None: ...

    async def view(self) -> LaneView: ...

    async def seed(self, counts: CallCounts) -> None: ...

    async def close(self) -> None: ...


class GatedLimiter:
    """Implements the `RateLimiter` port on a gate.

    name: used by no other process, ever. counts: what was called before, by the ledger; asked for whenever
    the gate has lost count.
    """

    def __init__(
        self,
        gate: Gate,
        clock: Clock,
        rules: LaneRules,
        counts: Callable[[], Awaitable[CallCounts]],
        *,
        name: str,
    ) -> None:
        self._gate = gate
        self._clock = clock
        # Half of what calls may differ by is for the way to the socket, the other half for the network.
        self._fresh_s = rules.margin_s / 2
        self._counts = counts
        self._name = name
        self._numbers = itertools.count(1)
        self._freed = asyncio.Event()
        self._seeding = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()

    async def acquire(self, kind: CallKind, *, count: int = 1, timeout_s: float) -> Granted | Refused:
        ticket = f"{self._name}:{next(self._numbers)}"
        until = self._clock.monotonic() + timeout_s
        try:
            while True:
                freed, asked_at = self._freed, self._clock.monotonic()
                answer = await self._gate.ask(ticket, kind, count)
                if answer.granted:
                    return Granted(
                        tokens=tokens_of(ticket, answer.granted), fresh_until=asked_at + self._fresh_s
                    )
                if not answer.seeded and await self._seed():
                    continue
                wait_s = answer.wait_us / _US if answer.seeded else _SEED_RETRY_S
                left_s = until - self._clock.monotonic()
                if left_s <= 0:
                    await self._gate.leave(ticket, count)
                    return Refused(wait_s=wait_s)
                await self._pause(min(wait_s, left_s, REASK_US / _US), freed)
        except BaseException:
            # The answer may be on its way, and nobody is there to take it.
            task = asyncio.ensure_future(self._gate.leave(ticket, count))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
            raise

    async def give_back(self, tokens: Sequence[str]) -> None:
        await self._gate.give_back(tokens)
        # Whoever waits in this process looks again; others do so within a second.
        freed, self._freed = self._freed, asyncio.Event()
        freed.set()

    async def peek(self) -> LaneView:
        return await self._gate.view()

    async def reseed(self, counts: CallCounts) -> None:
        await self._gate.seed(counts)

    async def close(self) -> None:
        if self._leaving:
            await asyncio.wait(self._leaving)
        await self._gate.close()

    async def _seed(self) -> bool:
        async with self._seeding:
            try:
                counts = await self._counts()
            except StorageUnavailable as error:
                # Without the store nothing can be claimed either.
                log.warning("the calls of the day cannot be counted", error=error.message)
                return False
            await self._gate.seed(counts)
            return True

    async def _pause(self, seconds: float, freed: asyncio.Event) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        woken = asyncio.ensure_future(freed.wait())
        try:
            await asyncio.wait({sleeping, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            woken.cancel()
