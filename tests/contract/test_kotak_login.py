"""The login over a real socket, with the broker's SDK."""

import base64
import json
import logging
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pyotp
import pytest
import pytest_asyncio
import structlog
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.login import LoggedIn, LoginFailed, code_of_now, log_in, stored_credentials
from pulse_adapters.kotak.sdk import NeoClient, load_sdk
from pulse_adapters.kotak.sessions import BROKER, KotakSessions
from pulse_domain.errors import StorageUnavailable
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.contract.kotak_server import Drop, KotakServer, Reply, kotak_server
from tests.unit.kotak.make import CREDENTIALS, PLANTED, SETTINGS, SID, TOKEN, TOTP_SEED, UCC, neo_session, seal

CLOCK = SystemClock()


@pytest_asyncio.fixture
async def neo() -> AsyncIterator[KotakServer]:
    load_sdk()  # not within the time of the first call
    async with kotak_server() as server:
        yield server


async def attempt(neo: KotakServer, store: InMemorySessions, **changes: Any) -> LoggedIn:
    settings = replace(SETTINGS, login_url=neo.base_url, **changes)
    credentials = stored_credentials(settings, CLOCK)
    assert credentials is not None
    return await log_in(settings, credentials, store, CLOCK)


async def failure(neo: KotakServer, **changes: Any) -> LoginFailed:
    store = InMemorySessions()
    with pytest.raises(LoginFailed) as failed:
        await attempt(neo, store, **changes)
    assert await store.newest(BROKER) is None
    return failed.value


def trade(**fields: Any) -> Reply:
    return Reply(
        body={"data": {"token": TOKEN, "sid": SID, "baseUrl": "https://e21.kotaksecurities.com", **fields}}
    )


VIEW = Reply(body={"data": {"token": "planted.view.token", "sid": "planted-view-sid"}})


async def test_two_steps_and_a_stored_session(neo: KotakServer) -> None:
    store = InMemorySessions()

    logged_in = await attempt(neo, store)

    assert [request.path for request in neo.requests] == [
        "/login/1.0/tradeApiLogin",
        "/login/1.0/tradeApiValidate",
    ]
    assert logged_in.user_id == UCC
    row = await store.newest(BROKER)
    assert row is not None
    assert row.valid_until == logged_in.valid_until
    assert not any(secret.encode() in row.sealed_token for secret in PLANTED)
    session = await KotakSessions(store, seal(), CLOCK).current()
    assert session == neo_session(
        neo.base_url,
        token=session.token,
        sid=session.sid,
        ucc=UCC,
        market_url=neo.base_url.replace("http", "ws", 1) + "/apifeed",
    )
    assert neo.sessions.current() == neo.sessions.check(session.token, session.sid)


@pytest.mark.parametrize(
    ("given", "feed_url"),
    [
        (None, "wss://e21.kotaksecurities.com/realtime"),
        ("https://e22.kotaksecurities.com/realtime", "wss://e22.kotaksecurities.com/realtime"),
        ("wss://e22.kotaksecurities.com/realtime", "wss://e22.kotaksecurities.com/realtime"),
        ("wss://elsewhere.example/realtime", "wss://e21.kotaksecurities.com/realtime"),
        ("ws://e22.kotaksecurities.com/realtime", "wss://e21.kotaksecurities.com/realtime"),
        ("nonsense", "wss://e21.kotaksecurities.com/realtime"),
    ],
)
async def test_where_orders_and_updates_are_is_told_by_the_login(
    neo: KotakServer, given: str | None, feed_url: str
) -> None:
    store = InMemorySessions()
    neo.then(VIEW, trade(rtUrl=given))

    await attempt(neo, store)

    session = await KotakSessions(store, seal(), CLOCK).current()
    assert (session.base_url, session.feed_url) == ("https://e21.kotaksecurities.com", feed_url)


@pytest.mark.parametrize(
    ("given", "market_url"),
    [
        ("https://sfeed.kotaksecurities.com/apifeed", "wss://sfeed.kotaksecurities.com/apifeed"),
        ("wss://elsewhere.example/apifeed", "wss://e21.kotaksecurities.com/apifeed"),
        (None, "wss://e21.kotaksecurities.com/apifeed"),
    ],
)
async def test_where_prices_are_is_told_by_the_login(
    neo: KotakServer, given: str | None, market_url: str
) -> None:
    store = InMemorySessions()
    neo.then(VIEW, trade(feedUrl=given))

    await attempt(neo, store)

    session = await KotakSessions(store, seal(), CLOCK).current()
    assert session.market_url == market_url


@pytest.mark.parametrize(
    "base_url",
    [
        "https://elsewhere.example",
        "http://e21.kotaksecurities.com",
        "https://e21.kotaksecurities.com.elsewhere.example",
        "https://elsewhere.example/.kotaksecurities.com",
        "https://x@e21.kotaksecurities.com",
        "https://e21.kotaksecurities.com?x",
        "nonsense",
        "",
        None,
    ],
)
async def test_a_session_goes_nowhere_else(neo: KotakServer, base_url: Any) -> None:
    neo.then(VIEW, trade(baseUrl=base_url))

    await failure(neo)


@pytest.mark.parametrize("token", ["", None, 5, "a\r\nHost: b", "é"])
async def test_a_token_that_is_no_header_is_none(neo: KotakServer, token: Any) -> None:
    neo.then(VIEW, trade(token=token))

    await failure(neo)


def jwt(payload: Any) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip('=')}.sig"


@pytest.mark.parametrize("payload", [{}, {"exp": "soon"}, {"exp": -1}, {"exp": 10**30}, [], None])
async def test_an_expiry_that_makes_no_sense_is_not_looked_at(neo: KotakServer, payload: Any) -> None:
    neo.then(VIEW, trade(token=jwt(payload)))

    logged_in = await attempt(neo, InMemorySessions())

    assert timedelta(0) < logged_in.valid_until - logged_in.at <= timedelta(days=1)


async def test_a_session_ends_where_its_token_says_so(neo: KotakServer) -> None:
    soon = datetime.fromtimestamp(int(CLOCK.now().timestamp()) + 5, UTC)
    neo.then(VIEW, trade(token=jwt({"exp": int(soon.timestamp())})))

    assert (await attempt(neo, InMemorySessions())).valid_until == soon


@pytest.mark.parametrize(
    "changes", [{"mpin": "111111"}, {"ucc": "OTHER"}, {"access_token": "another"}, {"totp_seed": "A" * 32}]
)
async def test_what_the_broker_refuses_will_be_refused_again(neo: KotakServer, changes: dict[str, str]) -> None:
    assert (await failure(neo, **changes)).refused


@pytest.mark.parametrize("behaviour", [Drop(), Reply(text="<html>", status=502), Reply(body={}, status=500)])
async def test_an_outage_is_no_refusal(neo: KotakServer, behaviour: Any) -> None:
    neo.then(behaviour)

    assert not (await failure(neo)).refused


async def test_a_session_that_cannot_be_stored_is_none(neo: KotakServer) -> None:
    store = InMemorySessions()
    store.down = True

    with pytest.raises(StorageUnavailable):
        await attempt(neo, store)


async def test_no_secret_is_told(
    neo: KotakServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = []
    with structlog.testing.capture_logs() as logs:
        for changes in ({"mpin": "907144"}, {"ucc": "OTHER"}):
            failed = await failure(neo, **changes)
            told.append("".join(traceback.format_exception(failed)))

    text = f"{told} {logs} {caplog.text} {capfd.readouterr()} {CREDENTIALS!r} {SETTINGS!r}"
    for secret in (*PLANTED, "907144", "planted.view.token", "planted-view-sid"):
        assert secret not in text


def test_the_code_is_that_of_the_clock() -> None:
    clock = FakeClock(datetime(2026, 1, 5, 9, tzinfo=UTC))

    assert code_of_now(TOTP_SEED, clock) == pyotp.TOTP(TOTP_SEED).at(datetime(2026, 1, 5, 9, tzinfo=UTC))


def test_a_part_of_the_credentials_is_none() -> None:
    assert stored_credentials(replace(SETTINGS, mpin=None), CLOCK) is None


def test_the_sdk_binds_no_words_to_our_log_lines() -> None:
    NeoClient("planted-token", httpx.HTTPTransport())

    assert "environment" not in structlog.contextvars.get_contextvars()
