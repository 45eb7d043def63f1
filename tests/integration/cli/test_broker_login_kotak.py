"""`pulse broker login kotak` on a real database, and a worker's broker on the session that it stored."""

import asyncio
import io
from collections.abc import AsyncIterator
from datetime import date

import asyncpg
import pyotp
import pytest
import pytest_asyncio
from msgspec.structs import replace

from pulse.cli import main
from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.sessions import BROKER
from pulse_adapters.kotak.settings import read_kotak_settings
from pulse_adapters.postgres.instrument_sync import PostgresInstrumentSync
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_background.kotak import open_kotak
from pulse_domain.errors import BrokerUnavailable, PulseError
from pulse_domain.instruments import Instrument, InstrumentTerms, Listing, ListingKind
from pulse_domain.ports.broker_sessions import BrokerSession
from tests.contract.kotak_server import KotakServer, kotak_server
from tests.unit.kotak.make import (
    ACCESS_TOKEN,
    MOBILE_NUMBER,
    MPIN,
    PLANTED,
    RELIANCE,
    SECRETS,
    TICKET,
    TOTP_SEED,
    UCC,
    seal,
    until,
)
from tests.unit.virtual.fixed_market import FixedMarket

ENVIRON = {
    "KOTAK_ACCESS_TOKEN": ACCESS_TOKEN,
    "KOTAK_MOBILE_NUMBER": MOBILE_NUMBER,
    "KOTAK_UCC": UCC,
    "KOTAK_MPIN": MPIN,
    "KOTAK_TOTP_SEED": TOTP_SEED,
    "BROKER_SESSION_SECRETS": SECRETS[0],
}
LISTING = Listing(
    token="nse_cm|2885",
    instrument=RELIANCE,
    broker_symbol="RELIANCE-EQ",
    name="RELIANCE",
    kind=ListingKind.SHARE,
    tick_size=InstrumentTerms().tick_size,
    lot_size=1,
)


@pytest_asyncio.fixture
async def neo() -> AsyncIterator[KotakServer]:
    market = FixedMarket(SystemClock())
    market.set(RELIANCE, "500.00")
    async with kotak_server(market) as server:
        yield server


class Terminal:
    """A command line with its environment, and what it wrote."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    async def run(self, typed: str = "") -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = await asyncio.to_thread(main, ["broker", "login", "kotak"])
        out, err = self._capsys.readouterr()
        assert not any(secret in out + err for secret in PLANTED)
        return code, out, err


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    neo: KotakServer,
    migrated_dsn: str,
    database: asyncpg.Pool,
) -> Terminal:
    for name, value in {**ENVIRON, "DATABASE_URL": migrated_dsn, "KOTAK_LOGIN_URL": neo.base_url}.items():
        monkeypatch.setenv(name, value)
    return Terminal(monkeypatch, capsys)


async def session_of(database: asyncpg.Pool) -> BrokerSession | None:
    return await PostgresSessions(Database(database)).newest(BROKER)


async def test_a_login_asks_nothing_that_the_environment_has(
    terminal: Terminal, neo: KotakServer, database: asyncpg.Pool
) -> None:
    code, out, err = await terminal.run()

    assert (code, err) == (0, "")
    assert f"{UCC} is logged in until " in out
    assert f"KOTAK_BASE_URL={neo.base_url}\n" in out
    stored = await session_of(database)
    assert stored is not None
    assert seal().open(stored.sealed_token, broker=BROKER, user_id=UCC)


@pytest.mark.parametrize("with_seed", [True, False])
async def test_what_it_lacks_is_asked_for(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, with_seed: bool
) -> None:
    for name in ("KOTAK_MOBILE_NUMBER", "KOTAK_UCC", "KOTAK_MPIN", "KOTAK_TOTP_SEED"):
        monkeypatch.delenv(name)
    last = TOTP_SEED if with_seed else pyotp.TOTP(TOTP_SEED).at(SystemClock().now())

    code, out, _ = await terminal.run(f"{MOBILE_NUMBER}\n{UCC}\n{MPIN}\n{last}\n")

    assert code == 0
    assert f"{UCC} is logged in until " in out


@pytest.mark.parametrize("typed", ["", "nonsense\n", f"{MOBILE_NUMBER}\n\n", f"{MOBILE_NUMBER}\n{UCC}\nx\n"])
async def test_an_answer_that_makes_no_sense_is_one_line(
    terminal: Terminal, neo: KotakServer, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    for name in ("KOTAK_MOBILE_NUMBER", "KOTAK_UCC", "KOTAK_MPIN"):
        monkeypatch.delenv(name)

    code, _, err = await terminal.run(typed)

    assert (code, err.count("\n")) == (2, 1)
    assert neo.requests == []


async def test_a_refused_login_is_one_line(
    terminal: Terminal, database: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KOTAK_MPIN", "111111")

    code, _, err = await terminal.run()

    assert code == 1
    assert err.startswith("LOGIN_FAILED: the broker does not take")
    assert err.count("\n") == 1
    assert await session_of(database) is None


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DATABASE_URL", "", "DATABASE_URL is not set"),
        ("DATABASE_URL", "mysql://planted", "DATABASE_URL must be"),
        ("KOTAK_ACCESS_TOKEN", "", "KOTAK_ACCESS_TOKEN is not set"),
        ("KOTAK_MPIN", "planted", "KOTAK_MPIN must be"),
    ],
)
async def test_a_setting_that_is_wrong_is_one_line(
    terminal: Terminal, neo: KotakServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)

    code, _, err = await terminal.run()

    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(told)
    assert neo.requests == []


async def test_a_database_that_cannot_be_reached_costs_no_try_at_the_broker(
    terminal: Terminal, neo: KotakServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:plantedpassword@127.0.0.1:1/pulse")

    code, _, err = await terminal.run()

    assert code == 1
    assert err.startswith("DATABASE_ERROR: ")
    assert "plantedpassword" not in err
    assert neo.requests == []


async def test_a_worker_sends_by_the_stored_session_and_the_brokers_symbols(
    terminal: Terminal, neo: KotakServer, database: asyncpg.Pool
) -> None:
    settings = read_kotak_settings({**ENVIRON, "KOTAK_LOGIN_URL": neo.base_url})
    await PostgresInstrumentSync(Database(database))(BROKER, [LISTING], date(2026, 1, 5))
    await terminal.run()

    async with open_kotak(settings, Database(database), SystemClock()) as opened:
        assert await opened.is_open()
        order_id = await opened.broker.place(TICKET, timeout_s=5)
        [row] = (await opened.broker.order_book()).orders
        unlisted = replace(TICKET, instrument=Instrument.parse("NSE:UNLISTED"))
        with pytest.raises(BrokerUnavailable, match="pulse instruments sync --broker kotak"):
            await opened.broker.place(unlisted, timeout_s=5)

    assert (row.broker_order_id, row.tags) == (order_id, (TICKET.tag,))


@pytest.mark.parametrize("mpin", [MPIN, "111111"])
async def test_a_worker_that_may_logs_in_by_itself_once(
    neo: KotakServer, database: asyncpg.Pool, mpin: str
) -> None:
    given = {"KOTAK_LOGIN_URL": neo.base_url, "KOTAK_UNATTENDED_LOGIN": "yes", "KOTAK_MPIN": mpin}
    settings = read_kotak_settings({**ENVIRON, **given})

    async with open_kotak(settings, Database(database), SystemClock()) as opened:
        assert not await opened.is_open()
        await until(lambda: len(neo.requests) == 2)
        await asyncio.sleep(0.1)

        assert await opened.is_open() is (mpin == MPIN)

    assert len(neo.requests) == 2


async def test_without_the_sdk_it_says_what_to_install(
    database: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'neo_api_client'", name="neo_api_client")

    monkeypatch.setattr("pulse_adapters.kotak.sdk.load_sdk", missing)
    settings = read_kotak_settings(ENVIRON)

    with pytest.raises(PulseError, match=r"pip install \"pulse-adapters\[kotak\]\""):
        async with open_kotak(settings, Database(database), SystemClock()):
            pass
