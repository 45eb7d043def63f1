"""The simulated brokers as a background process meets them: each a process of its own."""

from decimal import Decimal
from pathlib import Path
from typing import Protocol

from pulse.simulate import (
    DEFAULT_ACCESS_TOKEN,
    DEFAULT_MOBILE_NUMBER,
    DEFAULT_MPIN,
    DEFAULT_TOTP_SEED,
    DEFAULT_UCC,
)
from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak import login as kotak
from pulse_adapters.kotak.sdk import load_sdk
from pulse_adapters.kotak.settings import read_kotak_settings
from pulse_adapters.postgres.instrument_sync import PostgresInstrumentSync
from pulse_adapters.postgres.pool import Database
from pulse_adapters.zerodha import login as zerodha
from pulse_adapters.zerodha.settings import read_zerodha_settings
from pulse_domain.instruments import Instrument, Listing, ListingKind
from pulse_domain.ports.broker_sessions import BrokerSessions
from pulse_domain.units import INDIA
from tests.integration.simulator.neo import KotakProcess
from tests.integration.simulator.process import API_KEY, API_SECRET, KiteProcess, SimulatorProcess
from tests.unit.zerodha.make import SECRETS

INFY = Instrument.parse("NSE:INFY")


class Face(Protocol):
    """A broker's API, simulated. The control endpoint of `process` is the same for all of them."""

    @property
    def process(self) -> SimulatorProcess: ...

    def environ(self) -> dict[str, str]:
        """What a background process is told of the broker."""
        ...

    async def log_in(self, sessions: BrokerSessions) -> None:
        """Open a session as a person does, and store it."""
        ...

    async def list_instruments(self, database: Database) -> None:
        """Store what orders need to know of INFY, where they need something."""
        ...


class KiteFace:
    def __init__(self, process: KiteProcess) -> None:
        self.process = process

    def environ(self) -> dict[str, str]:
        return {
            "BROKER_TYPE": "zerodha",
            "ZERODHA_API_KEY": API_KEY,
            "ZERODHA_API_SECRET": API_SECRET,
            "ZERODHA_BASE_URL": self.process.url,
            "ZERODHA_TICKER_URL": self.process.ticker_url,
            "BROKER_SESSION_SECRETS": SECRETS[0],
        }

    async def log_in(self, sessions: BrokerSessions) -> None:
        token = self.process.control("POST", "/request-token")["request_token"]
        await zerodha.log_in(read_zerodha_settings(self.environ()), sessions, SystemClock(), token)

    async def list_instruments(self, database: Database) -> None:
        pass  # the broker's symbols are ours


class KotakFace:
    def __init__(self, process: KotakProcess) -> None:
        self.process = process

    def environ(self) -> dict[str, str]:
        return {
            "BROKER_TYPE": "kotak",
            "KOTAK_ACCESS_TOKEN": DEFAULT_ACCESS_TOKEN,
            "KOTAK_MOBILE_NUMBER": DEFAULT_MOBILE_NUMBER,
            "KOTAK_UCC": DEFAULT_UCC,
            "KOTAK_MPIN": DEFAULT_MPIN,
            "KOTAK_TOTP_SEED": DEFAULT_TOTP_SEED,
            "KOTAK_LOGIN_URL": self.process.url,
            "BROKER_SESSION_SECRETS": SECRETS[0],
        }

    async def log_in(self, sessions: BrokerSessions) -> None:
        load_sdk()  # not within the time of the first call
        settings, clock = read_kotak_settings(self.environ()), SystemClock()
        credentials = kotak.stored_credentials(settings, clock)
        assert credentials is not None
        await kotak.log_in(settings, credentials, sessions, clock)

    async def list_instruments(self, database: Database) -> None:
        share = Listing(
            token="1594",
            instrument=INFY,
            broker_symbol="INFY-EQ",
            name="INFOSYS",
            kind=ListingKind.SHARE,
            tick_size=Decimal("0.05"),
            lot_size=1,
        )
        today = SystemClock().now().astimezone(INDIA).date()
        await PostgresInstrumentSync(database)("kotak", [share], today)


def start_kite(folder: Path, *options: str, seed: int = 7, delays: bool = False, limits: bool = False) -> Face:
    return KiteFace(KiteProcess(folder, *options, seed=seed, delays=delays, limits=limits).start())


def start_kotak(folder: Path, *options: str, seed: int = 7, delays: bool = False, limits: bool = False) -> Face:
    return KotakFace(KotakProcess(folder, *options, seed=seed, delays=delays, limits=limits).start())
