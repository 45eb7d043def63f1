"""Where the prices of a feed have holes: the last tick before a trouble and the first one after it."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from pulse_domain.candles import HoursAt
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import FeedGap

# Nobody took prices, as before a restart.
UNWATCHED = "unwatched"
# So far ahead of the clock a price may be. Of one that is further nobody knows when it was.
_AHEAD_MAX = timedelta(seconds=60)
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
        for hole in self._open.values():
            hole.back = None
            if hole.reason != UNWATCHED:  # that is the longer part of it
                hole.reason = reason
        for instrument, last in self._last.items():
            if instrument not in self._open:
                self._open[instrument] = _Hole(last, self._touched, reason)

    def open_since(self, stored: Mapping[Instrument, datetime]) -> None:
        """These are watched from now on, and what is known of them ends at those instants."""
        for instrument, until in stored.items():
            self._open[instrument] = _Hole(until, until, UNWATCHED)

    def resume(self) -> None:
        """Prices may come again: what is not there from now on was not lost."""
        now = self._clock.now()
        for hole in self._open.values():
            hole.back = hole.back or now

    def close(self, ticks: Iterable[Tick]) -> list[FeedGap]:
        """Take ticks in, and tell the holes that end with them: at the first tick that is later than the last
        one before. One that is not is a repetition.

        What nobody watched ends when prices can come again at the earliest: the first one may be of before."""
        now = self._clock.now()
        found: dict[tuple[datetime, datetime, str], list[Instrument]] = {}
        for tick in ticks:
            instrument = tick.instrument
            if tick.at > now + _AHEAD_MAX:
                continue  # no later one would end a hole
            hole = self._open.get(instrument)
            if hole is not None and tick.at > hole.since:
                del self._open[instrument]
                back = hole.back or now
                if self._was_open(instrument, hole.seen, back):
                    until = max(tick.at, back) if hole.reason == UNWATCHED else tick.at
                    found.setdefault((hole.since, until, hole.reason), []).append(instrument)
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
