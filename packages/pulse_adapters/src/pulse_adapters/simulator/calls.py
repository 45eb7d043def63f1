"""What was asked of the broker, in the order of its coming: so that a test can prove who came when."""

from collections import deque
from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from pulse_adapters.simulator.faults import Call

_KEPT = 10_000


class Asking(Struct, kw_only=True):
    """One request.

    at: by the venue's clock, when it had been read; limits count it at that instant.
    tag: of a placement that has one.
    status: of the answer; 0 where there is none, or none yet.
    """

    at: datetime
    call: Call
    path: str
    tag: str | None = None
    status: int = 0


class CallLog:
    """The newest requests of this process."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.askings: deque[Asking] = deque(maxlen=_KEPT)

    def begin(self, call: Call, path: str, tag: str | None = None) -> Asking:
        """Note a request; whoever answers it sets the status."""
        asking = Asking(at=self._now(), call=call, path=path, tag=tag)
        self.askings.append(asking)
        return asking
