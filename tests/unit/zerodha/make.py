"""A broker, its sessions and its tickets with defaults, so that a test shows only what matters."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.sealing import TokenSeal
from pulse_adapters.zerodha.broker import ZerodhaBroker
from pulse_adapters.zerodha.sessions import BROKER, ZerodhaSessions
from pulse_adapters.zerodha.settings import ZerodhaSettings
from pulse_adapters.zerodha.ticker import TickerSettings
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from pulse_domain.ports.broker import OrderTicket
from pulse_domain.ports.broker_sessions import BrokerSession
from pulse_domain.ports.clock import Clock
from pulse_domain.testing.memory_sessions import InMemorySessions

PATIENCE_S = 10.0
API_KEY = "planted-api-key"
API_SECRET = "planted-api-secret"
TOKEN = "planted-access-token"
SECRETS = ("planted-session-secret-of-32-characters",)
PLANTED = (API_KEY, API_SECRET, TOKEN, *SECRETS)

SETTINGS = ZerodhaSettings(
    api_key=API_KEY,
    api_secret=API_SECRET,
    session_secrets=SECRETS,
    base_url="http://127.0.0.1:1",
    ticker_url="ws://127.0.0.1:1",
    pool_size=4,
)
SBIN = Instrument.parse("NSE:SBIN")
CRUDE = Instrument.parse("MCX:CRUDEOIL26DECFUT")
TICKET = OrderTicket(
    tag="PU00000000000000TAG1",
    instrument=SBIN,
    side=Side.BUY,
    quantity=10,
    order_type=OrderType.LIMIT,
    product=Product.CNC,
    validity=Validity.DAY,
    limit_price=Decimal("500.05"),
    trigger_price=None,
    terms=InstrumentTerms(),
)


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


def session(
    token: str = TOKEN, *, clock: Clock, hours: float = 12, secrets: tuple[str, ...] = SECRETS
) -> BrokerSession:
    return BrokerSession(
        broker=BROKER,
        user_id="AB1234",
        sealed_token=seal(secrets).seal(broker=BROKER, user_id="AB1234", token=token),
        valid_until=clock.now() + timedelta(hours=hours),
    )


def sessions(store: InMemorySessions, clock: Clock, **options: Any) -> ZerodhaSessions:
    return ZerodhaSessions(store, seal(), clock, **options)


async def make_broker(
    base_url: str,
    *,
    ticker_url: str = "ws://127.0.0.1:1",
    settings: ZerodhaSettings = SETTINGS,
    store: InMemorySessions | None = None,
    **options: Any,
) -> ZerodhaBroker:
    """A broker on the real clock, with a session that is valid."""
    clock = SystemClock()
    store = store or InMemorySessions()
    if await store.newest(BROKER) is None:
        await store.save(session(clock=clock))
    return ZerodhaBroker(
        replace(settings, base_url=base_url, ticker_url=ticker_url),
        sessions(store, clock, refresh_s=0.05),
        clock,
        Random(1),
        ticker=TickerSettings(
            api_key=API_KEY, url=ticker_url, silence_s=1.0, wait_s=0.05, wait_max_s=0.2, steady_s=5.0
        ),
        **options,
    )
