"""Ticks as they were seen, kept for some days.

Ticks are numbered as they arrive, from 1 in every recording, before anything can happen to them. A recording's
batches are stored with their numbers, so what was lost on the way shows as numbers that are missing.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick


class TickBatch(Struct, frozen=True, kw_only=True):
    """Ticks that arrived one after the other: they have the numbers from `first` on."""

    recording: int
    first: int
    ticks: Sequence[Tick]


class Recording(Struct, frozen=True, kw_only=True):
    """What one process has recorded from one source.

    ended_at: None while it runs, and for good where it was killed.
    received: the highest number given so far, as the recorder itself has told at its end, or else as the stored
        batches tell; what a killed process had received after its last batch nobody knows.
    stored: how many of them are stored.
    """

    recording: int
    source: str
    started_at: datetime
    ended_at: datetime | None
    received: int
    stored: int

    @property
    def lost(self) -> int:
        return self.received - self.stored


class TickStore(Protocol):
    async def begin(self, source: str) -> int:
        """Begin a recording, and get its number.

        Raises:
            StorageUnavailable: perhaps one has begun; it stays empty.
        """
        ...

    async def save(self, batch: TickBatch) -> None:
        """Store a batch, whole or not at all. One that is stored already is left as it is.

        Raises:
            StorageUnavailable: perhaps it is stored: hand the same batch over again.
            StorageRejected: nothing is stored, and never will be: a value in it is impossible.
        """
        ...

    async def end(self, recording: int, received: int) -> None:
        """Tell that a recording has ended, and how many ticks it received.

        Raises:
            StorageUnavailable.
        """
        ...

    def ticks(
        self, instrument: Instrument, since: datetime, until: datetime
    ) -> AsyncGenerator[Sequence[Tick], None]:
        """The ticks from `since` up to but without `until`, in runs, by their instants; of equal ones that
        which arrived first comes first.

        Raises:
            StorageUnavailable.
        """
        ...

    async def recordings(self, since: datetime) -> Sequence[Recording]:
        """The recordings that began at `since` or later, oldest first.

        Raises:
            StorageUnavailable.
        """
        ...
