"""What `pulse broker login` does: the login page, the exchange, and the store."""

import asyncio
from collections.abc import Callable, Mapping

import asyncpg

from pulse import output
from pulse.errors import BadInput, CommandError
from pulse_adapters.clock import SystemClock
from pulse_adapters.postgres.pool import Database, check_dsn, create_pool
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.real_broker.settings import BrokerSettingsError
from pulse_adapters.zerodha.login import LoggedIn, LoginFailed, log_in, login_url, read_request_token
from pulse_adapters.zerodha.sessions import BROKER, may_be_flushed_early
from pulse_adapters.zerodha.settings import ZerodhaSettings, read_zerodha_settings
from pulse_domain.errors import StorageUnavailable


def log_in_at_zerodha(environ: Mapping[str, str], ask: Callable[[], str]) -> None:
    """Print the login page, ask for what it leads to, and store the session.

    Raises:
        BadInput: a setting is missing or wrong, or what was pasted holds no token.
        CommandError: there is no session, or it is not stored.
    """
    dsn = environ.get("DATABASE_URL", "")
    try:
        if not dsn:
            raise BadInput("DATABASE_URL is not set: it names the database that the session is stored in")
        check_dsn(dsn)
        settings = read_zerodha_settings(environ)
    except BrokerSettingsError as error:
        raise BadInput(str(error)) from None
    except ValueError as error:
        raise BadInput(f"DATABASE_URL {error}") from None
    output.say("Log in here:")
    output.say(login_url(settings))
    try:
        request_token = read_request_token(ask())
    except LoginFailed as error:
        raise BadInput(str(error)) from None
    session = asyncio.run(_log_in(dsn, settings, request_token))
    output.say(f"{session.user_id} is logged in until {output.instant(session.valid_until)}")
    if may_be_flushed_early(session.at):
        output.complain("the broker may still end it today: its daily end of sessions runs until about 07:30")


async def _log_in(dsn: str, settings: ZerodhaSettings, request_token: str) -> LoggedIn:
    pool = await create_pool(dsn, size=1)
    try:
        store = PostgresSessions(Database(pool))
        # The request token works once: look first whether the session can be stored.
        await store.newest(BROKER)
        return await log_in(settings, store, SystemClock(), request_token)
    except LoginFailed as error:
        raise CommandError(f"LOGIN_FAILED: {error}") from None
    except StorageUnavailable as error:
        raise CommandError(f"DATABASE_ERROR: {error.message}") from None
    except asyncpg.UndefinedTableError:
        raise CommandError(
            "DATABASE_ERROR: the database lacks a table: run python -m pulse_adapters.postgres.migrate"
        ) from None
    except asyncpg.PostgresError as error:  # the server's text may hold parts of the address
        raise CommandError(f"DATABASE_ERROR: {type(error).__name__}") from None
    finally:
        await pool.close()
