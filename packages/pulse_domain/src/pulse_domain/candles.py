"""Candles of 1 minute from ticks as they come, and longer ones from those.

Candles are aligned to the session's opening and never change once they are told. What decides is the
watermark, the latest instant known: that of the latest tick, or of the clock where that is later.

- A tick belongs to the minute of its own instant. Outside a session it belongs to none (`outside`).
- A minute is told when the watermark is `grace` past its end, tick or no tick. A tick that comes after that is
  too late (`late`), and changes nothing.
- Until then ticks may come in any order: the first instant opens, the last closes; of equal instants the one
  that came last. A tick that repeats another changes nothing by itself.
- Volume is what the running total of the day has grown by since the minute before; where it steps back, the
  highest total so far holds.
- A minute without a tick is a gap, and is told as one. So is a longer candle's, where all its minutes are gaps.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.units import day_number, to_time, to_us

MINUTE_US = 60_000_000
_US = timedelta(microseconds=1)


class SessionHours(Struct, frozen=True):
    """A stretch of continuous trading, from `opens` up to but without `closes`."""

    opens: datetime
    closes: datetime


# The session that an instrument trades in at an instant; None outside of all.
HoursAt = Callable[[Instrument, datetime], SessionHours | None]


class ClosedCandle(Struct, frozen=True, gc=False):
    """`candle` is None for a gap: from `start` on nothing was seen for so many minutes."""

    instrument: Instrument
    minutes: int
    start: datetime
    candle: Candle | None


class _Minute:
    """A minute that is not told yet."""

    __slots__ = ("close", "first_us", "high", "last_us", "low", "open", "total")

    def __init__(self, us: int, price: Decimal, total: int) -> None:
        self.first_us = self.last_us = us
        self.open = self.high = self.low = self.close = price
        self.total = total

    def take(self, us: int, price: Decimal, total: int) -> None:
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        if us >= self.last_us:
            self.last_us, self.close = us, price
        elif us < self.first_us:
            self.first_us, self.open = us, price
        if total > self.total:
            self.total = total


class _Longer:
    """A candle of several minutes that is being put together."""

    __slots__ = ("candle", "minutes", "start_us")

    def __init__(self, minutes: int) -> None:
        self.minutes = minutes
        self.start_us: int | None = None
        self.candle: Candle | None = None

    def add(self, candle: Candle | None) -> None:
        known = self.candle
        if candle is None or known is None:
            self.candle = known or candle
            return
        self.candle = Candle(
            known.instrument, known.start, known.open, max(known.high, candle.high), min(known.low, candle.low),
            candle.close, known.volume + candle.volume,
        )  # fmt: skip


class _Session:
    """One instrument's session: minutes open at its end, of which the oldest is told first."""

    def __init__(self, instrument: Instrument, hours: SessionHours, longer: Iterable[int], total: int) -> None:
        self.instrument = instrument
        self.opens_us, self.closes_us = to_us(hours.opens), to_us(hours.closes)
        self.next_us = self.opens_us
        self.minutes: dict[int, _Minute] = {}
        # The one that the tick before belongs to, and its start.
        self.latest: _Minute | None = None
        self.latest_us = 0
        self.longer = [_Longer(minutes) for minutes in longer]
        self.total = total

    @property
    def is_over(self) -> bool:
        return self.next_us >= self.closes_us

    @property
    def next_end_us(self) -> int:
        return min(self.next_us + MINUTE_US, self.closes_us)

    def take(self, us: int, price: Decimal, total: int) -> bool:
        if us < self.next_us:
            return False
        if self.latest is not None and 0 <= us - self.latest_us < MINUTE_US:
            self.latest.take(us, price, total)
            return True
        start = us - (us - self.opens_us) % MINUTE_US
        minute = self.minutes.get(start)
        if minute is None:
            minute = self.minutes[start] = _Minute(us, price, total)
        else:
            minute.take(us, price, total)
        self.latest, self.latest_us = minute, start
        return True

    def tell_until(self, us: int) -> Iterator[ClosedCandle]:
        while not self.is_over and self.next_end_us <= us:
            yield from self._tell(self.next_us)
            self.next_us += MINUTE_US

    def _tell(self, start_us: int) -> Iterator[ClosedCandle]:
        start = to_time(start_us)
        candle = self._candle(start, self.minutes.pop(start_us, None))
        yield ClosedCandle(self.instrument, 1, start, candle)
        for longer in self.longer:
            if longer.start_us is None:
                longer.start_us = start_us
            longer.add(candle)
            ends = longer.start_us + longer.minutes * MINUTE_US
            if start_us + MINUTE_US >= min(ends, self.closes_us):
                whole_start = to_time(longer.start_us)
                whole = longer.candle and _from(longer.candle, whole_start)
                yield ClosedCandle(self.instrument, longer.minutes, whole_start, whole)
                longer.start_us, longer.candle = None, None

    def _candle(self, start: datetime, minute: _Minute | None) -> Candle | None:
        if minute is None:
            return None
        volume = max(0, minute.total - self.total)
        self.total = max(self.total, minute.total)
        return Candle(self.instrument, start, minute.open, minute.high, minute.low, minute.close, volume)


def _from(candle: Candle, start: datetime) -> Candle:
    return Candle(candle.instrument, start, candle.open, candle.high, candle.low, candle.close, candle.volume)


class CandleBuilder:
    """Candles of every instrument that ticks come of.

    timeframes: in minutes; 1 is always told.
    grace: how long after its end a minute still takes ticks that are under way.
    ahead_max: how far ahead of the clock, as `on_time` tells it, the instant of a tick may be.
    since: from when on it sees ticks: what was traded of a session before is in no candle.
    outside, late, ahead: ticks that belong to no session, came too late, or came from the future.

    An instrument is known from its first tick of a session on; the minutes before that are told as gaps.
    """

    def __init__(
        self,
        hours_at: HoursAt,
        *,
        timeframes: Iterable[int] = (1, 5, 15),
        grace: timedelta = timedelta(seconds=1),
        ahead_max: timedelta = timedelta(seconds=60),
        since: datetime | None = None,
    ) -> None:
        self._hours_at = hours_at
        self._longer = sorted(set(timeframes) - {1})
        self._grace_us = grace // _US
        self._ahead_us = ahead_max // _US
        self._since_us = 0 if since is None else to_us(since)
        self._sessions: dict[Instrument, _Session] = {}
        self._ended: list[ClosedCandle] = []
        self._clock_us: int | None = None
        self._watermark_us = 0
        # Below this instant of the watermark nothing is complete.
        self._next_us = 0
        self.outside = 0
        self.late = 0
        self.ahead = 0

    def on_tick(self, tick: Tick) -> list[ClosedCandle]:
        """Take a tick in and get what its instant completes."""
        us = to_us(tick.at)
        if self._clock_us is not None and us > self._clock_us + self._ahead_us:
            # It would complete the minutes of all others.
            self.ahead += 1
            return []
        session = self._sessions.get(tick.instrument)
        if session is None or not session.opens_us <= us < session.closes_us:
            session = self._enter(tick, us)
        if session is None:
            self.outside += 1
        elif not session.take(us, tick.price, tick.volume):
            self.late += 1
        if us < self._next_us and self._watermark_us < self._next_us:
            # Most ticks complete nothing. A session that has ended would have set `_next_us` to 0.
            if us > self._watermark_us:
                self._watermark_us = us
            return []
        return self._advance(us)

    def on_time(self, now: datetime) -> list[ClosedCandle]:
        """Get what the clock completes; to be told every second or so, as no tick may come."""
        self._clock_us = to_us(now)
        return self._advance(self._clock_us)

    def _enter(self, tick: Tick, us: int) -> _Session | None:
        known = self._sessions.get(tick.instrument)
        if known is not None and us < known.opens_us:
            return None  # of a session that is over
        hours = self._hours_at(tick.instrument, tick.at)
        if hours is None or not hours.opens <= tick.at < hours.closes:
            return None
        total = 0
        if known is not None:
            # Time has moved on to another session, so this one is told to its end.
            self._ended += known.tell_until(known.closes_us)
            if day_number(known.opens_us) == day_number(us):
                total = known.total  # the exchange counts by the day, through a break
        elif self._since_us - to_us(hours.opens) >= MINUTE_US:
            total = tick.volume  # of which nobody knows what belongs to this minute
        session = self._sessions[tick.instrument] = _Session(tick.instrument, hours, self._longer, total)
        self._next_us = 0
        return session

    def _advance(self, us: int) -> list[ClosedCandle]:
        if us > self._watermark_us:
            self._watermark_us = us
        told, self._ended = self._ended, []
        if self._watermark_us < self._next_us:
            return told
        until = self._watermark_us - self._grace_us
        nearest: int | None = None
        for session in self._sessions.values():
            told += session.tell_until(until)
            if not session.is_over and (nearest is None or session.next_end_us < nearest):
                nearest = session.next_end_us
        self._next_us = self._watermark_us + 1 if nearest is None else nearest + self._grace_us
        return told
