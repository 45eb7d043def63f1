"""Where the events of one subscriber wait, by what becomes of them when there are too many.

Events in line carry no time of their own. The age of the oldest is told by marks, the numbers and instants of
some events, so it may be told up to `MARK_S` too high.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from itertools import islice, repeat
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")

MARK_S = 0.01


class Waiting(Protocol[T]):
    """All counts are of events. Reading them is safe from any thread."""

    @property
    def dropped(self) -> int: ...

    @property
    def conflated(self) -> int: ...

    @property
    def spilled(self) -> int: ...

    def __len__(self) -> int: ...

    def put(self, events: Sequence[T], at: float) -> None:
        """Add events that were published at an instant, in seconds of a monotonic clock."""
        ...

    def take(self, count: int) -> list[T]:
        """Remove so many of the first, or as many as there are."""
        ...

    def oldest_at(self) -> float | None:
        """Since when the first waits; None where none does."""
        ...


class InLine(Generic[T]):
    """First in, first out; beyond `size_max` events the oldest go, or stay and are counted as spilled."""

    conflated = 0

    def __init__(self, size_max: int, *, spills: bool) -> None:
        self._spills_above = size_max if spills else None
        self._events: deque[T] = deque(maxlen=None if spills else size_max)
        # The number of an event, from 0, and when it was put.
        self._marks: deque[tuple[int, float]] = deque()
        self._mark_again_at = float("-inf")
        self._put = 0
        self._taken = 0
        self.spilled = 0

    @property
    def dropped(self) -> int:
        return max(0, self._put - self._taken - len(self._events))

    def __len__(self) -> int:
        return len(self._events)

    def put(self, events: Sequence[T], at: float) -> None:
        if at >= self._mark_again_at:
            self._mark(at)
        self._events.extend(events)
        self._put += len(events)
        if self._spills_above is not None:
            beyond = len(self._events) - self._spills_above
            if beyond > 0:
                self.spilled += min(beyond, len(events))

    def _mark(self, at: float) -> None:
        marks, first = self._marks, self._put - len(self._events)
        while len(marks) > 1 and marks[1][0] <= first:
            marks.popleft()
        marks.append((self._put, at))
        self._mark_again_at = at + MARK_S

    def take(self, count: int) -> list[T]:
        events = self._events
        if count >= len(events):
            taken = list(events)
            events.clear()
        else:
            taken = [events.popleft() for _ in range(count)]
        self._taken += len(taken)
        return taken

    def oldest_at(self) -> float | None:
        waiting = len(self._events)
        if not waiting:
            return None
        first, found = self._put - waiting, None
        for number, at in tuple(self._marks):
            if number > first and found is not None:
                break
            found = at
        return found


class Latest(Generic[T]):
    """The latest event of each key, in the order in which the keys began to wait: a busy one cannot keep a
    quiet one waiting. Beyond `size_max` keys those that wait longest go."""

    spilled = 0

    def __init__(self, size_max: int, key: Callable[[T], Hashable]) -> None:
        self._size_max = size_max
        self._key = key
        self._events: OrderedDict[Hashable, T] = OrderedDict()
        # When the event came that each key waits for.
        self._since: dict[Hashable, float] = {}
        self.dropped = 0
        self.conflated = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, events: Sequence[T], at: float) -> None:
        waiting, known = self._events, len(self._events)
        # A key that waits keeps its place, so those that have come are the last.
        waiting.update(zip(map(self._key, events), events, strict=True))
        new = len(waiting) - known
        self.conflated += len(events) - new
        self._since.update(zip(islice(reversed(waiting), new), repeat(at), strict=False))
        for _ in range(len(waiting) - self._size_max):
            key, _event = waiting.popitem(last=False)
            del self._since[key]
            self.dropped += 1

    def take(self, count: int) -> list[T]:
        waiting = self._events
        if count >= len(waiting):
            taken = list(waiting.values())
            waiting.clear()
            self._since.clear()
            return taken
        taken = []
        for _ in range(count):
            key, event = waiting.popitem(last=False)
            del self._since[key]
            taken.append(event)
        return taken

    def oldest_at(self) -> float | None:
        # A list is made at once, while an iterator could meet a change by another thread.
        return min(list(self._since.values()), default=None)
