"""Live feeds with their sessions, for a broker at any address."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from pulse.simulate import DEFAULT_ACCESS_TOKEN
from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.market_feed import KotakFeed
from pulse_adapters.kotak.sessions import KotakSessions, NeoSession
from pulse_adapters.kotak.settings import KotakSettings
from pulse_adapters.real_broker.market_stream import LiveFeedSettings, StoredUntil, Tokens
from pulse_adapters.sealing import TokenSeal
from pulse_adapters.zerodha.market_feed import ZerodhaFeed
from pulse_adapters.zerodha.sessions import ZerodhaSessions
from pulse_adapters.zerodha.settings import ZerodhaSettings
from pulse_domain.candles import HoursAt, SessionHours
from pulse_domain.instruments import Instrument
from pulse_domain.ports.broker_sessions import BrokerSession, BrokerSessions
from pulse_domain.ports.clock import Clock
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.integration.simulator.process import API_KEY, API_SECRET

SECRETS = ("planted-session-secret-of-32-characters",)
INFY, TCS = Instrument.parse("NSE:INFY"), Instrument.parse("NSE:TCS")
UNLISTED = Instrument.parse("NSE:UNLISTED")
KITE_TOKENS = {INFY: "408065", TCS: "2953217"}
NEO_TOKENS = {INFY: "nse_cm|1594", TCS: "nse_cm|11536"}
# What would take seconds at a real broker takes as long as a busy machine may need.
QUICK = LiveFeedSettings(
    silence_s=1.0, wait_s=0.02, wait_max_s=0.16, steady_s=0.5, connect_timeout_s=5.0, refused_wait_s=0.5
)


def always_open(instrument: Instrument, at: datetime) -> SessionHours | None:
    return SessionHours(at - timedelta(hours=1), at + timedelta(hours=1))


def never_open(instrument: Instrument, at: datetime) -> SessionHours | None:
    return None


def tokens_of(known: dict[Instrument, str]) -> Callable[[Instrument], Awaitable[str | None]]:
    async def token(instrument: Instrument) -> str | None:
        return known.get(instrument)

    return token


async def zerodha_feed(
    url: str,
    access_token: str,
    *,
    ticker_url: str | None = None,
    clock: Clock | None = None,
    hours_at: HoursAt = always_open,
    sessions: ZerodhaSessions | None = None,
    feed: LiveFeedSettings | None = None,
    tokens: Tokens | None = None,
    stored_until: StoredUntil | None = None,
) -> ZerodhaFeed:
    clock = clock or SystemClock()
    settings = ZerodhaSettings(
        api_key=API_KEY,
        api_secret=API_SECRET,
        session_secrets=SECRETS,
        base_url=url,
        ticker_url=ticker_url or url.replace("http", "ws", 1),
    )
    return ZerodhaFeed(
        settings,
        sessions or zerodha_sessions(access_token, clock),
        clock,
        Random(7),
        tokens=tokens or tokens_of(KITE_TOKENS),
        hours_at=hours_at,
        feed=feed or LiveFeedSettings(),
        stored_until=stored_until,
    )


def zerodha_sessions(access_token: str, clock: Clock, store: InMemorySessions | None = None) -> ZerodhaSessions:
    return ZerodhaSessions(
        store or InMemorySessions(), TokenSeal(SECRETS), clock, initial_token=access_token, refresh_s=0.05
    )


async def log_in(store: InMemorySessions, access_token: str, clock: Clock) -> None:
    """As a person does it: what is stored takes the place of the token before."""
    sealed = TokenSeal(SECRETS).seal(broker="zerodha", user_id="AB1234", token=access_token)
    ends = clock.now() + timedelta(days=8)
    await store.save(BrokerSession(broker="zerodha", user_id="AB1234", sealed_token=sealed, valid_until=ends))


async def kotak_feed(
    url: str,
    *,
    token: str,
    sid: str,
    ucc: str,
    market_url: str | None = None,
    hours_at: HoursAt = always_open,
    feed: LiveFeedSettings | None = None,
    clock: Clock | None = None,
) -> KotakFeed:
    store = InMemorySessions()
    ws = url.replace("http", "ws", 1)
    session = NeoSession(
        token=token,
        sid=sid,
        base_url=url,
        feed_url=f"{ws}/realtime",
        ucc=ucc,
        market_url=f"{ws}/apifeed" if market_url is None else market_url,
    )
    clock = clock or SystemClock()
    await store_neo(store, session, clock)
    return KotakFeed(
        KotakSettings(access_token=DEFAULT_ACCESS_TOKEN, session_secrets=SECRETS, login_url=url),
        KotakSessions(store, TokenSeal(SECRETS), clock, refresh_s=0.05),
        clock,
        Random(7),
        tokens=tokens_of(NEO_TOKENS),
        hours_at=hours_at,
        feed=feed or LiveFeedSettings(),
    )


async def store_neo(store: BrokerSessions, session: NeoSession, clock: Clock) -> None:
    sealed = TokenSeal(SECRETS).seal(
        broker="kotak", user_id=session.ucc, token=msgspec.json.encode(session).decode()
    )
    row: dict[str, Any] = {"broker": "kotak", "user_id": session.ucc, "sealed_token": sealed}
    await store.save(BrokerSession(**row, valid_until=clock.now() + timedelta(days=8)))
