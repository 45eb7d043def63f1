"""A person's login: the exchange by the real SDK, and what is stored of it."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from pulse_adapters.zerodha.login import LoginFailed, log_in, login_url, read_request_token
from pulse_adapters.zerodha.sessions import BROKER
from pulse_adapters.zerodha.settings import BASE_URL
from pulse_domain.errors import StorageUnavailable
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.unit.zerodha.kite_server import Behaviour, Drop, KiteServer, failure, html, kite_server, success
from tests.unit.zerodha.make import API_KEY, API_SECRET, PLANTED, SETTINGS, TOKEN, seal, sessions

REQUEST_TOKEN = "plantedRequestToken"
MORNING = datetime.fromisoformat("2026-01-05T08:30:00+05:30").astimezone(UTC)


def answer(**changes: Any) -> dict[str, Any]:
    return {
        "user_type": "individual",
        "email": "XXXXXX",
        "user_name": "Kite Connect",
        "user_shortname": "Connect",
        "broker": "ZERODHA",
        "exchanges": ["NSE", "NFO"],
        "products": ["CNC", "NRML", "MIS"],
        "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
        "avatar_url": None,
        "user_id": "AB1234",
        "api_key": API_KEY,
        "access_token": TOKEN,
        "public_token": "XXXXXX",
        "enctoken": "XXXXXX",
        "refresh_token": "",
        "silo": "",
        "login_time": "2026-01-05 08:30:00",
        "meta": {"demat_consent": "physical"},
        **changes,
    }


@pytest_asyncio.fixture
async def kite() -> AsyncIterator[KiteServer]:
    async with kite_server() as server:
        yield server


@pytest.fixture
def store() -> InMemorySessions:
    return InMemorySessions()


def test_the_login_page_names_the_app() -> None:
    real = replace(SETTINGS, base_url=BASE_URL)

    assert login_url(real) == f"https://kite.zerodha.com/connect/login?api_key={API_KEY}&v=3"


def test_a_simulator_has_a_login_page_of_its_own() -> None:
    assert login_url(SETTINGS) == f"{SETTINGS.base_url}/connect/login?v=3&api_key={API_KEY}"


@pytest.mark.parametrize(
    "pasted",
    [
        REQUEST_TOKEN,
        f"  {REQUEST_TOKEN}\n",
        f"https://desk.example/login?request_token={REQUEST_TOKEN}&action=login&status=success",
        f"http://127.0.0.1/?status=success&request_token={REQUEST_TOKEN}",
        f"request_token={REQUEST_TOKEN}&status=success",
    ],
)
def test_the_request_token_is_found_in_what_is_pasted(pasted: str) -> None:
    assert read_request_token(pasted) == REQUEST_TOKEN


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        "\n",
        "two words",
        "https://desk.example/?status=cancelled",
        "http://x/?request_token=",
        "a;b",
        "http://[?request_token=a b",
    ],
)
def test_what_holds_no_request_token_is_refused(pasted: str) -> None:
    with pytest.raises(LoginFailed):
        read_request_token(pasted)


async def test_a_login_is_stored_sealed_until_the_next_flush(kite: KiteServer, store: InMemorySessions) -> None:
    kite.then(success(answer()))
    clock = FakeClock(MORNING)

    session = await log_in(replace(SETTINGS, base_url=kite.base_url), store, clock, REQUEST_TOKEN)

    [request] = kite.requests
    checksum = hashlib.sha256(f"{API_KEY}{REQUEST_TOKEN}{API_SECRET}".encode()).hexdigest()
    assert (request.method, request.path) == ("POST", "/session/token")
    assert request.form == {"api_key": API_KEY, "request_token": REQUEST_TOKEN, "checksum": checksum}
    assert "authorization" not in request.headers
    stored = await store.newest(BROKER)
    assert stored is not None
    assert stored.user_id == session.user_id == "AB1234"
    assert stored.valid_until == session.valid_until == datetime.fromisoformat("2026-01-06T06:00:00+05:30")
    assert TOKEN.encode() not in stored.sealed_token
    assert seal().open(stored.sealed_token, broker=BROKER, user_id="AB1234") == TOKEN
    assert await sessions(store, clock).current() == TOKEN


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (failure(403, "TokenException", f"Token {REQUEST_TOKEN} is invalid or has expired."), "request token"),
        (failure(400, "InputException", f"bad {API_SECRET}"), "INVALID_INPUT"),
        (failure(500, "GeneralException", TOKEN), "HTTP_500"),
        (html(502), "UNREADABLE_ANSWER"),
        (Drop(), "CONNECTION_LOST"),
        (success(answer(access_token="")), "no session"),
        (success(answer(user_id=None)), "no session"),
        (success({"user_id": "AB1234"}), "UNREADABLE_ANSWER"),
        (success(None), "UNREADABLE_ANSWER"),
    ],
)
async def test_a_login_that_fails_says_why_without_a_secret(
    kite: KiteServer, store: InMemorySessions, behaviour: Behaviour, told: str
) -> None:
    kite.then(behaviour)

    with pytest.raises(LoginFailed) as failed:
        await log_in(replace(SETTINGS, base_url=kite.base_url), store, FakeClock(MORNING), REQUEST_TOKEN)

    assert told in str(failed.value)
    assert all(secret not in str(failed.value) for secret in (*PLANTED, REQUEST_TOKEN))
    assert await store.newest(BROKER) is None


async def test_nobody_listens(store: InMemorySessions) -> None:
    with pytest.raises(LoginFailed, match="UNREACHABLE"):
        await log_in(SETTINGS, store, FakeClock(MORNING), REQUEST_TOKEN)


async def test_a_store_that_is_down_is_told(kite: KiteServer, store: InMemorySessions) -> None:
    kite.then(success(answer()))
    store.down = True

    with pytest.raises(StorageUnavailable):
        await log_in(replace(SETTINGS, base_url=kite.base_url), store, FakeClock(MORNING), REQUEST_TOKEN)
