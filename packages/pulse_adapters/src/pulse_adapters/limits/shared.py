"""Limits shared through Redis, and what to do while it is away.

Without Redis each worker counts alone and takes its **share**: the limits divided by the workers that were
seen last, or the least there can be where none ever were. Both ways there and back leave no gap in which a
second could hold more than the limit:

- into the share: the ledger tells what was called in the last minute and today, and placements wait until
  what others may have sent within the last second counts no more;
- back: where Redis has lost its counts it is seeded from the ledger, and placements wait until every worker
  has had the time to notice; where it has not, the calls made meanwhile are added.

A worker that alone cannot reach Redis, while others can, takes its share *besides* theirs.
"""

from collections.abc import Awaitable, Sequence
from typing import TypeVar

import structlog
from msgspec.structs import replace

from pulse_adapters.limits.redis import RedisAway, RedisLane
from pulse_domain.ports.clock import Clock
from pulse_domain.traffic import Answer, CallCounts, CallKind, Lane, LaneRules, LaneView

log = structlog.get_logger(__name__)

_US = 1_000_000
# How often Redis is tried while it is away; the script waits longer than this after a loss.
_RETRY_S = 0.25
T = TypeVar("T")


class SharedGate:
    """Implements `Gate` by a lane in Redis, and by a share of it in memory."""

    def __init__(self, redis: RedisLane, rules: LaneRules, clock: Clock) -> None:
        self._redis = redis
        self._rules = rules
        self._clock = clock
        self._alone = False
        # The share; None until it is known what was called before.
        self._share: Lane | None = None
        self._rejoining = False
        self._retry_at = 0.0
        # Leave given to this process lately, by whomever: tokens with their instants.
        self._own: dict[str, float] = {}

    async def ask(self, ticket: str, kind: CallKind, count: int) -> Answer:
        await self._look_for_redis()
        if self._rejoining:
            return Answer(0, 0, seeded=False)
        answer = None if self._alone else await self._try(self._redis.ask(ticket, kind, count))
        if answer is None:
            if self._share is None:
                return Answer(0, 0, seeded=False)
            answer = self._share.ask(ticket, kind, count, *self._now())
            if answer.granted:
                self._note(answer.granted, ticket)
        return answer

    async def leave(self, ticket: str, count: int) -> None:
        if self._share is not None:
            self._share.leave(ticket, count)
        if not self._alone:
            await self._try(self._redis.leave(ticket, count))

    async def give_back(self, tokens: Sequence[str]) -> None:
        for token in tokens:
            self._own.pop(token, None)
        if self._share is not None:
            self._share.give_back(tuple(tokens))
        if not self._alone:
            await self._try(self._redis.give_back(tokens))

    async def view(self) -> LaneView:
        await self._look_for_redis()
        view = None if self._alone else await self._try(self._redis.view())
        if view is not None:
            return view
        if self._share is None:
            return LaneView(second=0, minute=0, day=0, waiting=0, workers=self._workers, shared=False)
        return replace(self._share.view(*self._now()), workers=self._workers, shared=False)

    async def seed(self, counts: CallCounts) -> None:
        if self._rejoining or not self._alone:
            self._rejoining = False
            if await self._try(self._seed_redis(counts)):
                if self._alone:
                    log.info("the limits are shared again")
                self._alone, self._share = False, None
                return
        part = CallCounts(last_minute=-(-counts.last_minute // self._workers), day=counts.day)
        if self._share is not None:
            self._share.seed(part, *self._now())
            return
        rules = self._rules.share(self._workers, counts)
        self._share = Lane(rules)
        self._share.seed(part, *self._now(), quiet=True)
        log.warning("taking a share of the limits", per_second=rules.limits.per_second)

    async def close(self) -> None:
        await self._redis.close()

    async def _look_for_redis(self) -> None:
        due = self._alone and self._clock.monotonic() >= self._retry_at
        if due and await self._try(self._redis.view()) is not None:
            self._rejoining = True

    @property
    def _workers(self) -> int:
        # Where none were ever seen there may be any number: then the share is one call a second.
        return self._redis.workers or self._rules.limits.per_second

    async def _seed_redis(self, counts: CallCounts) -> bool:
        horizon = self._clock.monotonic() - self._rules.second_us / _US
        recent = sum(at > horizon for at in self._own.values())
        await self._redis.seed(counts, recent=recent, lost=self._alone)
        self._own.clear()
        return True

    async def _try(self, asking: Awaitable[T]) -> T | None:
        try:
            return await asking
        except RedisAway as error:
            if not self._alone:
                log.warning("redis does not answer", error=str(error))
                self._alone, self._share = True, None
            self._retry_at = self._clock.monotonic() + _RETRY_S
            return None

    def _note(self, granted: int, ticket: str) -> None:
        now = self._clock.monotonic()
        horizon = now - self._rules.second_us / _US
        self._own = {token: at for token, at in self._own.items() if at > horizon}
        self._own.update({f"{ticket}:{number}": now for number in range(granted)})

    def _now(self) -> tuple[int, int]:
        return round(self._clock.monotonic() * _US), round(self._clock.now().timestamp() * _US)
