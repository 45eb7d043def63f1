"""A broker, its sessions and its tickets with defaults, so that a test shows only what matters."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import msgspec
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.broker import KotakBroker
from pulse_adapters.kotak.feed import FeedSettings
from pulse_adapters.kotak.login import Credentials
from pulse_adapters.kotak.sdk import load_sdk
from pulse_adapters.kotak.sessions import BROKER, KotakSessions, NeoSession
from pulse_adapters.kotak.settings import KotakSettings
from pulse_adapters.sealing import TokenSeal
from pulse_domain.instruments import Exchange, Instrument, InstrumentTerms
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from pulse_domain.ports.broker import OrderTicket
from pulse_domain.ports.broker_sessions import BrokerSession
from pulse_domain.ports.clock import Clock
from pulse_domain.testing.memory_sessions import InMemorySessions

PATIENCE_S = 10.0
ACCESS_TOKEN = "planted-access-token"
MOBILE_NUMBER = "+910009998881"
UCC = "PLA01"
MPIN = "907143"
TOTP_SEED = "PLANTEDSEEDPLANTEDSEEDPLANTEDSEE"
TOKEN = "planted.trade.token"
SID = "planted-sid"
SECRETS = ("planted-session-secret-of-32-characters",)
PLANTED = (ACCESS_TOKEN, MOBILE_NUMBER, MPIN, TOTP_SEED, TOKEN, SID, *SECRETS)

SETTINGS = KotakSettings(
    access_token=ACCESS_TOKEN,
    session_secrets=SECRETS,
    mobile_number=MOBILE_NUMBER,
    ucc=UCC,
    mpin=MPIN,
    totp_seed=TOTP_SEED,
    pool_size=4,
)
RELIANCE = Instrument.parse("NSE:RELIANCE")
CRUDE = Instrument.parse("MCX:CRUDEOIL26DECFUT")
TICKET = OrderTicket(
    tag="PU00000000000000TAG1",
    instrument=RELIANCE,
    side=Side.BUY,
    quantity=10,
    order_type=OrderType.LIMIT,
    product=Product.CNC,
    validity=Validity.DAY,
    limit_price=Decimal("500.05"),
    trigger_price=None,
    terms=InstrumentTerms(),
)
CREDENTIALS = Credentials(mobile_number=MOBILE_NUMBER, ucc=UCC, mpin=MPIN, totp=lambda: "123456")
FEED = FeedSettings(ack_s=0.2, look_s=0.1, wait_s=0.05, wait_max_s=0.2, steady_s=5.0)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to happen elsewhere, for as long as it may take on a busy machine."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def ticket(**changes: Any) -> OrderTicket:
    return replace(TICKET, **changes)


def seal(secrets: tuple[str, ...] = SECRETS) -> TokenSeal:
    return TokenSeal(secrets)


def neo_session(base_url: str = "http://127.0.0.1:1", **changes: Any) -> NeoSession:
    feed_url = base_url.replace("http", "ws", 1) + "/realtime"
    return replace(NeoSession(token=TOKEN, sid=SID, base_url=base_url, feed_url=feed_url), **changes)


def stored(session: NeoSession, *, clock: Clock, hours: float = 12) -> BrokerSession:
    return BrokerSession(
        broker=BROKER,
        user_id=UCC,
        sealed_token=seal().seal(broker=BROKER, user_id=UCC, token=msgspec.json.encode(session).decode()),
        valid_until=clock.now() + timedelta(hours=hours),
    )


async def symbol_of(instrument: Instrument) -> str | None:
    """As the broker's file says it, but for series other than EQ."""
    if instrument.symbol == "UNLISTED":
        return None
    return f"{instrument.symbol}-EQ" if instrument.exchange is Exchange.NSE else instrument.symbol


async def make_broker(
    base_url: str,
    *,
    settings: KotakSettings = SETTINGS,
    store: InMemorySessions | None = None,
    **options: Any,
) -> KotakBroker:
    """A broker on the real clock, with a session that is valid."""
    load_sdk()  # not within the time of the first call
    clock = SystemClock()
    store = store or InMemorySessions()
    if await store.newest(BROKER) is None:
        await store.save(stored(neo_session(base_url), clock=clock))
    return KotakBroker(
        replace(settings, login_url=base_url),
        KotakSessions(store, seal(), clock, refresh_s=0.05),
        clock,
        Random(1),
        feed=FEED,
        **{"symbols": symbol_of, **options},
    )
