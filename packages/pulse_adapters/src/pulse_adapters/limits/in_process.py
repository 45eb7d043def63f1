"""Limits of a process that has the broker's user for itself: the all-in-one, or a single worker."""

from collections.abc import Sequence

from msgspec.structs import replace

from pulse_domain.ports.clock import Clock
from pulse_domain.traffic import Answer, CallCounts, CallKind, Lane, LaneRules, LaneView

_US = 1_000_000


class InProcessGate:
    """Implements `Gate` by a lane in memory."""

    def __init__(self, rules: LaneRules, clock: Clock) -> None:
        # There is nobody else who would have to notice anything.
        self._lane = Lane(replace(rules, notice_s=0.0))
        self._clock = clock

    async def ask(self, ticket: str, kind: CallKind, count: int) -> Answer:
        return self._lane.ask(ticket, kind, count, *self._now())

    async def leave(self, ticket: str, count: int) -> None:
        self._lane.leave(ticket, count)

    async def give_back(self, tokens: Sequence[str]) -> None:
        self._lane.give_back(tuple(tokens))

    async def view(self) -> LaneView:
        return self._lane.view(*self._now())

    async def seed(self, counts: CallCounts) -> None:
        self._lane.seed(counts, *self._now())

    async def close(self) -> None:
        pass

    def _now(self) -> tuple[int, int]:
        return round(self._clock.monotonic() * _US), round(self._clock.now().timestamp() * _US)
