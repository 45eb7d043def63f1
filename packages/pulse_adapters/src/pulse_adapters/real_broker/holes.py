"""Where the prices of a feed have holes: the last tick before a trouble and the first one after it."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct

from pulse_domain.candles import HoursAt
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import FeedGap

# No session is shorter, so none can hide between two looks.
_LOOK_EVERY = timedelta(minutes=15)
_LOOKS_MAX = 700  # a week; there is a session in every week


class _Hole(Struct):
    """since: the last tick, by its own instant. seen, back: by our clock, when the last tick of all came, and
    when prices could come again, if that is known."""

    since: datetime
    seen: datetime
    reason: str
    back: datetime | None = None


class Holes:
    """Of all instruments of a feed. hours_at: a night is no hole."""

    def __init__(self, clock: Clock, hours_at: HoursAt) -> None:
        self._clock = clock
        self._hours_at = hours_at
        self._last: dict[Instrument, datetime] = {}
        self._open: dict[Instrument, _Hole] = {}
        self._touched = clock.now()

    def open(self, reason: str) -> None:
        """Nothing comes from now on, of any instrument; a later reason replaces the one before."""
        for instrument, last in self._last.items():
            hole = self._open.get(instrument)
            if hole is None:
                self._open[instrument] = _Hole(last, self._touched, reason)
            else:
                hole.reason, hole.back = reason, None

    def resume(self) -> None:
        """Prices may come again: what is not there from now on was not lost."""
        now = self._clock.now()
        for hole in self._open.values():
            hole.back = hole.back or now

    def close(self, ticks: Iterable[Tick]) -> list[FeedGap]:
        """Take ticks in, and tell the holes that end with them: at the first tick that is later than the last
        one before. One that is not is a repetition."""
        now = self._clock.now()
        found: dict[tuple[datetime, datetime, str], list[Instrument]] = {}
        for tick in ticks:
            instrument = tick.instrument
            hole = self._open.get(instrument)
            if hole is not None and tick.at > hole.since:
                del self._open[instrument]
                if self._was_open(instrument, hole.seen, hole.back or now):
                    found.setdefault((hole.since, tick.at, hole.reason), []).append(instrument)
            last = self._last.get(instrument)
            if last is None or tick.at > last:
                self._last[instrument] = tick.at
        self._touched = now
        return [
            FeedGap(instruments=tuple(instruments), since=since, until=until, reason=reason)
            for (since, until, reason), instruments in found.items()
        ]

    def forget_all_but(self, instruments: Iterable[Instrument]) -> None:
        kept = frozenset(instruments)
        for known in (self._last, self._open):
            for instrument in known.keys() - kept:
                del known[instrument]

    def _was_open(self, instrument: Instrument, since: datetime, until: datetime) -> bool:
        at = since
        for _ in range(_LOOKS_MAX):
            if self._hours_at(instrument, at) is not None:
                return True
            if at >= until:
                return False
            at = min(at + _LOOK_EVERY, until)
        return True
