"""The real broker of this process, and the session that everything waits for."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

from msgspec import Struct

from pulse_adapters.postgres.broker_units import PostgresBrokerUnits
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.zerodha.settings import ZerodhaSettings
from pulse_domain.errors import PulseError
from pulse_domain.ports.broker import Broker
from pulse_domain.ports.broker_reads import BrokerReads
from pulse_domain.ports.circuit_reads import CircuitReads
from pulse_domain.ports.clock import Clock


class OpenBroker(Struct, frozen=True):
    """is_open: whether anything can be sent; at a real broker nothing can without a session.
    reads, circuits: a real broker's quotes and account, and its circuit limits."""

    broker: Broker
    is_open: Callable[[], Awaitable[bool]]
    reads: BrokerReads | None = None
    circuits: CircuitReads | None = None


@asynccontextmanager
async def open_zerodha(
    settings: ZerodhaSettings, database: Database, clock: Clock
) -> AsyncIterator[OpenBroker]:
    """Connections are made when they are first needed.

    Raises:
        PulseError: the broker's SDK is not installed.
    """
    try:  # 45 MB that other brokers do without
        from pulse_adapters.sealing import TokenSeal
        from pulse_adapters.zerodha.broker import ZerodhaBroker
        from pulse_adapters.zerodha.sessions import ZerodhaSessions
    except ModuleNotFoundError as error:
        raise PulseError(f'{error.name} is not installed: pip install "pulse-adapters[zerodha]"') from error
    sessions = ZerodhaSessions(
        PostgresSessions(database),
        TokenSeal(settings.session_secrets),
        clock,
        initial_token=settings.access_token,
    )
    broker = ZerodhaBroker(
        settings,
        sessions,
        clock,
        Random(secrets.randbits(64)),  # noqa: S311  # only waits are drawn from it
        units=PostgresBrokerUnits(database),
    )
    try:
        yield OpenBroker(broker, sessions.is_open, broker.reads, broker.reads)
    finally:
        await broker.close()
