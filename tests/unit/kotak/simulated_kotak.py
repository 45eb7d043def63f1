"""The simulated broker, without delays and limits, on prices that a test sets."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.login import log_in, stored_credentials
from pulse_adapters.kotak.sdk import load_sdk
from pulse_adapters.kotak.settings import KotakSettings
from pulse_adapters.simulator.kotak.serve import KotakSimulator, serve_kotak
from pulse_adapters.simulator.kotak.settings import NeoAccount, NeoSettings
from pulse_adapters.simulator.opening import Feed, SimulatorOptions
from pulse_domain.account import Holding
from pulse_domain.ports.broker_sessions import BrokerSessions
from pulse_domain.ports.market_data import MarketData
from tests.unit.kotak.make import ACCESS_TOKEN, MOBILE_NUMBER, MPIN, TOTP_SEED, UCC

ACCOUNT = NeoAccount(
    access_token=ACCESS_TOKEN, mobile_number=MOBILE_NUMBER, ucc=UCC, mpin=MPIN, totp_seed=TOTP_SEED
)


def simulator_options(folder: Path) -> SimulatorOptions:
    return SimulatorOptions(journal=folder / "kotak.journal", has_delays=False, capital=Decimal(10_000_000_000))


@asynccontextmanager
async def simulated_kotak(
    folder: Path,
    market: MarketData,
    tick_size: Decimal = Decimal("0.05"),
    *,
    holdings: tuple[Holding, ...] = (),
) -> AsyncIterator[KotakSimulator]:
    options = replace(simulator_options(folder), holdings=holdings)
    settings = NeoSettings(account=ACCOUNT, has_limits=False)
    feed = Feed(market, lambda instrument: tick_size, None)
    listener = socket.create_server(("127.0.0.1", 0))
    async with serve_kotak(options, settings, feed, SystemClock(), listener) as simulator:
        yield simulator


async def log_in_there(simulator: KotakSimulator, settings: KotakSettings, store: BrokerSessions) -> None:
    """Log in as a person does."""
    load_sdk()  # not within the time of the first call
    clock = SystemClock()
    pointed = replace(settings, login_url=simulator.url)
    credentials = stored_credentials(pointed, clock)
    assert credentials is not None
    await log_in(pointed, credentials, store, clock)
