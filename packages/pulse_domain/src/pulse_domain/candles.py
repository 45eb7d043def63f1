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

Where the feed had a hole, what the market tells of its minutes afterwards is what counts, of the two that are
torn as well: ticks show a part of those at most. So the minutes of a hole, and all after them, wait until they
are told of (`fill`), for `patience` after the end of the minute in which ticks came again; then ticks are what
there is. While the feed is known to give nothing, all wait.

- The minute in which ticks come again counts what is traded from its first tick on. What was traded in the hole
  before belongs to no minute that anybody saw.
- A minute that is told of too late is told all the same, with the longer candles that it changes. Whoever was
  told of a later one leaves it out.

Who begins within a session begins with its next whole minute: of what was before nobody knows more than the
running total. What has an instant of before, such as a broker's last price on subscribing, is late. A longer
candle that has minutes of before is a gap until they are told of, all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.units import day_number, to_time, to_us

MINUTE_US = 60_000_000
# The lengths of candles, in minutes.
TIMEFRAMES = (1, 5, 15)
_US = timedelta(microseconds=1)
# How often what waits is looked at, by the watermark, and an instant after all others.
_LOOK_US = 250_000
_NEVER_US = 1 << 62


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
    """A minute that is not told yet. base: the running total that its volume counts from, where that is not the
    one at the end of the minute before."""

    __slots__ = ("base", "close", "first_us", "high", "last_us", "low", "open", "total")

    def __init__(self, us: int, price: Decimal, total: int, base: int | None) -> None:
        self.first_us = self.last_us = us
        self.open = self.high = self.low = self.close = price
        self.total = total
        self.base = base

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


class _Hole:
    """Minutes from `begins_us` up to `ends_us` of which ticks do not tell all.

    known_us: those before it are told of, or have no candle. deadline_us: so long the others are waited for.
    """

    __slots__ = ("begins_us", "deadline_us", "ends_us", "known_us")

    def __init__(self, begins_us: int, ends_us: int, deadline_us: int) -> None:
        self.begins_us = self.known_us = begins_us
        self.ends_us = ends_us
        self.deadline_us = deadline_us

    def waits_for(self, start_us: int, now_us: int) -> bool:
        """Whether a minute waits for this hole: as it is in it, or after one that is."""
        return self.known_us < self.ends_us and self.known_us <= start_us and now_us < self.deadline_us

    def know(self, start_us: int) -> None:
        # They come in order: what is not there up to here will not come.
        if self.known_us <= start_us < self.ends_us:
            self.known_us = start_us + MINUTE_US


class _Session:
    """One instrument's session: minutes open at its end, of which the oldest is told first."""

    def __init__(
        self, instrument: Instrument, hours: SessionHours, longer: Sequence[int], total: int, since_us: int
    ) -> None:
        self.instrument = instrument
        self.opens_us, self.closes_us = to_us(hours.opens), to_us(hours.closes)
        # Ticks come from `since_us` on, so all minutes from `begins_us` on are whole.
        self.since_us = since_us
        self.begins_us = self.opens_us
        if since_us > self.opens_us:
            self.begins_us = min(self._minute_of(since_us + MINUTE_US - 1), self.closes_us)
        self.next_us = self.begins_us
        # Of the minutes before these are told of: from one up to another.
        self.told_of = (self.begins_us, self.begins_us)
        # The latest minute of before that a tick was seen in.
        self.seen_us = -1
        self.minutes: dict[int, _Minute] = {}
        # The one that the tick before belongs to, and its start.
        self.latest: _Minute | None = None
        self.latest_us = 0
        self.longer = longer
        self.longest_us = max(longer, default=1) * MINUTE_US
        # Minutes that are told and may be part of a longer candle: all from `parts_from_us` on.
        self.parts: dict[int, Candle] = {}
        self.parts_from_us = self.opens_us
        self.total = total
        self.holes: list[_Hole] = []
        self.filled: dict[int, Candle] = {}
        # Until then nothing is told, unless a tick comes.
        self.quiet_until_us = 0
        # The minute in which ticks came again, until its first one.
        self.torn_us: int | None = None

    @property
    def is_over(self) -> bool:
        return self.next_us >= self.closes_us

    @property
    def next_end_us(self) -> int:
        return min(self.next_us + MINUTE_US, self.closes_us)

    @property
    def highest_total(self) -> int:
        return max(self.total, *(minute.total for minute in self.minutes.values()), 0)

    def take(self, us: int, price: Decimal, total: int) -> bool:
        if us < self.next_us:
            return us < self.begins_us and self._take_before(us, total)
        if self.quiet_until_us and (self.latest is None or us > self.latest.last_us):
            self.quiet_until_us = 0  # one that is no later is a repetition
        if self.latest is not None and 0 <= us - self.latest_us < MINUTE_US:
            self.latest.take(us, price, total)
            return True
        start = self._minute_of(us)
        minute = self.minutes.get(start)
        if minute is None:
            is_torn = start == self.torn_us
            minute = self.minutes[start] = _Minute(us, price, total, total if is_torn else None)
        else:
            minute.take(us, price, total)
        self.latest, self.latest_us = minute, start
        return True

    def _take_before(self, us: int, total: int) -> bool:
        """Of a minute that is not whole only the running total counts."""
        if self.next_us == self.begins_us:
            self.total = max(self.total, total)
        if us < self.since_us:
            return False
        self.seen_us = self._minute_of(us)
        return True

    # --- holes

    def tear(self, since_us: int, until_us: int, deadline_us: int) -> None:
        """From one instant to another, that of the first tick afterwards, there were no ticks."""
        begins_us = self._minute_of(max(since_us, self.opens_us))
        ends_us = min(self._minute_of(until_us) + MINUTE_US, self.closes_us)
        if begins_us >= ends_us:
            return  # of another session
        self.holes.append(_Hole(begins_us, ends_us, deadline_us))
        if begins_us < self._minute_of(until_us) < self.closes_us:
            self.torn_us = self._minute_of(until_us)

    def waits(self, now_us: int) -> bool:
        """Whether the next minute is not to be told yet."""
        return now_us < self.quiet_until_us or any(it.waits_for(self.next_us, now_us) for it in self.holes)

    def is_torn(self, now_us: int) -> bool:
        """Whether a minute that is left may still be told of."""
        left = (hole for hole in self.holes if hole.ends_us > self.next_us)
        return not self.is_over and any(now_us < hole.deadline_us for hole in left)

    def has(self, us: int) -> bool:
        return self.opens_us <= us < self.closes_us and (us - self.opens_us) % MINUTE_US == 0

    def fill(self, candles: Mapping[int, Candle | None]) -> Iterator[ClosedCandle]:
        """Take minutes of a hole, and tell anew what was told without them."""
        changed: set[tuple[int, int]] = set()
        for start_us, candle in sorted(candles.items()):
            if candle is None and (start_us == self.seen_us or start_us in self.minutes):
                continue  # there were ticks, so it is not known yet
            for hole in self.holes:
                hole.know(start_us)
            if start_us < self.begins_us:
                changed |= self._learn_of(start_us)
            if candle is None:
                continue
            if start_us >= self.next_us:
                self.filled[start_us] = candle
                continue
            self.parts[start_us] = candle
            yield ClosedCandle(self.instrument, 1, candle.start, candle)
            changed |= self._longer_with(start_us)
        for minutes, first_us in sorted(changed):
            ends_us = self._end_of(first_us, minutes)
            if ends_us <= self.next_us and self._has_parts(first_us) and self._is_known(first_us, ends_us):
                whole = self._whole(first_us, minutes)
                if whole.candle is not None:
                    yield whole
        self.holes = [hole for hole in self.holes if hole.known_us < hole.ends_us]

    def _learn_of(self, start_us: int) -> set[tuple[int, int]]:
        """Returns the longer candles that end with what is known now."""
        since_us, until_us = self.told_of
        if since_us == until_us or not since_us <= start_us <= until_us:
            self.told_of = start_us, start_us + MINUTE_US
        elif start_us == until_us:
            self.told_of = since_us, start_us + MINUTE_US
        return self._longer_with(start_us)

    def _longer_with(self, start_us: int) -> set[tuple[int, int]]:
        return {(minutes, self._longer_of(start_us, minutes)) for minutes in self.longer}

    def _is_known(self, first_us: int, ends_us: int) -> bool:
        """Whether a longer candle has no minute of before that is not told of."""
        since_us, until_us = self.told_of
        return first_us >= self.begins_us or (since_us <= first_us and min(ends_us, self.begins_us) <= until_us)

    def _has_parts(self, us: int) -> bool:
        return us >= self.parts_from_us or any(us >= hole.begins_us for hole in self.holes)

    # --- what is told

    def tell_until(self, us: int, now_us: int) -> Iterator[ClosedCandle]:
        while not self.is_over and self.next_end_us <= us and not self.waits(now_us):
            yield from self._tell(self.next_us)
            self.next_us += MINUTE_US

    def _tell(self, start_us: int) -> Iterator[ClosedCandle]:
        candle = self._candle(start_us)
        yield ClosedCandle(self.instrument, 1, to_time(start_us), candle)
        if (start_us - self.opens_us) % self.longest_us == 0:
            self._forget_before(start_us - self.longest_us)
        if candle is not None:
            self.parts[start_us] = candle
        for minutes in self.longer:
            first_us = self._longer_of(start_us, minutes)
            if start_us + MINUTE_US >= self._end_of(first_us, minutes):
                yield self._whole(first_us, minutes)

    def _candle(self, start_us: int) -> Candle | None:
        minute, filled = self.minutes.pop(start_us, None), self.filled.pop(start_us, None)
        if minute is None:
            return filled
        volume = max(0, minute.total - max(self.total, minute.base or 0))
        self.total = max(self.total, minute.total)
        return filled or Candle(
            self.instrument, to_time(start_us), minute.open, minute.high, minute.low, minute.close, volume
        )

    def _whole(self, first_us: int, minutes: int) -> ClosedCandle:
        every = range(first_us, self._end_of(first_us, minutes), MINUTE_US)
        parts = [part for us in every if (part := self.parts.get(us)) is not None]
        start = to_time(first_us)
        is_whole = parts and self._is_known(first_us, self._end_of(first_us, minutes))
        return ClosedCandle(self.instrument, minutes, start, _joined(start, parts) if is_whole else None)

    def _forget_before(self, us: int) -> None:
        # What is left of a hole may come yet, and changes longer candles from its beginning on.
        left_us = (hole.begins_us - (hole.begins_us - self.opens_us) % self.longest_us for hole in self.holes)
        us = min((us, *left_us))
        if us > self.parts_from_us:
            self.parts_from_us = us
            self.parts = {start_us: part for start_us, part in self.parts.items() if start_us >= us}

    def _longer_of(self, us: int, minutes: int) -> int:
        return us - (us - self.opens_us) % (minutes * MINUTE_US)

    def _end_of(self, first_us: int, minutes: int) -> int:
        return min(first_us + minutes * MINUTE_US, self.closes_us)

    def _minute_of(self, us: int) -> int:
        return us - (us - self.opens_us) % MINUTE_US


def _joined(start: datetime, parts: Sequence[Candle]) -> Candle:
    first, last = parts[0], parts[-1]
    high, low = max(part.high for part in parts), min(part.low for part in parts)
    volume = sum(part.volume for part in parts)
    return Candle(first.instrument, start, first.open, high, low, last.close, volume)


class CandleBuilder:
    """Candles of every instrument that ticks come of.

    timeframes: in minutes; 1 is always told.
    grace: how long after its end a minute still takes ticks that are under way.
    ahead_max: how far ahead of the clock, as `on_time` tells it, the instant of a tick may be.
    patience: how long after the minute in which ticks came again the minutes of a hole are waited for.
    since: from when on it sees ticks of instruments that `watch` does not tell of: what was traded of a session
        before is in no candle.
    outside, late, ahead: ticks that belong to no session, came too late, or came from the future.

    An instrument is known from its first tick of a session on; the minutes before that are told as gaps, from
    the one on that it begins with.
    """

    def __init__(
        self,
        hours_at: HoursAt,
        *,
        timeframes: Iterable[int] = TIMEFRAMES,
        grace: timedelta = timedelta(seconds=1),
        ahead_max: timedelta = timedelta(seconds=60),
        patience: timedelta = timedelta(seconds=30),
        since: datetime | None = None,
    ) -> None:
        self._hours_at = hours_at
        self._longer = sorted(set(timeframes) - {1})
        self._grace_us = grace // _US
        self._ahead_us = ahead_max // _US
        self._patience_us = patience // _US
        self._since_us = 0 if since is None else to_us(since)
        self._watched_us: dict[Instrument, int] = {}
        # Up to then no tick could come.
        self._unfed_us = 0
        self._sessions: dict[Instrument, _Session] = {}
        # Those before, of which a minute may still be told of: they are told to their end first.
        self._earlier: dict[Instrument, _Session] = {}
        # From when to when, and how long it is waited for: of the session that the next tick begins.
        self._gaps: dict[Instrument, tuple[int, int, int]] = {}
        self._ended: list[ClosedCandle] = []
        self._clock_us: int | None = None
        self._watermark_us = 0
        # Below this instant of the watermark nothing is complete.
        self._next_us = 0
        self.outside = 0
        self.late = 0
        self.ahead = 0

    def watch(self, instruments: Iterable[Instrument], since: datetime) -> None:
        """From `since` on there are ticks of these instruments, and of no others; of those that are watched
        already there were before."""
        known, since_us = self._watched_us, to_us(since)
        self._watched_us = {instrument: known.get(instrument, since_us) for instrument in instruments}

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

    def on_time(self, now: datetime, *, is_fed: bool = True) -> list[ClosedCandle]:
        """Get what the clock completes; to be told every second or so, as no tick may come.

        is_fed: whether ticks can come; else nothing is told, as nobody knows what is missing.
        """
        self._clock_us = to_us(now)
        if not is_fed:
            self._unfed_us = self._clock_us
            # When they can, it takes a while until a tick says that there was a hole.
            for session in (*self._earlier.values(), *self._sessions.values()):
                session.quiet_until_us = self._clock_us + self._patience_us
        return self._advance(self._clock_us)

    def on_gap(self, instruments: Iterable[Instrument], since: datetime, until: datetime) -> None:
        """Take note of a hole, before the tick that ends it."""
        since_us, until_us = to_us(since), to_us(until)
        if self._clock_us is not None:
            until_us = min(until_us, self._clock_us + self._ahead_us)
        ends_us = until_us - until_us % MINUTE_US + MINUTE_US
        deadline_us = max(ends_us, self._watermark_us) + self._patience_us
        for instrument in instruments:
            session = self._sessions.get(instrument)
            if session is not None:
                session.tear(since_us, until_us, deadline_us)
            if session is None or until_us >= session.closes_us:
                self._gaps[instrument] = since_us, until_us, deadline_us

    def fill(self, candles: Iterable[ClosedCandle]) -> list[ClosedCandle]:
        """Take minutes of a hole as the market tells them, in order; get what that completes or changes. None
        stands for a minute without a trade."""
        told: list[ClosedCandle] = []
        of_session: dict[tuple[Instrument, int], tuple[_Session, dict[int, Candle | None]]] = {}
        for closed in candles:
            start_us = to_us(closed.start)
            session = self._session_of(closed.instrument, start_us)
            if closed.minutes != 1:
                continue
            if session is None:
                if closed.candle is not None:
                    told.append(closed)  # of a session that is over, or that no tick came of
            else:
                key = closed.instrument, session.opens_us
                of_session.setdefault(key, (session, {}))[1][start_us] = closed.candle
        for session, own in of_session.values():
            told += session.fill(own)
        self._next_us = 0
        return told + self._advance(self._watermark_us)

    def release(self) -> list[ClosedCandle]:
        """Get what is complete and waits, as nothing more is going to be told of it."""
        sessions = (*self._earlier.values(), *self._sessions.values())
        until_us = self._watermark_us - self._grace_us
        waiting = [told for session in sessions for told in session.tell_until(until_us, _NEVER_US)]
        ended, self._ended = self._ended, []
        return ended + waiting

    def _session_of(self, instrument: Instrument, start_us: int) -> _Session | None:
        for sessions in (self._sessions, self._earlier):
            session = sessions.get(instrument)
            if session is not None and session.has(start_us):
                return session
        return None

    def _enter(self, tick: Tick, us: int) -> _Session | None:
        known = self._sessions.get(tick.instrument)
        if known is not None and us < known.opens_us:
            return None  # of a session that is over
        hours = self._hours_at(tick.instrument, tick.at)
        if hours is None or not hours.opens <= tick.at < hours.closes:
            return None
        total = 0
        since_us = max(self._watched_us.get(tick.instrument, self._since_us), self._unfed_us)
        if since_us > to_us(hours.opens):
            total = tick.volume  # of which nobody knows what belongs to this minute
        elif known is not None and day_number(known.opens_us) == day_number(us):
            total = known.highest_total  # the exchange counts by the day, through a break
        if known is not None:
            self._leave(known, us)
        session = _Session(tick.instrument, hours, self._longer, total, since_us)
        self._sessions[tick.instrument] = session
        gap = self._gaps.pop(tick.instrument, None)
        if gap is not None:
            session.tear(*gap)
        self._next_us = 0
        return session

    def _leave(self, session: _Session, us: int) -> None:
        """Time has moved on to another session, so this one is told to its end: at once, if it is not torn."""
        before = self._earlier.pop(session.instrument, None)
        if before is not None:
            self._ended += before.tell_until(before.closes_us, _NEVER_US)
        session.quiet_until_us = 0  # a tick has come
        if session.is_torn(max(us, self._watermark_us)):
            self._earlier[session.instrument] = session
        else:
            self._ended += session.tell_until(session.closes_us, _NEVER_US)

    def _advance(self, us: int) -> list[ClosedCandle]:
        if us > self._watermark_us:
            self._watermark_us = us
        told, self._ended = self._ended, []
        now_us = self._watermark_us
        if now_us < self._next_us:
            return told
        until = now_us - self._grace_us
        for session in list(self._earlier.values()):
            told += session.tell_until(until, now_us)
            if session.is_over:
                del self._earlier[session.instrument]
        nearest: int | None = None
        for session in self._sessions.values():
            if session.instrument not in self._earlier:
                told += session.tell_until(until, now_us)
            if session.is_over:
                continue
            # One that waits is looked at again before long, and not at every tick of all others.
            due = session.next_end_us if session.next_end_us > until else until + _LOOK_US
            if nearest is None or due < nearest:
                nearest = due
        self._next_us = now_us + 1 if nearest is None else nearest + self._grace_us
        return told
