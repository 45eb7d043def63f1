"""How volume spreads over the day, from history.

The volumes of all days are added up by time of day, so that a missing day is missing everywhere alike, and
a heavy day counts as heavy. A bucket in which nobody ever traded is time in which a schedule sends nothing.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta, tzinfo
from itertools import pairwise
from typing import NamedTuple, Protocol

from msgspec import Struct

from pulse_domain.errors import CannotSplit
from pulse_domain.splitting.shares import Weight, exact, lowest_terms
from pulse_domain.splitting.window import Window, microseconds
from pulse_domain.units import INDIA

_DAY = timedelta(days=1)
_DAY_US = _DAY // timedelta(microseconds=1)


class VolumeBar(Protocol):
    """A candle, as far as volume goes."""

    @property
    def start(self) -> datetime: ...

    @property
    def volume(self) -> Weight: ...


class Piece(NamedTuple):
    """A stretch of a window, both ends included, and its volume per instant in units of the curve."""

    first_us: int
    last_us: int
    volume: int


class VolumeCurve(Struct, frozen=True, kw_only=True):
    """Volume by time of day.

    buckets: (microseconds after midnight in `zone`, volume), ascending, without empty ones; only the ratio
        of the volumes means something.
    """

    bucket_us: int
    buckets: tuple[tuple[int, int], ...]
    zone: tzinfo = INDIA

    def __post_init__(self) -> None:
        if self.bucket_us < 1:
            raise CannotSplit("the buckets of a volume curve must be longer than nothing")
        if not self.buckets:
            raise CannotSplit("the history has no volume")
        if any(volume < 1 for _, volume in self.buckets):
            raise CannotSplit("a volume curve must not list empty buckets")
        if any(b - a < self.bucket_us for (a, _), (b, _) in pairwise(self.buckets)):
            raise CannotSplit("the buckets of a volume curve must ascend and not overlap")

    @classmethod
    def from_pairs(
        cls, pairs: Iterable[tuple[int, Weight]], *, bucket_us: int | None = None, zone: tzinfo = INDIA
    ) -> "VolumeCurve":
        """Build a curve from (microseconds after midnight, volume); what falls in one bucket is added up.

        bucket_us: where not given, the commonest distance between the times.

        Raises:
            CannotSplit: a pair makes no sense (`details` carry its row, from 1), there is no volume, or the
                length of the buckets cannot be told.
        """
        volumes: dict[int, int] = {}
        for row, (offset, volume) in enumerate(pairs, start=1):
            if not 0 <= offset < _DAY_US:
                raise CannotSplit(f"row {row}: {offset} us is not within a day", row=row)
            _add(volumes, row, offset, volume)
        return _curve(volumes, bucket_us or _step(volumes), zone)

    @classmethod
    def from_candles(
        cls, candles: Iterable[VolumeBar], *, bucket_us: int | None = None, zone: tzinfo = INDIA
    ) -> "VolumeCurve":
        """Build a curve from the candles of one instrument, of any days, in any order.

        bucket_us: where not given, the length of the candles: the commonest distance between them.

        Raises:
            CannotSplit: a candle makes no sense or is there twice (`details` carry its row, from 1), there is
                no volume, the length of the buckets cannot be told or is below that of the candles.
        """
        volumes: dict[int, int] = {}
        seen = set()
        for row, candle in enumerate(candles, start=1):
            if candle.start.utcoffset() is None:
                raise CannotSplit(f"candle {row}: its start has no offset from UTC", row=row)
            if candle.start in seen:
                raise CannotSplit(f"candle {row}: {candle.start} is there twice", row=row)
            seen.add(candle.start)
            start = candle.start.astimezone(zone).replace(tzinfo=None)
            _add(volumes, row, (start - datetime.combine(start, time())) // timedelta.resolution, candle.volume)
        if bucket_us is None:
            bucket_us = _step(volumes)
        elif len(volumes) > 1 and bucket_us < (step := _step(volumes)):
            raise CannotSplit(
                f"buckets of {bucket_us} us cannot be told from candles of {step} us", candle_us=step
            )
        return _curve(volumes, bucket_us, zone)

    def pieces(self, window: Window) -> list[Piece]:
        """Give the stretches of a window that are open and have volume, ascending and apart.

        Raises:
            CannotSplit: there is none.
        """
        duration_us, pieces = window.duration_us, []
        # The window's last instant would belong to the bucket after it.
        spans = [
            (first, last - 1 if last == duration_us and last > first else last)
            for first, last in window.open_time().spans
        ]
        day = datetime.combine(window.start.astimezone(self.zone), time()) - _DAY
        last_day = window.end.astimezone(self.zone).replace(tzinfo=None)
        while day <= last_day:
            for offset, volume in self.buckets:
                start, end = [
                    microseconds(
                        window.start,
                        (day + timedelta(microseconds=us)).replace(tzinfo=self.zone).astimezone(UTC),
                    )
                    for us in (offset, offset + self.bucket_us)
                ]
                if end <= 0 or start > duration_us:
                    continue
                for first, last in spans:
                    if max(first, start) <= min(last, end - 1):
                        pieces.append(Piece(max(first, start), min(last, end - 1), volume))
            day += _DAY
        if not pieces:
            raise CannotSplit(
                "the volume curve has no volume in the window's open time", start=window.start, end=window.end
            )
        return _apart(pieces)


def _apart(pieces: list[Piece]) -> list[Piece]:
    # Buckets meet where a clock is put forward, and where the last one of a day reaches into the next.
    kept, last_us = [], -1
    for piece in sorted(pieces):
        if piece.last_us > last_us:
            kept.append(piece._replace(first_us=max(piece.first_us, last_us + 1)))
            last_us = piece.last_us
    return kept


def _add(volumes: dict[int, int], row: int, offset: int, volume: Weight) -> None:
    try:
        units, parts = exact(volume)
        if parts != 1:
            raise ValueError(f"{volume} is not a whole number")
    except ValueError as e:
        raise CannotSplit(f"row {row}: its volume makes no sense: {e}", row=row) from None
    volumes[offset] = volumes.get(offset, 0) + units


def _step(volumes: dict[int, int]) -> int:
    # The commonest, not the smallest: stray rows between two candles must not make the buckets tiny.
    gaps = Counter(b - a for a, b in pairwise(sorted(volumes)))
    if not gaps:
        raise CannotSplit("the history has fewer than two times of day: say how long its buckets are")
    return max(gaps, key=lambda gap: (gaps[gap], -gap))


def _curve(volumes: dict[int, int], bucket_us: int, zone: tzinfo) -> VolumeCurve:
    if bucket_us < 1:
        raise CannotSplit("the buckets of a volume curve must be longer than nothing")
    # Candles of 30 minutes from 09:15 on are not those from 09:00 on.
    shifts = Counter(offset % bucket_us for offset in volumes)
    shift = max(shifts, key=lambda us: (shifts[us], -us), default=0)
    summed: dict[int, int] = {}
    for offset, volume in volumes.items():
        if volume:
            start = (offset - shift) // bucket_us * bucket_us + shift
            summed[start] = summed.get(start, 0) + volume
    starts = sorted(summed)
    ratio = lowest_terms([summed[start] for start in starts])
    return VolumeCurve(bucket_us=bucket_us, buckets=tuple(zip(starts, ratio, strict=True)), zone=zone)
