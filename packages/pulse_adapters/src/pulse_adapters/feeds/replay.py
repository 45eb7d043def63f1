"""Play candle and tick files as if they were happening now."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from pulse_adapters.feeds.errors import FeedFileError, FeedSpecError
from pulse_adapters.feeds.recordings import FeedFile, Moment, Recording
from pulse_domain.errors import MarketDataUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_data import Quote


class _Track(NamedTuple):
    recording: Recording
    begin_s: float


class ReplayFeed:
    """Quotes from files, playing from construction on, and over again from the start at their end.

    files: the file that plays for an instrument.
    fallback: plays for every instrument without a file of its own, so that any order in a demo finds a
        price. Of a file with several symbols the one of that name plays, else the first.
    speed: 60 plays a recorded minute in a second.
    start_at: the recorded time at which every file begins; otherwise at its first row.

    Raises:
        FeedFileError: a file ends before `start_at`, or lacks the symbol of its instrument.
        FeedSpecError: the speed is not above 0, or `start_at` carries no UTC offset.
    """

    def __init__(
        self,
        clock: Clock,
        files: Mapping[Instrument, FeedFile],
        fallback: FeedFile | None = None,
        *,
        speed: float = 1.0,
        start_at: datetime | None = None,
    ) -> None:
        check_playing(speed, start_at)
        self._clock = clock
        self._began = clock.monotonic()
        self._speed = speed
        self._tracks = {
            instrument: _track(file, file.recordings[file.symbol_of(instrument)], start_at)
            for instrument, file in files.items()
        }
        self._fallback = (
            {}
            if fallback is None
            else {
                symbol: _track(fallback, recording, start_at)
                for symbol, recording in fallback.recordings.items()
            }
        )

    async def quote(self, instrument: Instrument) -> Quote:
        track = self._track(instrument)
        moment, tick = self._moment(track), track.recording.tick_size
        return Quote(
            instrument=instrument,
            at=self._clock.now(),
            last_price=moment.price * tick,
            bid=moment.bid * tick,
            ask=moment.ask * tick,
            volume=moment.volume,
        )

    def tick_size(self, instrument: Instrument) -> Decimal:
        """The tick grid of the instrument's file.

        Raises:
            MarketDataUnavailable: no file plays for the instrument.
        """
        return self._track(instrument).recording.tick_size

    def recorded_at(self, instrument: Instrument) -> datetime:
        """The recorded time of what plays now.

        Raises:
            MarketDataUnavailable: no file plays for the instrument.
        """
        return self._moment(self._track(instrument)).recorded_at

    def _track(self, instrument: Instrument) -> _Track:
        track = self._tracks.get(instrument) or self._fallback.get(instrument.symbol)
        if track is None:
            track = next(iter(self._fallback.values()), None)
        if track is None:
            raise MarketDataUnavailable(f"no file plays for {instrument}", instrument=str(instrument))
        return track

    def _moment(self, track: _Track) -> Moment:
        played_s = track.begin_s + (self._clock.monotonic() - self._began) * self._speed
        return track.recording.moment(played_s % track.recording.length_s)


def check_playing(speed: float, start_at: datetime | None) -> None:
    """Raises FeedSpecError where files cannot be played like that."""
    if not 0 < speed < float("inf"):
        raise FeedSpecError(f"the speed must be above 0, not {speed}")
    if start_at is not None and start_at.tzinfo is None:
        raise FeedSpecError("start_at must carry a UTC offset")


def _track(file: FeedFile, recording: Recording, start_at: datetime | None) -> _Track:
    begin_s = 0.0 if start_at is None else recording.offset_of(start_at)
    if begin_s is None:
        raise FeedFileError(file.path, f"ends before {start_at}")
    return _Track(recording, begin_s)
