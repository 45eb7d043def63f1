"""What `pulse broker login kotak` does: ask for what is not in the environment, log in, and store the
session."""

import asyncio
from collections.abc import Callable, Mapping

import asyncpg

from pulse import output
from pulse.errors import BadInput, CommandError
from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.login import Credentials, LoggedIn, LoginFailed, code_of_now, log_in
from pulse_adapters.kotak.sdk import load_sdk
from pulse_adapters.kotak.sessions import BROKER
from pulse_adapters.kotak.settings import (
    KotakSettings,
    check_mobile_number,
    check_mpin,
    check_totp_seed,
    check_ucc,
    read_kotak_settings,
)
from pulse_adapters.postgres.pool import Database, check_dsn, create_pool
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.real_broker.settings import BrokerSettingsError
from pulse_domain.errors import StorageUnavailable
from pulse_domain.ports.clock import Clock

# What is asked, and whether the answer is a secret.
Ask = Callable[[str, bool], str]
_CODE_LENGTH = 6


def log_in_at_kotak(environ: Mapping[str, str], ask: Ask) -> None:
    """Log in and store the session.

    Raises:
        BadInput: a setting or an answer is missing or wrong.
        CommandError: there is no session, or it is not stored.
    """
    dsn = environ.get("DATABASE_URL", "")
    try:
        if not dsn:
            raise BadInput("DATABASE_URL is not set: it names the database that the session is stored in")
        check_dsn(dsn)
        settings = read_kotak_settings(environ)
    except BrokerSettingsError as error:
        raise BadInput(str(error)) from None
    except ValueError as error:
        raise BadInput(f"DATABASE_URL {error}") from None
    clock = SystemClock()
    try:
        load_sdk()
    except ModuleNotFoundError as error:
        raise BadInput(f'{error.name} is not installed: pip install "pulse-adapters[kotak]"') from error
    credentials = ask_for_credentials(settings, ask, clock)
    session = asyncio.run(_log_in(dsn, settings, credentials, clock))
    output.say(f"{session.user_id} is logged in until {output.instant(session.valid_until)}")
    output.say(f"For `pulse instruments sync --broker kotak`: KOTAK_BASE_URL={session.base_url}")


def ask_for_credentials(settings: KotakSettings, ask: Ask, clock: Clock) -> Credentials:
    """Those of the environment, and answers for the rest.

    Raises:
        BadInput: an answer makes no sense.
    """
    mobile_number = settings.mobile_number or _answer(
        ask, "Mobile number, with +91", check_mobile_number, is_secret=False
    )
    ucc = settings.ucc or _answer(ask, "Client code (UCC)", check_ucc, is_secret=False)
    mpin = settings.mpin or _answer(ask, "MPIN", check_mpin, is_secret=True)
    seed_or_code = settings.totp_seed or _answer(
        ask, "One-time code, or the seed that makes it", _check_seed_or_code, is_secret=True
    )
    if len(seed_or_code) == _CODE_LENGTH:
        return Credentials(mobile_number=mobile_number, ucc=ucc, mpin=mpin, totp=lambda: seed_or_code)
    return Credentials(
        mobile_number=mobile_number, ucc=ucc, mpin=mpin, totp=lambda: code_of_now(seed_or_code, clock)
    )


def _answer(ask: Ask, what: str, check: Callable[[str], str], *, is_secret: bool) -> str:
    try:
        return check(ask(what, is_secret).strip())
    except ValueError as error:
        raise BadInput(f"{what}: it {error}") from None


def _check_seed_or_code(text: str) -> str:
    if text.isascii() and text.isdigit() and len(text) == _CODE_LENGTH:
        return text
    return check_totp_seed(text)


async def _log_in(dsn: str, settings: KotakSettings, credentials: Credentials, clock: Clock) -> LoggedIn:
    pool = await create_pool(dsn, size=1)
    try:
        store = PostgresSessions(Database(pool))
        # A wrong try counts with the broker: look first whether the session can be stored.
        await store.newest(BROKER)
        return await log_in(settings, credentials, store, clock)
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
