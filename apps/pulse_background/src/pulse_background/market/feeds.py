"""The feed that the settings choose, and what belongs to it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, time, timedelta
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from pulse_adapters.feeds.replay_feed import ReplayMarketFeed
from pulse_adapters.feeds.spec import LiveSpec, SyntheticSpec, open_market_feed, parse_market_feed
from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_adapters.kotak.settings import KotakSettings
from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.instrument_master import PostgresInstrumentMaster
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.real_broker.market_stream import LiveFeedSettings, StoredUntil
from pulse_adapters.zerodha.settings import ZerodhaSettings
from pulse_background.kotak import open_kotak
from pulse_background.market.hours import around_the_clock
from pulse_background.settings import Settings, SettingsError
from pulse_background.zerodha import open_zerodha
from pulse_domain.candles import HoursAt
from pulse_domain.errors import PulseError, UnknownInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.market.sessions import indian_day
from pulse_domain.ports.candle_store import CandleStore
from pulse_domain.ports.circuit_reads import CircuitReads
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import MarketFeed
from pulse_domain.units import INDIA
from pulse_domain.use_cases.market_gate import OutsideSession


class OpenFeed(Struct, frozen=True, kw_only=True):
    """recorded: its own time, where it is a recording. hours_at: when its candles are built.
    is_made_up: it never ends, and is no market."""

    feed: MarketFeed
    hours_at: HoursAt
    recorded: Clock | None = None
    is_made_up: bool = False


def check_feed(settings: Settings) -> None:
    """Check what prices strategies would get.

    Raises:
        SettingsError: real orders would follow prices that are none, or the broker's settings are missing.
        FeedSpecError: the feed is none.
    """
    spec = parse_market_feed(settings.market_feed)
    if settings.broker_type in ("zerodha", "kotak") and not isinstance(spec, LiveSpec):
        raise SettingsError(
            f"MARKET_FEED must be zerodha or kotak where BROKER_TYPE is {settings.broker_type}:"
            " strategies trade on the prices of the market"
        )
    if isinstance(spec, LiveSpec) and getattr(settings, spec.broker) is None:
        raise SettingsError(
            f"MARKET_FEED={spec.broker} goes with BROKER_TYPE or VIRTUAL_BROKER_READS {spec.broker}"
        )


async def open_feed(settings: Settings, database: Database, clock: Clock) -> OpenFeed:
    """Read files, or get ready to connect.

    Raises:
        FeedSpecError, FeedFileError: it cannot be played.
        PulseError: what the broker's feed needs is not installed.
    """
    spec = parse_market_feed(settings.market_feed)
    calendar = DatedCalendar(settings.market.calendar)
    hours_at: HoursAt = calendar.hours_at
    is_made_up = isinstance(spec, SyntheticSpec)
    # A simulated broker may be open at any hour, and then its prices go on.
    if is_made_up or (
        isinstance(spec, LiveSpec) and settings.market.rules.outside_session is OutsideSession.ACCEPT
    ):
        hours_at = around_the_clock
    live: dict[str, Callable[[], MarketFeed]] = {}
    if settings.zerodha is not None:
        zerodha = settings.zerodha
        live["zerodha"] = lambda: _zerodha(zerodha, settings, database, clock, hours_at)
    if settings.kotak is not None:
        kotak = settings.kotak
        live["kotak"] = lambda: _kotak(kotak, settings, database, clock, hours_at)
    feed = await asyncio.to_thread(open_market_feed, spec, clock, speed=settings.feed_speed, live=live)
    return OpenFeed(
        feed=feed,
        hours_at=hours_at,
        recorded=feed.clock if isinstance(feed, ReplayMarketFeed) else None,
        is_made_up=is_made_up,
    )


@asynccontextmanager
async def open_circuits(
    settings: Settings, database: Database, clock: Clock
) -> AsyncIterator[CircuitReads | None]:
    """What tells the circuit limits: the broker whose prices the feed has. Of other feeds nothing does.

    Raises:
        PulseError: what the broker's adapter needs is not installed.
    """
    spec = parse_market_feed(settings.market_feed)
    if not isinstance(spec, LiveSpec):
        yield None
    elif spec.broker == "zerodha":
        assert settings.zerodha is not None, "checked by `check_feed`"
        async with open_zerodha(settings.zerodha, database, clock) as zerodha:
            yield zerodha.circuits
    else:
        assert settings.kotak is not None, "checked by `check_feed`"
        # The workers log in; here their session is only used.
        async with open_kotak(replace(settings.kotak, unattended_login=False), database, clock) as kotak:
            yield kotak.circuits


def _zerodha(
    zerodha: ZerodhaSettings, settings: Settings, database: Database, clock: Clock, hours_at: HoursAt
) -> MarketFeed:
    try:
        from pulse_adapters.sealing import TokenSeal
        from pulse_adapters.zerodha.market_feed import ZerodhaFeed
        from pulse_adapters.zerodha.sessions import BROKER, ZerodhaSessions
    except ModuleNotFoundError as error:
        raise PulseError(f'{error.name} is not installed: pip install "pulse-adapters[zerodha]"') from error
    sessions = ZerodhaSessions(
        PostgresSessions(database),
        TokenSeal(zerodha.session_secrets),
        clock,
        initial_token=zerodha.access_token,
    )
    return ZerodhaFeed(
        zerodha,
        sessions,
        clock,
        _rng(),
        tokens=_Tokens(database, clock, BROKER),
        hours_at=hours_at,
        feed=_live_settings(settings),
        stored_until=stored_until(PostgresCandleStore(database), clock),
    )


def _kotak(
    kotak: KotakSettings, settings: Settings, database: Database, clock: Clock, hours_at: HoursAt
) -> MarketFeed:
    try:
        from pulse_adapters.kotak.market_feed import KotakFeed
        from pulse_adapters.kotak.sdk import load_sdk
        from pulse_adapters.kotak.sessions import BROKER, KotakSessions
        from pulse_adapters.sealing import TokenSeal

        load_sdk()  # not within the time of the first call
    except ModuleNotFoundError as error:
        raise PulseError(f'{error.name} is not installed: pip install "pulse-adapters[kotak]"') from error
    # The workers log in; here their session is only used.
    sessions = KotakSessions(PostgresSessions(database), TokenSeal(kotak.session_secrets), clock)
    return KotakFeed(
        kotak,
        sessions,
        clock,
        _rng(),
        tokens=_Tokens(database, clock, BROKER),
        hours_at=hours_at,
        feed=_live_settings(settings),
        stored_until=stored_until(PostgresCandleStore(database), clock),
    )


class _Tokens:
    """What the broker calls an instrument on its feed."""

    def __init__(self, database: Database, clock: Clock, broker: str) -> None:
        self._master = PostgresInstrumentMaster(database, clock, broker)

    async def __call__(self, instrument: Instrument) -> str | None:
        try:
            return (await self._master.listing(instrument)).listing.token
        except UnknownInstrument:
            return None


def stored_until(candles: CandleStore, clock: Clock) -> StoredUntil:
    """Where the minutes of this day end: what a desk before left."""

    async def ends(instruments: Iterable[Instrument]) -> Mapping[Instrument, datetime]:
        day = datetime.combine(indian_day(clock.now()), time(), INDIA)
        starts = await candles.last_starts(instruments, 1, day)
        return {instrument: start + timedelta(minutes=1) for instrument, start in starts.items()}

    return ends


def _live_settings(settings: Settings) -> LiveFeedSettings:
    return replace(LiveFeedSettings(), silence_s=settings.feed_silence_seconds)


def _rng() -> Random:
    return Random(secrets.randbits(64))  # noqa: S311  # only waits are drawn from it
