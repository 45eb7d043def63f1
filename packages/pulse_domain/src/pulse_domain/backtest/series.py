"""Market data of one instrument, as backtests read it.

Columns of whole numbers hold it: instants in microseconds since the epoch, prices in ten-thousandths of a
rupee. Times need an offset from UTC, or the zone they are in must be said: a guess is five and a half hours
wrong as often as not.

Defects are what no order may meet: a price that is missing, infinite, not above 0 or finer than 1/10,000
rupee; a high below the low; an open or close outside them; a bid above the ask; a volume that is negative,
fractional or missing; a time without a zone; and, of candles, a start that repeats an earlier one or comes
before it. They raise BadMarketData, which names the row; with `defects="drop"` such rows are left out and
listed in `dropped`. Of candles with one start the first stays.

These are not defects, and are kept:

- Gaps. A gap has no candle of its own: an order that waits meets the next candle, at its open. A missing day
  is a gap, and a window with a break in it, such as two sessions on one day, has one.
- Zero volume. Indices have none, and halts are often written as flat candles without any. Such a candle has
  a price; whether it fills orders is a setting of the engine.
- Sessions on a Saturday or Sunday. The rows say when there was trading, no calendar does.
- Rows outside the session, such as flat candles after the close or prices before the open: they are traded
  on like all others. `between` cuts them off.
- Ticks out of order. They stand in the order of their arrival, which is what a live feed knows of them: one
  that is stamped earlier than another before it counts at the time of that one, and `late` counts such rows.
  Likewise the day's volume does not step back within a day of Indian time, and starts anew with the next.
- Ticks that repeat one another.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from itertools import accumulate, compress, islice, repeat
from operator import add, sub
from typing import Any, ClassVar, Literal, Self

from msgspec import Struct

from pulse_domain.backtest import arrays, frames
from pulse_domain.backtest.columns import Column, Ints, Rows, candle_readers, in_arrival_order, tick_readers
from pulse_domain.backtest.rows import candle_rows, tick_rows
from pulse_domain.errors import BadMarketData
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.units import DAY_US, day_end_us, to_price, to_time

Defects = Literal["raise", "drop"]


class Dropped(Struct, frozen=True):
    """A row that was left out; `row` counts from 1."""

    row: int
    reason: str


class CandleSeries:
    """Candles of one instrument, ascending, each start once; made by one of the `from_` methods.

    start_us: when each candle starts, in microseconds since the epoch.
    open, high, low, close: in ten-thousandths of a rupee.
    volume: units traded within the candle.
    interval_us: how long a candle is. One ends where the next starts, if that is sooner.
    dropped: the rows left out with `defects="drop"`; it takes no part in comparisons.

    The columns are not to be written to. The constructor itself checks nothing.
    """

    __slots__ = (
        "_lengths", "_prices", "_shortest_us", "close", "dropped", "high", "instrument", "interval_us", "low",
        "open", "start_us", "volume",
    )  # fmt: skip
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(
        self,
        instrument: Instrument,
        columns: Sequence[Ints],
        *,
        interval_us: int,
        dropped: Sequence[Dropped] = (),
    ) -> None:
        self.instrument = instrument
        self.start_us, self.open, self.high, self.low, self.close, self.volume = columns
        self.interval_us = interval_us
        self._shortest_us: int | None = None  # found when it is asked for
        self.dropped = tuple(dropped)
        self._prices = _Prices()
        self._lengths = _Timedeltas()

    @classmethod
    def from_candles(
        cls, candles: Iterable[Candle], *, interval: timedelta | None = None, defects: Defects = "raise"
    ) -> Self:
        """Take the candles of one instrument; from here on all last the interval, or up to the next.

        interval: by default what most candles last that have an `end`, or the commonest distance of starts.

        Raises:
            BadMarketData: a candle has a defect, or is of another instrument than the first; nothing is
                left; the interval cannot be told.
        """
        kept = list(candles)
        instrument = _one_instrument(kept)
        if interval is None:
            lengths = Counter(
                candle.end - candle.start for candle in kept
                if candle.end is not None and candle.end.tzinfo and candle.start.tzinfo
            )  # fmt: skip
            interval = max(lengths, key=lambda length: (lengths[length], -length), default=None)
        fields = ("start", "open", "high", "low", "close", "volume")
        return cls.from_columns(
            instrument, *([getattr(candle, field) for candle in kept] for field in fields),
            interval=interval, defects=defects,
        )  # fmt: skip

    @classmethod
    def from_columns(
        cls,
        instrument: Instrument,
        start: Any,
        open: Any,
        high: Any,
        low: Any,
        close: Any,
        volume: Any = None,
        *,
        interval: timedelta | None = None,
        zone: tzinfo | None = None,
        defects: Defects = "raise",
    ) -> Self:
        """Take columns: sequences, numpy arrays, or series of pandas or polars.

        start: aware datetimes; datetimes or dates without an offset, of `zone`; or whole numbers, which
            count microseconds since the epoch.
        open, high, low, close: rupees, as Decimal, int or float. A float is read as the step of 1/10,000
            rupee that it stands at.
        volume: units within the candle; 0 where left out.
        interval: how long a candle is; by default the commonest distance of starts.
        zone: of times without an offset; those that have one keep it.

        Raises:
            BadMarketData: a row has a defect; the columns differ in length; nothing is left; the interval
                cannot be told.
        """
        cells = _columns(start=start, open=open, high=high, low=low, close=close, volume=volume)
        rows = candle_rows(cells, candle_readers(zone), first_only=defects == "raise")
        return cls.from_rows(instrument, rows, interval=interval, defects=defects)

    @classmethod
    def from_frame(
        cls,
        instrument: Instrument,
        frame: Any,
        *,
        columns: Mapping[str, str] | None = None,
        interval: timedelta | None = None,
        zone: tzinfo | None = None,
        defects: Defects = "raise",
    ) -> Self:
        """Take a frame of pandas or polars with the columns open, high, low, close and, if any, volume.

        The start is a column `start`, `timestamp`, `datetime`, `date` or `time`, or else the index of a
        pandas frame. Case does not matter, and further columns are ignored.

        columns: what the frame calls a column: `{"close": "ltp"}`.
        interval, zone: as in `from_columns`.

        Raises:
            BadMarketData: as `from_columns`; a column is missing.
        """
        cells = frames.candle_columns(frame, columns or {})
        return cls.from_columns(instrument, *cells, interval=interval, zone=zone, defects=defects)

    @classmethod
    def from_rows(
        cls, instrument: Instrument, rows: Rows, *, interval: timedelta | None, defects: Defects
    ) -> Self:
        """What the others end in: rows that are converted and checked."""
        dropped = _dropped(instrument, rows, defects)
        if interval is None:
            interval_us = _interval_us(instrument, rows.columns[0])
        elif interval <= timedelta():
            raise BadMarketData(f"a candle cannot last {interval}", field="interval")
        else:
            interval_us = interval // timedelta.resolution
        return cls(instrument, rows.columns, interval_us=interval_us, dropped=dropped)

    @property
    def interval(self) -> timedelta:
        return timedelta(microseconds=self.interval_us)

    def end_us(self, i: int) -> int:
        """When candle `i`, counted from 0, ends: after the interval, or where the next one starts."""
        start_us = self.start_us
        end_us = start_us[i] + self.interval_us
        if i + 1 < len(start_us) and start_us[i + 1] < end_us:
            return start_us[i + 1]
        return end_us

    def overlaps(self) -> bool:
        """Whether some candle starts before the one before has lasted its interval."""
        if self._shortest_us is None:
            start_us = self.start_us
            if len(start_us) < 2:
                self._shortest_us = self.interval_us
            elif arrays.is_there():
                self._shortest_us = arrays.shortest_distance(start_us)
            else:
                self._shortest_us = min(map(sub, islice(start_us, 1, None), start_us))
        return self._shortest_us < self.interval_us

    def candles(self, first: int, last: int) -> list[Candle]:
        """The candles from `first` up to but without `last`, both within the series, as fast as can be."""
        start_us = self.start_us[first:last].tolist()
        if not start_us:
            return []
        steps, interval_us = len(start_us) - 1, self.interval_us
        # Where none starts early and together they take as long as they should, each takes what it should.
        usual = start_us[-1] - start_us[0] == steps * interval_us and not self.overlaps()
        distances = [] if usual else list(map(sub, start_us[1:], start_us))
        lengths = repeat(self.interval, steps) if usual else map(self._lengths.__getitem__, distances)
        starts: list[datetime] = list(accumulate(lengths, add, initial=to_time(start_us[0])))
        ends = starts[1:]
        ends.append(to_time(self.end_us(first + steps)))
        interval = self.interval
        for i in [i for i, distance in enumerate(distances) if distance > interval_us]:
            ends[i] = starts[i] + interval
        price = self._prices.__getitem__
        return list(
            map(
                Candle, repeat(self.instrument), starts,
                map(price, self.open[first:last]), map(price, self.high[first:last]),
                map(price, self.low[first:last]), map(price, self.close[first:last]),
                self.volume[first:last], ends,
            )
        )  # fmt: skip

    def between(self, first: time, last: time) -> Self:
        """The candles that start from `first` up to but without `last`, Indian time of day.

        Raises:
            BadMarketData: there are none.
        """
        kept = _between(
            self, self.start_us, (self.open, self.high, self.low, self.close, self.volume), first, last
        )
        return type(self)(self.instrument, kept, interval_us=self.interval_us, dropped=self.dropped)

    def days(self) -> list[date]:
        """The days, of Indian time, that have candles."""
        return _days(self.start_us)

    def __len__(self) -> int:
        return len(self.start_us)

    def __getitem__(self, i: int) -> Candle:
        start_us = self.start_us[i]
        if i < 0:
            i += len(self.start_us)
        start, price = to_time(start_us), self._prices
        return Candle(
            self.instrument, start, price[self.open[i]], price[self.high[i]], price[self.low[i]],
            price[self.close[i]], self.volume[i], start + self._lengths[self.end_us(i) - start_us],
        )  # fmt: skip

    def __iter__(self) -> Iterator[Candle]:
        for first in range(0, len(self), _BLOCK):
            yield from self.candles(first, first + _BLOCK)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CandleSeries):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _CANDLES_COMPARED)

    def __repr__(self) -> str:
        return f"<CandleSeries {_summary(self.instrument, self.start_us)}, each {self.interval}>"


class TickSeries:
    """Ticks of one instrument in the order of their arrival; made by one of the `from_` methods.

    at_us: when, in microseconds since the epoch; it never steps back.
    price: in ten-thousandths of a rupee; bid and ask likewise, 0 where unknown.
    volume: units traded on that day so far; it never steps back within a day.
    late: how many rows were stamped earlier than one before them.
    dropped: the rows left out with `defects="drop"`; it takes no part in comparisons, nor does `late`.

    The columns are not to be written to. The constructor itself checks nothing.
    """

    __slots__ = (
        "_prices", "_quotes", "ask", "at_us", "bid", "dropped", "instrument", "late", "price", "volume",
    )  # fmt: skip
    __hash__: ClassVar[None]  # type: ignore[assignment]

    def __init__(
        self,
        instrument: Instrument,
        columns: Sequence[Ints],
        *,
        late: int = 0,
        dropped: Sequence[Dropped] = (),
    ) -> None:
        self.instrument = instrument
        self.at_us, self.price, self.bid, self.ask, self.volume = columns
        self.late = late
        self.dropped = tuple(dropped)
        self._prices = _Prices()
        self._quotes = _Quotes()

    @classmethod
    def from_ticks(cls, ticks: Iterable[Tick], *, defects: Defects = "raise") -> Self:
        """Take the ticks of one instrument; their `day_low` and `day_high` are not kept.

        Raises:
            BadMarketData: a tick has a defect, or is of another instrument than the first; nothing is left.
        """
        kept = list(ticks)
        instrument = _one_instrument(kept)
        fields = ("at", "price", "bid", "ask", "volume")
        return cls.from_columns(
            instrument, *([getattr(tick, field) for tick in kept] for field in fields), defects=defects
        )

    @classmethod
    def from_columns(
        cls,
        instrument: Instrument,
        at: Any,
        price: Any,
        bid: Any = None,
        ask: Any = None,
        volume: Any = None,
        *,
        zone: tzinfo | None = None,
        defects: Defects = "raise",
    ) -> Self:
        """Take columns of the types that `CandleSeries.from_columns` takes, in the order of arrival.

        bid, ask: the best quotes; None, NaN and 0 where unknown.
        volume: units traded on that day so far; 0 where left out.

        Raises:
            BadMarketData: a row has a defect; the columns differ in length; nothing is left.
        """
        cells = _columns(at=at, price=price, bid=bid, ask=ask, volume=volume)
        rows = tick_rows(cells, tick_readers(zone), first_only=defects == "raise")
        return cls.from_rows(instrument, rows, defects=defects)

    @classmethod
    def from_frame(
        cls,
        instrument: Instrument,
        frame: Any,
        *,
        columns: Mapping[str, str] | None = None,
        zone: tzinfo | None = None,
        defects: Defects = "raise",
    ) -> Self:
        """Take a frame of pandas or polars with the column price and, if any, bid, ask and volume.

        The time is a column `at`, `timestamp`, `datetime` or `time`, or else the index of a pandas frame;
        the volume may be called `day_volume`. Case does not matter, and further columns are ignored.

        columns: what the frame calls a column: `{"price": "ltp"}`.

        Raises:
            BadMarketData: as `from_columns`; a column is missing.
        """
        cells = frames.tick_columns(frame, columns or {})
        return cls.from_columns(instrument, *cells, zone=zone, defects=defects)

    @classmethod
    def from_rows(cls, instrument: Instrument, rows: Rows, *, defects: Defects) -> Self:
        """What the others end in: rows that are converted and checked."""
        dropped = _dropped(instrument, rows, defects)
        at, *quotes, volume = rows.columns
        at, volume, late = in_arrival_order(at, volume)
        return cls(instrument, (at, *quotes, volume), late=late, dropped=dropped)

    def ticks(self, first: int, last: int) -> list[Tick]:
        """The ticks from `first` up to but without `last`, both within the series, as fast as can be."""
        at_us = self.at_us[first:last]
        if not at_us:
            return []
        distances = map(sub, at_us[1:], at_us)
        times = accumulate(map(_Timedeltas().__getitem__, distances), initial=to_time(at_us[0]))
        price, quote = self._prices.__getitem__, self._quotes.__getitem__
        return list(
            map(
                Tick, repeat(self.instrument), times, map(price, self.price[first:last]),
                map(quote, self.bid[first:last]), map(quote, self.ask[first:last]), self.volume[first:last],
            )
        )  # fmt: skip

    def between(self, first: time, last: time) -> Self:
        """The ticks from `first` up to but without `last`, Indian time of day; `late` stays.

        Raises:
            BadMarketData: there are none.
        """
        kept = _between(self, self.at_us, (self.price, self.bid, self.ask, self.volume), first, last)
        return type(self)(self.instrument, kept, late=self.late, dropped=self.dropped)

    def days(self) -> list[date]:
        """The days, of Indian time, that have ticks."""
        return _days(self.at_us)

    def __len__(self) -> int:
        return len(self.at_us)

    def __getitem__(self, i: int) -> Tick:
        quote = self._quotes
        return Tick(
            self.instrument, to_time(self.at_us[i]), self._prices[self.price[i]], quote[self.bid[i]],
            quote[self.ask[i]], self.volume[i],
        )  # fmt: skip

    def __iter__(self) -> Iterator[Tick]:
        for first in range(0, len(self), _BLOCK):
            yield from self.ticks(first, first + _BLOCK)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TickSeries):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in _TICKS_COMPARED)

    def __repr__(self) -> str:
        return f"<TickSeries {_summary(self.instrument, self.at_us)}>"


_BLOCK = 4096
_CANDLES_COMPARED = ("instrument", "interval_us", "start_us", "open", "high", "low", "close", "volume")
_TICKS_COMPARED = ("instrument", "at_us", "price", "bid", "ask", "volume")


class _Prices(dict[int, Decimal]):
    """The prices of a series as decimals, each made once."""

    def __missing__(self, units: int) -> Decimal:
        price = self[units] = to_price(units)
        return price


class _Quotes(dict[int, Decimal | None]):
    """The same for quotes, which may be unknown."""

    def __missing__(self, units: int) -> Decimal | None:
        quote = self[units] = to_price(units) if units else None
        return quote


class _Timedeltas(dict[int, timedelta]):
    def __missing__(self, us: int) -> timedelta:
        length = self[us] = timedelta(microseconds=us)
        return length


def _one_instrument(rows: Sequence[Candle | Tick]) -> Instrument:
    if not rows:
        raise BadMarketData("there are no rows")
    instrument = rows[0].instrument
    for number, row in enumerate(rows, start=1):
        # Most rows share the very object.
        if row.instrument is not instrument and row.instrument != instrument:
            raise BadMarketData(
                f"{instrument} row {number}: it is of {row.instrument}; a series has one instrument",
                row=number, field="instrument",
            )  # fmt: skip
    return instrument


def _columns(**given: Any) -> list[Column]:
    cells = {name: frames.plain(column) for name, column in given.items() if column is not None}
    lengths = {name: len(column) for name, column in cells.items()}
    rows = next(iter(lengths.values()))
    if set(lengths.values()) != {rows}:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise BadMarketData(f"the columns differ in length: {told}", **lengths)
    if not rows:
        raise BadMarketData("there are no rows")
    zeros = array("q", bytes(8 * rows))
    return [cells.get(name, zeros) for name in given]


def _dropped(instrument: Instrument, rows: Rows, defects: Defects) -> list[Dropped]:
    if defects not in ("raise", "drop"):
        raise ValueError(f'defects must be "raise" or "drop", not {defects!r}')
    if not rows.defects:
        return []
    first = rows.defects[0]
    told = f"row {first.row}: {first.reason}"
    details = {"row": first.row, "field": first.field, "reason": first.reason}
    if defects == "raise":
        raise BadMarketData(f"{instrument} {told}", **details)
    if not rows.columns[0]:
        raise BadMarketData(f"{instrument}: no row can be used; {told}", **details)
    return [Dropped(defect.row, defect.reason) for defect in rows.defects]


def _interval_us(instrument: Instrument, start_us: Ints) -> int:
    # The commonest distance, not the smallest: a stray row between two candles must not shorten them all.
    if len(start_us) < 2:
        raise BadMarketData(
            f"{instrument}: one candle does not tell how long it lasts: give the interval", field="interval"
        )
    if arrays.is_there():
        return arrays.commonest_distance(start_us)
    distances: Counter[int] = Counter(map(sub, islice(start_us, 1, None), start_us))
    return max(distances, key=lambda us: (distances[us], -us))


def _between(
    series: CandleSeries | TickSeries, at_us: Ints, others: Sequence[Ints], first: time, last: time
) -> list[Ints]:
    lower, upper = _of_day_us(first), _of_day_us(last)
    day_us = -day_end_us(0) % DAY_US  # what Indian time is ahead of UTC
    wanted = [lower <= (us + day_us) % DAY_US < upper for us in at_us]
    if not any(wanted):
        raise BadMarketData(f"{series.instrument}: no row is from {first} up to {last}")
    return [array("q", compress(column, wanted)) for column in (at_us, *others)]


def _of_day_us(at: time) -> int:
    return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond


def _days(at_us: Ints) -> list[date]:
    days, first = [], 0
    while first < len(at_us):
        days.append(to_time(at_us[first]).date())
        first = bisect_left(at_us, day_end_us(at_us[first]), first)
    return days


def _summary(instrument: Instrument, at_us: Ints) -> str:
    return f"{instrument}: {len(at_us)} rows from {to_time(at_us[0])} to {to_time(at_us[-1])}"
