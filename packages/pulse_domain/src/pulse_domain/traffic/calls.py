"""Calls that count against the broker's limits, and the leave to make them."""

from enum import StrEnum

from msgspec import Struct


class CallKind(StrEnum):
    PLACE = "place"
    MODIFY = "modify"
    CANCEL = "cancel"


class Granted(Struct, frozen=True, kw_only=True):
    """Leave for as many calls as there are tokens, to be made at once.

    fresh_until: by `Clock.monotonic`. What is sent later no longer falls where it was counted: give the
    token back and ask again.
    """

    tokens: tuple[str, ...]
    fresh_until: float

    @property
    def count(self) -> int:
        return len(self.tokens)


class Refused(Struct, frozen=True, kw_only=True):
    """No leave within the time that was given. `wait_s`: how much longer it would take, as far as is known."""

    wait_s: float


class CallCounts(Struct, frozen=True, kw_only=True):
    """Calls that were made: in the last minute, and since the day began at the exchanges."""

    last_minute: int = 0
    day: int = 0


class LaneView(Struct, frozen=True, kw_only=True):
    """What counts at the moment.

    waiting: askers that were told to wait. workers: processes that share the limits, as far as is known.
    shared: false while this process counts alone, on its share.
    """

    second: int
    minute: int
    day: int
    waiting: int
    workers: int = 1
    shared: bool = True
