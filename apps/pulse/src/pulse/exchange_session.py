"""The cluster's day at its exchange: a session by the login page, and the instruments of its file."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

import asyncpg
import httpx

from pulse.errors import CommandError
from pulse.instrument_store import SyncRequest, run_sync
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.zerodha.login import LoginFailed, log_in, login_url, read_request_token
from pulse_adapters.zerodha.sessions import BROKER
from pulse_adapters.zerodha.settings import read_zerodha_settings
from pulse_domain.errors import PulseError
from pulse_domain.ports.clock import Clock

# What opening a day may raise.
FAILURES = (LoginFailed, CommandError, PulseError, httpx.HTTPError, OSError, asyncpg.PostgresError)

# The exchange's clock may be a little behind ours: a login too early would end with the old day.
AFTER_END_S = 5.0
CHECK_S = 15.0


async def open_day(http: httpx.AsyncClient, environ: Mapping[str, str], dsn: str, clock: Clock) -> datetime:
    """Do what a person does each morning: log in by the page, and store the instruments.

    environ: the variables of the broker's adapter. The end of the session is given.

    Raises:
        any of FAILURES.
    """
    settings = read_zerodha_settings(environ)
    page = await http.get(login_url(settings))
    request_token = read_request_token(page.headers.get("location", ""))
    pool = await create_pool(dsn, size=1)
    try:
        logged_in = await log_in(settings, PostgresSessions(Database(pool)), clock, request_token)
    finally:
        await pool.close()
    request = SyncRequest(
        dsn=dsn,
        broker=BROKER,
        file=None,
        url=settings.base_url,
        access_token="",
        exchanges=frozenset(),
        timeout_s=60,
        allow_shrink=True,  # an exchange on another feed lists others
    )
    await asyncio.to_thread(run_sync, request, as_json=False)
    return logged_in.valid_until


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
