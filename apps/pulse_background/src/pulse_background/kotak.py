"""Kotak as the broker of this process, and the session that everything waits for."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import structlog

from pulse_adapters.kotak.settings import KotakSettings
from pulse_adapters.postgres.broker_units import PostgresBrokerUnits
from pulse_adapters.postgres.instrument_master import PostgresInstrumentMaster
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_background.zerodha import OpenBroker
from pulse_domain.errors import PulseError, StorageUnavailable, UnknownInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_kotak(settings: KotakSettings, database: Database, clock: Clock) -> AsyncIterator[OpenBroker]:
    """Connections are made when they are first needed.

    Raises:
        PulseError: the broker's SDK, or what the adapter needs, is not installed.
    """
    try:  # other brokers do without
        from pulse_adapters.kotak.broker import KotakBroker
        from pulse_adapters.kotak.login import LoginFailed, log_in, stored_credentials
        from pulse_adapters.kotak.sdk import load_sdk
        from pulse_adapters.kotak.sessions import BROKER, KotakSessions
        from pulse_adapters.sealing import TokenSeal

        await asyncio.to_thread(load_sdk)
    except ModuleNotFoundError as error:
        raise PulseError(f'{error.name} is not installed: pip install "pulse-adapters[kotak]"') from error
    store = PostgresSessions(database)
    master = PostgresInstrumentMaster(database, clock, BROKER)

    async def symbol(instrument: Instrument) -> str | None:
        try:
            return (await master.listing(instrument)).listing.broker_symbol
        except UnknownInstrument:
            return None

    async def token(instrument: Instrument) -> str | None:
        try:
            return (await master.listing(instrument)).listing.token
        except UnknownInstrument:
            return None

    async def renew() -> bool:
        credentials = stored_credentials(settings, clock)
        assert credentials is not None, "unattended logins have all of them, by the settings"
        try:
            session = await log_in(settings, credentials, store, clock)
        except LoginFailed as failed:
            log.error("a login has failed", broker=BROKER, reason=str(failed), tried_again=not failed.refused)
            return not failed.refused
        except StorageUnavailable:
            log.error("a session is not stored", broker=BROKER)
            return True
        log.info("logged in", broker=BROKER, valid_until=session.valid_until.isoformat())
        return True

    sessions = KotakSessions(
        store,
        TokenSeal(settings.session_secrets),
        clock,
        renew=renew if settings.unattended_login else None,
    )
    broker = KotakBroker(
        settings,
        sessions,
        clock,
        Random(secrets.randbits(64)),  # noqa: S311  # only waits are drawn from it
        symbols=symbol,
        units=PostgresBrokerUnits(database),
        tokens=token,
    )
    try:
        yield OpenBroker(broker, sessions.is_open, broker.reads, broker.reads)
    finally:
        await broker.close()
