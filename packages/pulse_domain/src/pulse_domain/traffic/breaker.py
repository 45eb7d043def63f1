"""The circuit breaker: after so many calls in a row without an answer, stop placing and look again later.

Only writes are watched. A definite no is an answer: the broker is there. What breaks the row is silence, or
a call that was certainly not sent. While the breaker is open nothing is claimed, so that no attempt is
burnt. After a pause exactly one **probe** is made, and it is a read, never a placement: an order of a client
is not a guinea pig, and a read tells the same of line and session. A read may work where writes do not; so
until a write has been answered again, a single failure opens the breaker anew, for a longer pause.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.orders.status import next_state


class BreakerState(StrEnum):
    CLOSED = "CLOSED"  # calls go out
    OPEN = "OPEN"  # placements are held back
    HALF_OPEN = "HALF_OPEN"  # the probe is under way


class BreakerEvent(StrEnum):
    ANSWERED = "ANSWERED"  # a write had a definite answer, yes or no
    FAILED = "FAILED"  # a write was not sent, or had no answer
    TRIPPED = "TRIPPED"  # the failure that was one too many
    PROBE_BEGUN = "PROBE_BEGUN"
    PROBE_ANSWERED = "PROBE_ANSWERED"
    PROBE_FAILED = "PROBE_FAILED"


_S, _E = BreakerState, BreakerEvent
BREAKER_TRANSITIONS: Mapping[BreakerState, Mapping[BreakerEvent, BreakerState]] = {
    _S.CLOSED: {_E.ANSWERED: _S.CLOSED, _E.FAILED: _S.CLOSED, _E.TRIPPED: _S.OPEN},
    _S.OPEN: {
        _E.ANSWERED: _S.OPEN,  # a call that was in the air, or a cancel: the probe decides
        _E.FAILED: _S.OPEN,  # the same
        _E.PROBE_BEGUN: _S.HALF_OPEN,
    },
    _S.HALF_OPEN: {
        _E.ANSWERED: _S.HALF_OPEN,
        _E.FAILED: _S.HALF_OPEN,
        _E.PROBE_ANSWERED: _S.CLOSED,
        _E.PROBE_FAILED: _S.OPEN,
    },
}


class BreakerSettings(Struct, frozen=True, kw_only=True):
    """failures, window_s: so many failures in a row, all within the window, open the breaker.
    pause_s: until the first probe, doubled at each further opening up to `pause_max_s`.
    jitter: the pause is longer or shorter by up to this share, so that processes do not probe as one."""

    failures: int = 5
    window_s: float = 60.0
    pause_s: float = 5.0
    pause_max_s: float = 60.0
    jitter: float = 0.2


class Breaker(Struct, frozen=True, kw_only=True):
    """failed_at: the failures in a row that count. openings: how often it opened since a write was answered.
    probe_at: when the next probe is due; of no meaning while it is closed."""

    state: BreakerState = BreakerState.CLOSED
    failed_at: tuple[float, ...] = ()
    openings: int = 0
    probe_at: float = 0.0

    def answered(self) -> "Breaker":
        after = next_state(BREAKER_TRANSITIONS, self.state, BreakerEvent.ANSWERED)
        if after is not BreakerState.CLOSED:
            return self
        return replace(self, failed_at=(), openings=0)

    def failed(self, at: float, chance: float, settings: BreakerSettings) -> "Breaker":
        """at: seconds on a clock that only goes forward. chance: 0 to 1, drawn anew; it makes the jitter."""
        if next_state(BREAKER_TRANSITIONS, self.state, BreakerEvent.FAILED) is not BreakerState.CLOSED:
            return self
        row = (*(then for then in self.failed_at if then > at - settings.window_s), at)
        if len(row) < (1 if self.openings else settings.failures):
            return replace(self, failed_at=row)
        return self._opened(BreakerEvent.TRIPPED, at, chance, settings)

    def probe_begun(self) -> "Breaker":
        return replace(self, state=next_state(BREAKER_TRANSITIONS, self.state, BreakerEvent.PROBE_BEGUN))

    def probe_answered(self) -> "Breaker":
        after = next_state(BREAKER_TRANSITIONS, self.state, BreakerEvent.PROBE_ANSWERED)
        return replace(self, state=after, failed_at=())

    def probe_failed(self, at: float, chance: float, settings: BreakerSettings) -> "Breaker":
        return self._opened(BreakerEvent.PROBE_FAILED, at, chance, settings)

    def _opened(self, event: BreakerEvent, at: float, chance: float, settings: BreakerSettings) -> "Breaker":
        doubled = settings.pause_s * 2.0 ** min(self.openings, 30)
        pause_s = min(doubled, settings.pause_max_s) * (1 + settings.jitter * (2 * chance - 1))
        return replace(
            self,
            state=next_state(BREAKER_TRANSITIONS, self.state, event),
            failed_at=(),
            openings=self.openings + 1,
            probe_at=at + pause_s,
        )
