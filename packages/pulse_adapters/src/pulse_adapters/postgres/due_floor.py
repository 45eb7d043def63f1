"""Where to begin when looking for planned executions: below it there was none a moment ago.

Claimed executions leave dead entries in the index of planned ones. As long as some transaction holds an old
snapshot they cannot be removed, and every look from the start of the index would step over all of them again.
So what a slow look has found is remembered, and the next ones begin there. What is planned below that meanwhile
is known where this process planned it, and found by the next full look otherwise. Full looks take a small part
of the time, however long one is.
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

# A look that is not slower than this needs no help.
_SLOW_S = 0.005
# Full looks may take one part of the time in so many.
_SHARE = 20
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


class DueFloor:
    """monotonic: seconds, of any origin."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._instant = self._planned_since = _EVER
        self._until = 0.0
        self._full = True

    @property
    def instant(self) -> datetime:
        """Nothing that can be claimed is due before it, as far as is known."""
        return self._instant if self._monotonic() < self._until else _EVER

    def begin(self) -> datetime:
        """Note that a look begins; the instant that it is to begin at."""
        instant = self.instant
        self._full = instant == _EVER
        self._planned_since = datetime.max.replace(tzinfo=UTC)
        return instant

    def found(self, first: datetime, took_s: float) -> None:
        """Note what is due first, and how long the store looked for it."""
        self._instant = min(first, self._planned_since)
        if self._full:
            self._until = self._monotonic() + _SHARE * took_s if took_s > _SLOW_S else 0.0

    def forget(self) -> None:
        """Begin the next look at the start."""
        self._until = 0.0

    def planned(self, instants: Iterable[datetime]) -> None:
        """Note that this process has planned executions for these instants."""
        for instant in instants:
            self._instant = min(self._instant, instant)
            self._planned_since = min(self._planned_since, instant)
