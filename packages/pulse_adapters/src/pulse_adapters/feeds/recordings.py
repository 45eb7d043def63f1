"""Feed files as something to be played: what the market looked like, so many seconds after the start.

Candles are played one after the other, each for as long as a candle lasts: nights and holes are left
out. Within a candle the price goes from the open to the nearer extreme, to the other one and to the
close, in straight lines and whole ticks; it trades at the ask while it rises and at the bid while it
falls, and the quotes never leave the candle.

Ticks are played as they arrived; where a quote is not told the price stands for it. A row that is older than
one before it plays together with that one, so time never goes back; the day's volume never falls either. A
pause longer than a minute lasts a minute.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from math import gcd
from pathlib import Path
from typing import NamedTuple, Protocol

from pulse_adapters.feeds.errors import FeedFileError
from pulse_adapters.feeds.files import CandleRow, TickRow, read_feed_file
from pulse_domain.instruments import Instrument

PAUSE_MAX_S = 60.0

# The tick grid of a file is the coarsest of these on which all its prices lie.
_TICKS = ((500, Decimal("0.05")), (100, Decimal("0.01")), (25, Decimal("0.0025")), (1, Decimal("0.0001")))


class Moment(NamedTuple):
    """Prices in whole ticks; `volume` counts units since the start of the recorded day."""

    recorded_at: datetime
    price: int
    bid: int
    ask: int
    volume: int


class Recording(Protocol):
    tick_size: Decimal
    length_s: float

    def moment(self, offset_s: float) -> Moment:
        """What is seen `offset_s` after the start; from 0 to below `length_s`."""
        ...

    def offset_of(self, at: datetime) -> float | None:
        """Where the first row at or after a recorded time begins, if there is one."""
        ...


class CandleRecording:
    def __init__(self, rows: Sequence[CandleRow]) -> None:
        units, self.tick_size = _tick_of(price for row in rows for price in row[1:5])
        self._candles = [
            row._replace(
                open=row.open // units, high=row.high // units, low=row.low // units, close=row.close // units
            )
            for row in rows
        ]
        self._starts = [row.start for row in rows]
        self._traded_before = _running_volume(rows)
        self._candle_s = candle_length(rows).total_seconds()
        self.length_s = self._candle_s * len(rows)

    def moment(self, offset_s: float) -> Moment:
        index = min(int(offset_s / self._candle_s), len(self._candles) - 1)
        along = min(offset_s / self._candle_s - index, 1.0)
        candle = self._candles[index]
        price, rising = _within(candle, along)
        bid, ask = (price - 1, price) if rising else (price, price + 1)
        return Moment(
            candle.start + timedelta(seconds=along * self._candle_s),
            price,
            max(bid, candle.low),
            min(ask, candle.high),
            self._traded_before[index] + int(along * candle.volume),
        )

    def offset_of(self, at: datetime) -> float | None:
        index = bisect_left(self._starts, at)
        return None if index == len(self._starts) else index * self._candle_s


class TickRecording:
    """The ticks of one symbol; `offsets` are counted from the first row of the file."""

    def __init__(self, rows: Sequence[TickRow], offsets: Sequence[float], length_s: float) -> None:
        units, self.tick_size = _tick_of(price for row in rows for price in row[2:5])
        self._offsets = offsets
        self.length_s = length_s
        self._moments: list[Moment] = []
        for row in rows:
            at, volume = row.at, row.volume
            if self._moments:
                before = self._moments[-1]
                at = max(at, before.recorded_at)
                if before.recorded_at.date() == at.date():
                    volume = max(volume, before.volume)
            quotes = (row.bid or row.price, row.ask or row.price)
            self._moments.append(
                Moment(at, row.price // units, min(quotes) // units, max(quotes) // units, volume)
            )

    def moment(self, offset_s: float) -> Moment:
        return self._moments[max(0, bisect_right(self._offsets, offset_s) - 1)]

    def offset_of(self, at: datetime) -> float | None:
        index = bisect_left(self._moments, at, key=lambda moment: moment.recorded_at)
        return None if index == len(self._moments) else self._offsets[index]


class FeedFile:
    """A file, read and ready to be played; a tick file may hold several symbols.

    candles, ticks: its rows as they stand in it, of which one is empty.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            FeedFileError: it cannot be played; names the row.
        """
        self.path = path
        self.candles, self.ticks = read_feed_file(path)
        self.recordings: dict[str, Recording] = (
            {"": CandleRecording(self.candles)} if self.candles else _by_symbol(self.ticks)
        )

    def symbol_of(self, instrument: Instrument) -> str:
        """Whose rows play for an instrument; a file of one symbol plays for whatever it is given to.

        Raises:
            FeedFileError: there are several symbols, and this is none of them.
        """
        if len(self.recordings) == 1:
            return next(iter(self.recordings))
        if instrument.symbol not in self.recordings:
            symbols = ", ".join(self.recordings)
            raise FeedFileError(self.path, f"there is no symbol {instrument.symbol}, only {symbols}")
        return instrument.symbol


def candle_length(rows: Sequence[CandleRow]) -> timedelta:
    """How long a candle lasts: the commonest distance of starts."""
    steps = Counter(later.start - earlier.start for earlier, later in pairwise(rows))
    return steps.most_common(1)[0][0] if steps else timedelta(minutes=1)


def nearer_extreme_first(candle: CandleRow) -> tuple[int, int]:
    """High and low of a candle in the order in which they are played: that nearer to the open comes first."""
    up_first = candle.high - candle.open < candle.open - candle.low
    return (candle.high, candle.low) if up_first else (candle.low, candle.high)


def _by_symbol(rows: Sequence[TickRow]) -> dict[str, Recording]:
    offset_s, latest = 0.0, rows[0].at
    parts: dict[str, tuple[list[TickRow], list[float]]] = {}
    for row in rows:
        if row.at > latest:
            offset_s += min((row.at - latest).total_seconds(), PAUSE_MAX_S)
            latest = row.at
        ticks, offsets = parts.setdefault(row.symbol, ([], []))
        ticks.append(row)
        offsets.append(offset_s)
    return {symbol: TickRecording(ticks, offsets, offset_s + 1.0) for symbol, (ticks, offsets) in parts.items()}


def _within(candle: CandleRow, along: float) -> tuple[int, bool]:
    """The price at a part of the candle's time, and whether it rises."""
    corners = (candle.open, *nearer_extreme_first(candle), candle.close)
    leg = min(int(along * 3), 2)
    begin, end = corners[leg], corners[leg + 1]
    return begin + round((end - begin) * (along * 3 - leg)), end >= begin


def _running_volume(rows: Sequence[CandleRow]) -> list[int]:
    """What was traded that day before each candle."""
    before, day = 0, rows[0].start.date()
    running = []
    for row in rows:
        if row.start.date() != day:
            before, day = 0, row.start.date()
        running.append(before)
        before += row.volume
    return running


def _tick_of(prices: Iterable[int]) -> tuple[int, Decimal]:
    common = gcd(*prices)
    return next((units, tick) for units, tick in _TICKS if common % units == 0)
