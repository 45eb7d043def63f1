"""Strategies: which are to run, how they fare, and what they remember."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from pulse_domain.instruments import Instrument


class StrategyMode(StrEnum):
    """live: orders go where all orders go. paper: they are matched in the runner, no broker hears of them."""

    LIVE = "live"
    PAPER = "paper"


class StrategyState(StrEnum):
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    FAILED = "FAILED"  # it raised; a person looks at it and starts it again


class StrategyPlan(Struct, frozen=True, kw_only=True):
    """What a person wants of a strategy.

    name: also the tag of its orders.
    kind: of those that are shipped, or `FILE.py:Class`.
    capital: rupees that it counts with; None for those that the runner gives to every strategy.
    version: one more with every change; a checkpoint belongs to one.
    """

    name: str
    kind: str
    instruments: tuple[Instrument, ...]
    parameters: Mapping[str, Any]
    mode: StrategyMode
    capital: Decimal | None = None
    wanted: StrategyState
    version: int
    changed_by: str
    changed_at: datetime


class StrategyRow(Struct, frozen=True, kw_only=True):
    """A plan, and how the runner has found the strategy to fare. `detail` says why it failed."""

    plan: StrategyPlan
    state: StrategyState
    detail: str | None
    reported_at: datetime | None


class Checkpoint(Struct, frozen=True, kw_only=True):
    """What a strategy knew after all that came up to `at`; `state` is plain JSON."""

    name: str
    version: int
    at: datetime
    state: Mapping[str, Any]


class StrategyStore(Protocol):
    """All methods raise `StorageUnavailable` where nothing is known of their effect; each may be repeated."""

    async def put(
        self,
        name: str,
        *,
        kind: str,
        instruments: Sequence[Instrument],
        parameters: Mapping[str, Any],
        mode: StrategyMode,
        capital: Decimal | None = None,
        changed_by: str,
    ) -> StrategyRow:
        """Add a strategy, stopped, or change one that is wanted stopped; its checkpoint goes with the old
        version, and so does what was reported. Where nothing differs, nothing changes, whether it runs or not.

        Raises:
            StrategyRunning: it is to be stopped first.
            StorageRejected: a value cannot be stored.
        """
        ...

    async def want(self, name: str, wanted: StrategyState, changed_by: str) -> StrategyRow | None:
        """Have a strategy run, or stopped; None where there is none of the name. Wanting one that has failed to
        run tries it again, as of its checkpoint: its state is then STOPPED until the runner reports."""
        ...

    async def report(self, name: str, version: int, state: StrategyState, detail: str | None) -> None:
        """Note how a strategy fares; of another version nothing is noted."""
        ...

    async def rows(self) -> Sequence[StrategyRow]:
        """All strategies, by name."""
        ...

    async def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep what a strategy knows, in place of what is kept; one of an older version than the plan's is not
        kept.

        Raises:
            StorageRejected: a value of the state cannot be stored: none of it is, and the last stays.
        """
        ...

    async def checkpoint(self, name: str, version: int) -> Checkpoint | None:
        """What is kept of this version."""
        ...
