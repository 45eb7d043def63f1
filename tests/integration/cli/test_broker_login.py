"""`pulse broker login zerodha` on a real database."""

import asyncio
import io
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from pulse.cli import main
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.sessions import PostgresSessions
from tests.unit.zerodha.kite_server import KiteServer, failure, kite_server, success
from tests.unit.zerodha.make import API_KEY, API_SECRET, PLANTED, SECRETS, TOKEN, seal

REQUEST_TOKEN = "plantedRequestToken"
SESSION = {"user_id": "AB1234", "access_token": TOKEN, "login_time": "2026-01-05 08:30:00"}


@pytest_asyncio.fixture
async def kite() -> AsyncIterator[KiteServer]:
    async with kite_server() as server:
        yield server


class Terminal:
    """A command line with its environment, and what it wrote."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    async def run(
        self, pasted: str = f"http://127.0.0.1/?request_token={REQUEST_TOKEN}\n"
    ) -> tuple[int, str, str]:
        self._monkeypatch.setattr("sys.stdin", io.StringIO(pasted))
        code = await asyncio.to_thread(main, ["broker", "login", "zerodha"])
        out, err = self._capsys.readouterr()
        for secret in (*PLANTED, REQUEST_TOKEN):
            # The key of the app is a part of the login page's address, and no secret.
            assert secret == API_KEY or secret not in out + err
        return code, out, err


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kite: KiteServer,
    migrated_dsn: str,
    database: asyncpg.Pool,
) -> Terminal:
    for name, value in {
        "DATABASE_URL": migrated_dsn,
        "ZERODHA_API_KEY": API_KEY,
        "ZERODHA_API_SECRET": API_SECRET,
        "ZERODHA_BASE_URL": kite.base_url,
        "BROKER_SESSION_SECRETS": SECRETS[0],
    }.items():
        monkeypatch.setenv(name, value)
    return Terminal(monkeypatch, capsys)


async def test_a_login_prints_the_page_and_stores_the_session(
    terminal: Terminal, kite: KiteServer, database: asyncpg.Pool
) -> None:
    kite.then(success(SESSION))

    code, out, _ = await terminal.run()

    assert code == 0
    assert f"{kite.base_url}/connect/login?v=3&api_key={API_KEY}" in out
    assert "AB1234 is logged in until " in out
    stored = await PostgresSessions(Database(database)).newest("zerodha")
    assert stored is not None
    assert seal().open(stored.sealed_token, broker="zerodha", user_id="AB1234") == TOKEN


async def test_a_token_that_the_broker_refuses_is_one_line(
    terminal: Terminal, kite: KiteServer, database: asyncpg.Pool
) -> None:
    kite.then(failure(403, "TokenException", f"Token {REQUEST_TOKEN} is invalid or has expired."))

    code, _, err = await terminal.run()

    assert code == 1
    assert err.startswith("LOGIN_FAILED: the broker does not take the request token")
    assert err.count("\n") == 1
    assert await PostgresSessions(Database(database)).newest("zerodha") is None


async def test_without_a_token_nothing_is_asked_for(terminal: Terminal, kite: KiteServer) -> None:
    code, _, err = await terminal.run("\n")

    assert (code, err) == (2, "that holds no request token\n")
    assert kite.requests == []


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("DATABASE_URL", "", "DATABASE_URL is not set"),
        ("DATABASE_URL", "mysql://planted", "DATABASE_URL must be"),
        ("ZERODHA_API_SECRET", "", "ZERODHA_API_SECRET is not set"),
        ("BROKER_SESSION_SECRETS", "short", "BROKER_SESSION_SECRETS must be"),
    ],
)
async def test_a_setting_that_is_wrong_is_one_line(
    terminal: Terminal, kite: KiteServer, monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)

    code, _, err = await terminal.run()

    assert code == 2
    assert err.startswith(told)
    assert err.count("\n") == 1
    assert kite.requests == []


async def test_a_database_that_cannot_be_reached_leaves_the_request_token_unused(
    terminal: Terminal, kite: KiteServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:plantedpassword@127.0.0.1:1/pulse")

    code, _, err = await terminal.run()

    assert code == 1
    assert err.startswith("DATABASE_ERROR: ")
    assert "plantedpassword" not in err
    assert kite.requests == []


async def test_a_database_without_the_table_is_told(
    terminal: Terminal, kite: KiteServer, database: asyncpg.Pool
) -> None:
    await database.execute("ALTER TABLE broker_sessions RENAME TO elsewhere")
    try:
        code, _, err = await terminal.run()
    finally:
        await database.execute("ALTER TABLE elsewhere RENAME TO broker_sessions")

    assert code == 1
    assert "pulse_adapters.postgres.migrate" in err
    assert kite.requests == []
