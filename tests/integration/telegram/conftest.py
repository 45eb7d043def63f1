"""The bot against a Bot API on loopback, and Pulse's order API on a socket in front of a real Postgres."""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

import asyncpg
import pytest_asyncio

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_adapters.telegram.bot import BotApi
from pulse_adapters.telegram.commands import CommandDesk
from pulse_adapters.telegram.order_api import OrderApi
from pulse_adapters.telegram.outbox import OutboxSettings, TelegramNotifier
from pulse_adapters.telegram.poller import Poller
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_api.app import create_app
from pulse_api.bootstrap import Ports
from pulse_api.settings import read_settings
from pulse_domain.testing.memory_queue import RecordingQueue
from service_kit.server import InnerServer, config
from tests.integration.telegram.fake_bot_api import TOKEN, FakeBotApi, bot_api_served

SERVICE_TOKEN = "order-api-service-token"
CHATS = (7, -100200)
FAST = OutboxSettings(
    gather_s=0.01, chat_interval_s=0.01, overall_interval_s=0.001, retry_s=0.05, retry_max_s=0.2
)


class ShiftedClock(SystemClock):
    """Real time, which a test may move on."""

    def __init__(self) -> None:
        self.shift_s = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.shift_s)

    def monotonic(self) -> float:
        return super().monotonic() + self.shift_s


class House(NamedTuple):
    """What a command goes through, and where it is seen."""

    telegram: FakeBotApi
    store: PostgresOrderStore
    strategies: PostgresStrategyStore
    prices: PostgresPriceBoard
    queue: RecordingQueue
    audit: PostgresAuditLog
    clock: ShiftedClock
    notifier: TelegramNotifier
    desk: CommandDesk
    bot: BotApi

    async def say(self, text: str, *, chat_id: int = 7, user_id: int = 70) -> None:
        await self.telegram.write(text, chat_id=chat_id, user_id=user_id, at=self.clock.now())

    async def answer(self, text: str, *, chat_id: int = 7, user_id: int = 70) -> str:
        """Say something, and what is said next."""
        before = len(self.telegram.sent)
        await self.say(text, chat_id=chat_id, user_id=user_id)
        return (await self.telegram.texts(before + 1))[before]

    async def audited(self) -> list[tuple[str, str, str, str]]:
        """Actor, place, action and outcome of all entries, oldest first."""
        entries = await self.audit.newest(100)
        return [(e.actor, e.place, e.action, e.outcome) for e in reversed(entries)]


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[FakeBotApi]:
    async with bot_api_served() as fake:
        yield fake


@pytest_asyncio.fixture
async def bot(telegram: FakeBotApi) -> AsyncIterator[BotApi]:
    made = BotApi(TOKEN, telegram.url)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def house(telegram: FakeBotApi, bot: BotApi, database: asyncpg.Pool) -> AsyncIterator[House]:
    clock, queue = ShiftedClock(), RecordingQueue()
    store, audit = PostgresOrderStore(Database(database)), PostgresAuditLog(Database(database))
    strategies = PostgresStrategyStore(Database(database))
    prices = PostgresPriceBoard(Database(database))
    ports = Ports(
        store=store,
        watched=store,
        queue=queue,
        master=VirtualInstrumentMaster(),
        clock=clock,
        ids=RandomIds(clock),
        strategies=strategies,
        audit=audit,
        prices=prices,
    )
    async with order_api_served(ports) as address:
        api = OrderApi(f"unix:{address}", SERVICE_TOKEN)
        notifier = TelegramNotifier(bot, CHATS, clock, Random(1), FAST)
        codes = itertools.count(1)
        desk = CommandDesk(CHATS, bot, notifier, api, audit, clock, lambda: f"code{next(codes)}")
        notifier.start()
        polling = asyncio.create_task(Poller(bot, desk, clock, Random(2), wait_s=20, retry_s=0.05).run())
        yield House(telegram, store, strategies, prices, queue, audit, clock, notifier, desk, bot)
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
        await notifier.close()
        await api.close()


@asynccontextmanager
async def order_api_served(ports: Ports) -> AsyncIterator[Path]:
    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[Ports]:
        yield ports

    settings = read_settings({"DATABASE_URL": "postgresql://not-used", "PULSE_SERVICE_TOKEN": SERVICE_TOKEN})
    app = create_app(settings, opened)
    with tempfile.TemporaryDirectory(prefix="pulse-") as folder:
        address = Path(folder) / "api.sock"
        server = InnerServer(config(app, graceful_s=2, uds=str(address)), app.end_streams)
        task = await server.start()
        assert not task.done(), "the order API did not start"
        yield address
        server.should_exit = True
        await task
