"""The cluster's day at its exchange: a session by the login, and the instruments of its file."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import asyncpg
import httpx
from msgspec import Struct

from pulse.errors import CommandError
from pulse.instrument_store import SyncRequest, run_sync
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.zerodha.login import LoginFailed, log_in, login_url, read_request_token
from pulse_adapters.zerodha.settings import read_zerodha_settings
from pulse_domain.errors import PulseError
from pulse_domain.ports.broker_sessions import BrokerSessions
from pulse_domain.ports.clock import Clock

# What opening a day may raise.
FAILURES = (LoginFailed, CommandError, PulseError, httpx.HTTPError, OSError, asyncpg.PostgresError)

# The exchange's clock may be a little behind ours: a login too early would end with the old day.
AFTER_END_S = 5.0
CHECK_S = 15.0


class _Opened(Struct, frozen=True, kw_only=True):
    """A session. files_url, access_token: where the instruments are, and what they are asked for with."""

    valid_until: datetime
    files_url: str
    access_token: str = ""

    def __repr__(self) -> str:
        return f"_Opened({self.files_url})"


async def open_day(http: httpx.AsyncClient, environ: Mapping[str, str], dsn: str, clock: Clock) -> datetime:
    """Do what a person does each morning: log in, and store the instruments.

    environ: the variables of the broker's adapter. The end of the session is given.

    Raises:
        any of FAILURES.
    """
    broker = environ["BROKER_TYPE"]
    pool = await create_pool(dsn, size=1)
    try:
        opened = await _LOGINS[broker](http, environ, PostgresSessions(Database(pool)), clock)
    finally:
        await pool.close()
    request = SyncRequest(
        dsn=dsn,
        broker=broker,
        file=None,
        url=opened.files_url,
        access_token=opened.access_token,
        exchanges=frozenset(),
        timeout_s=60,
        allow_shrink=True,  # an exchange on another feed lists others
    )
    await asyncio.to_thread(run_sync, request, as_json=False)
    return opened.valid_until


async def _at_zerodha(
    http: httpx.AsyncClient, environ: Mapping[str, str], store: BrokerSessions, clock: Clock
) -> _Opened:
    settings = read_zerodha_settings(environ)
    page = await http.get(login_url(settings))
    request_token = read_request_token(page.headers.get("location", ""))
    session = await log_in(settings, store, clock, request_token)
    return _Opened(valid_until=session.valid_until, files_url=settings.base_url)


async def _at_kotak(
    http: httpx.AsyncClient, environ: Mapping[str, str], store: BrokerSessions, clock: Clock
) -> _Opened:
    try:  # the other broker does without
        from pulse_adapters.kotak.login import LoginFailed, log_in, stored_credentials
        from pulse_adapters.kotak.sdk import load_sdk
        from pulse_adapters.kotak.settings import read_kotak_settings

        await asyncio.to_thread(load_sdk)
    except ModuleNotFoundError as error:
        raise CommandError(f'{error.name} is not installed: pip install "pulse-adapters[kotak]"') from error
    settings = read_kotak_settings(environ)
    credentials = stored_credentials(settings, clock)
    assert credentials is not None, "the cluster names all of them"
    try:
        session = await log_in(settings, credentials, store, clock)
    except LoginFailed as error:
        raise CommandError(f"LOGIN_FAILED: {error}") from None
    return _Opened(
        valid_until=session.valid_until, files_url=session.base_url, access_token=settings.access_token
    )


_LOGINS = {"zerodha": _at_zerodha, "kotak": _at_kotak}


async def keep_day_open(
    clock: Clock, until: datetime, open_next: Callable[[], Awaitable[datetime]], say: Callable[[str], None]
) -> None:
    """Open the next day whenever one has ended."""
    while True:
        await clock.sleep(CHECK_S)  # in short steps: the machine may have slept meanwhile
        if clock.now() < until + timedelta(seconds=AFTER_END_S):
            continue
        try:
            until = await open_next()
        except FAILURES as error:
            say(f"there is no new session at the exchange yet: {type(error).__name__}")
        else:
            say("a new day's session at the exchange is open")
