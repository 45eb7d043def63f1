"""A feed as one line of text: `synthetic`, `synthetic:SEED` or `replay:FILE[,FILE...]`; where ticks are wanted
and not quotes, `zerodha` or `kotak` too.

Each FILE is a path, or `EXCHANGE:SYMBOL=PATH` for the file of one instrument. At most one bare path may be
given: it plays for every instrument that has no file of its own.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from pulse_adapters.feeds.errors import FeedSpecError
from pulse_adapters.feeds.recordings import FeedFile
from pulse_adapters.feeds.replay import ReplayFeed
from pulse_adapters.feeds.replay_feed import ReplayMarketFeed
from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_adapters.feeds.synthetic_feed import SyntheticMarketFeed
from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import MarketFeed

LIVE = ("kotak", "zerodha")


class SyntheticSpec(Struct, frozen=True):
    seed: int = 0


class ReplaySpec(Struct, frozen=True):
    files: dict[Instrument, Path]
    fallback: Path | None = None


class LiveSpec(Struct, frozen=True):
    """The feed of a real broker."""

    broker: str


FeedSpec = SyntheticSpec | ReplaySpec
MarketFeedSpec = SyntheticSpec | ReplaySpec | LiveSpec


def parse_feed(text: str) -> FeedSpec:
    """Read a feed's description; opens no file.

    Raises:
        FeedSpecError: the text has another shape, or names an instrument or a bare path twice.
    """
    kind, _, rest = text.strip().partition(":")
    if kind == "synthetic":
        return SyntheticSpec(_seed(rest)) if rest else SyntheticSpec()
    if kind == "replay" and rest:
        return _replay(rest.split(","))
    raise FeedSpecError(f"a feed is synthetic, synthetic:SEED or replay:FILE[,FILE...], not {text!r}")


def parse_market_feed(text: str) -> MarketFeedSpec:
    """As `parse_feed`, with the brokers' own feeds."""
    if (broker := text.strip()) in LIVE:
        return LiveSpec(broker)
    try:
        return parse_feed(text)
    except FeedSpecError as error:
        if text.strip().startswith(("synthetic:", "replay:")):
            raise
        raise FeedSpecError(f"{error}, nor {' or '.join(LIVE)}") from None


def open_feed(
    spec: FeedSpec, clock: Clock, *, speed: float = 1.0, start_at: datetime | None = None
) -> SyntheticFeed | ReplayFeed:
    """Read the files of a feed and start it; `speed` and `start_at` are for a replay.

    Raises:
        FeedFileError: a file cannot be played.
        FeedSpecError: the speed is not above 0, or `start_at` carries no UTC offset.
    """
    if isinstance(spec, SyntheticSpec):
        return SyntheticFeed(clock, spec.seed)
    files, fallback = _read(spec)
    return ReplayFeed(clock, files, fallback, speed=speed, start_at=start_at)


def open_market_feed(
    spec: MarketFeedSpec,
    clock: Clock,
    *,
    speed: float = 1.0,
    start_at: datetime | None = None,
    live: Mapping[str, Callable[[], MarketFeed]] | None = None,
) -> MarketFeed:
    """Make a feed, reading its files; `speed` and `start_at` are for a replay.

    live: what makes the feed of a broker, for those that can be had.

    Raises:
        FeedFileError: a file cannot be played.
        FeedSpecError: the speed is not above 0, `start_at` carries no UTC offset, or nothing makes the feed of
            that broker.
    """
    match spec:
        case SyntheticSpec(seed):
            return SyntheticMarketFeed(clock, seed)
        case LiveSpec(broker):
            if live is None or broker not in live:
                raise FeedSpecError(f"the feed of {broker} needs its broker's settings")
            return live[broker]()
        case ReplaySpec():
            files, fallback = _read(spec)
            return ReplayMarketFeed(clock, files, fallback, speed=speed, start_at=start_at)


def _read(spec: ReplaySpec) -> tuple[dict[Instrument, FeedFile], FeedFile | None]:
    files = {instrument: FeedFile(path) for instrument, path in spec.files.items()}
    return files, None if spec.fallback is None else FeedFile(spec.fallback)


def _seed(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise FeedSpecError(f"the seed of a synthetic feed is a whole number, not {text!r}") from None


def _replay(items: list[str]) -> ReplaySpec:
    files: dict[Instrument, Path] = {}
    fallback: Path | None = None
    for item in map(str.strip, items):
        name, equals, path = item.partition("=")
        # A bare path may hold an equals sign; only an instrument is written with a colon before it.
        if not (equals and ":" in name and "/" not in name):
            name, path = "", item
        if not path:
            raise FeedSpecError(f"there is an empty file name in the replay feed: {item!r}")
        if not name:
            if fallback is not None:
                raise FeedSpecError(
                    f"{fallback} and {path} are both without an instrument: give one EXCHANGE:SYMBOL="
                )
            fallback = Path(path)
            continue
        try:
            instrument = Instrument.parse(name)
        except InvalidInstrument as e:
            raise FeedSpecError(f"{name}: {e.message}") from e
        if instrument in files:
            raise FeedSpecError(f"two files for {instrument}")
        files[instrument] = Path(path)
    return ReplaySpec(files, fallback)
