"""Limits that processes share: one lane in Redis, decided by one script, on the clock of Redis."""

from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from pulse_domain.traffic import Answer, CallCounts, CallKind, LaneRules, LaneView
from pulse_domain.traffic.lane import rank_of, tokens_of

_SCRIPT = files("pulse_adapters.limits").joinpath("lane.lua").read_text()
# Answers come within a millisecond. One that takes this long is as good as none: the share is at hand.
_TIMEOUT_S = 0.25


class RedisAway(Exception):
    """Redis gave no answer; what it was asked may have been done."""


class RedisLane:
    """One lane in Redis.

    lane: names the user at the broker whose calls are counted together, such as `zerodha:AB1234`.
    worker: names this process. at_us: another clock than that of Redis, for tests.
    """

    def __init__(
        self,
        redis_url: str,
        rules: LaneRules,
        *,
        lane: str,
        worker: str,
        at_us: Callable[[], int] = lambda: 0,
    ) -> None:
        self._redis = Redis.from_url(
            redis_url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            # A lost answer is not asked for again: it may be a leave that was given.
            retry=Retry(NoBackoff(), 0),
        )
        self._script = self._redis.register_script(_SCRIPT)
        self._rules = rules
        # Braces keep the keys of a lane together on one node of a cluster.
        self._keys = [f"pulse:lane:{{{lane}}}:{part}" for part in ("calls", "lane", "waiting", "workers")]
        self._worker = worker
        self._at_us = at_us
        self.workers: int | None = None

    async def ask(self, ticket: str, kind: CallKind, count: int) -> Answer:
        """As `Lane.ask`.

        Raises:
            RedisAway: nothing is known; the calls may be counted.
        """
        room = self._rules.room(kind)
        spaced = (self._rules.spacing_us, self._rules.spaced_at_once)
        reply = await self._run("ask", ticket, rank_of(kind), count, *room, *spaced)
        return Answer(reply[0], reply[1], seeded=reply[2] == 1)

    async def leave(self, ticket: str, count: int) -> None:
        await self._run("leave", ticket, *tokens_of(ticket, count))

    async def give_back(self, tokens: Sequence[str]) -> None:
        await self._run("give_back", *tokens)

    async def seed(self, counts: CallCounts, *, recent: int = 0, lost: bool = False) -> None:
        """recent: calls of this process within the last second that Redis was not told of.
        lost: Redis was away; if it has no counts any more, they are lost."""
        await self._run("seed", counts.last_minute, counts.day, recent, int(lost), self._rules.quiet_us)

    async def view(self) -> LaneView:
        _, _, _, second, minute, day, waiting, workers = await self._run("view")
        return LaneView(second=second, minute=minute, day=day, waiting=waiting, workers=workers)

    async def close(self) -> None:
        await self._redis.aclose()

    async def _run(self, operation: str, *args: Any) -> list[int]:
        rules = self._rules
        given = [operation, self._worker, rules.second_us, rules.minute_us, self._at_us(), *args]
        try:
            reply = cast(list[int], await cast(Awaitable[Any], self._script(keys=self._keys, args=given)))
        except (RedisError, OSError) as error:
            # The kind alone: the text may repeat the address, password included.
            raise RedisAway(type(error).__name__) from error
        self.workers = reply[7]
        return reply
