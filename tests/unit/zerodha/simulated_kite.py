"""The simulated broker, without delays and limits, on prices that a test sets."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.simulator.kite.serve import KiteSimulator, serve_kite
from pulse_adapters.simulator.kite.settings import KiteApp, KiteSettings
from pulse_adapters.simulator.opening import Feed, SimulatorOptions
from pulse_adapters.zerodha.login import log_in
from pulse_adapters.zerodha.settings import ZerodhaSettings
from pulse_domain.account import Holding
from pulse_domain.ports.broker_sessions import BrokerSessions
from pulse_domain.ports.market_data import MarketData
from tests.unit.zerodha.make import API_KEY, API_SECRET


@asynccontextmanager
async def simulated_kite(
    folder: Path,
    market: MarketData,
    tick_size: Decimal = Decimal("0.05"),
    *,
    postback_url: str | None = None,
    holdings: tuple[Holding, ...] = (),
) -> AsyncIterator[KiteSimulator]:
    options = SimulatorOptions(
        journal=folder / "kite.journal",
        has_delays=False,
        capital=Decimal(10_000_000_000),
        holdings=holdings,
    )
    app = KiteApp(api_key=API_KEY, api_secret=API_SECRET, postback_url=postback_url)
    settings = KiteSettings(app=app, has_limits=False)
    feed = Feed(market, lambda instrument: tick_size, None)
    listener = socket.create_server(("127.0.0.1", 0))
    async with serve_kite(options, settings, feed, SystemClock(), listener) as simulator:
        yield simulator


def pointed_at(simulator: KiteSimulator, settings: ZerodhaSettings) -> ZerodhaSettings:
    return replace(settings, base_url=simulator.url, ticker_url=simulator.url.replace("http", "ws", 1))


async def log_in_there(simulator: KiteSimulator, settings: ZerodhaSettings, store: BrokerSessions) -> None:
    """Log in as a person does, the page left out."""
    request_token = simulator.face.sessions.new_request_token(API_KEY)
    await log_in(pointed_at(simulator, settings), store, SystemClock(), request_token)
