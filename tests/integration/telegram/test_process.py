"""A worker with a bot: what happens on Postgres reaches the chat, and what the chat asks for is done."""

import asyncio
import io
from collections.abc import Iterator

import asyncpg
import pytest

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_api.bootstrap import Ports
from pulse_background.background import Background
from pulse_background.bootstrap import open_ports
from pulse_background.settings import read_settings
from pulse_domain.errors import TradingHalted
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.status import OrderState
from pulse_domain.testing.factories import new_order
from pulse_domain.testing.memory_queue import RecordingQueue
from service_kit import Metrics
from tests.integration.telegram.conftest import SERVICE_TOKEN, order_api_served
from tests.integration.telegram.fake_bot_api import TOKEN, FakeBotApi
from tests.kept_logging import logging_of


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that this process logs, as a service does."""
    with logging_of("pulse_background", "DEBUG") as stream:
        yield stream


def environment(dsn: str, telegram: FakeBotApi, pulse_url: str) -> dict[str, str]:
    return {
        "DATABASE_URL": dsn,
        "ORDER_SPLITTER_POLL_INTERVAL_SECONDS": "0.05",
        "SLICE_EXECUTOR_POLL_INTERVAL_SECONDS": "0.05",
        "BROKER_SYNC_INTERVAL_SECONDS": "0.1",
        "TELEGRAM_BOT_TOKEN": TOKEN,
        "TELEGRAM_CHAT_IDS": "7",
        "TELEGRAM_API_URL": telegram.url,
        "PULSE_URL": pulse_url,
        "PULSE_SERVICE_TOKEN": SERVICE_TOKEN,
    }


async def test_worker_tells_fills_and_halts_and_takes_commands(
    telegram: FakeBotApi, database: asyncpg.Pool, migrated_dsn: str, logged: io.StringIO
) -> None:
    clock = SystemClock()
    store, ids = PostgresOrderStore(Database(database)), RandomIds(clock)
    api_ports = Ports(
        store=store,
        watched=store,
        queue=RecordingQueue(),
        master=VirtualInstrumentMaster(),
        clock=clock,
        ids=ids,
        strategies=PostgresStrategyStore(Database(database)),
        audit=PostgresAuditLog(Database(database)),
    )
    stop = asyncio.Event()
    async with order_api_served(api_ports) as address:
        settings = read_settings(environment(migrated_dsn, telegram, f"unix:{address}"))
        async with open_ports(settings, Metrics("pulse_background")) as ports:
            running = asyncio.create_task(Background(ports, settings).run(stop))
            await store.accept(new_order(ids))
            await telegram.until(lambda: _said(telegram, "Fill NSE:RELIANCE: side BUY"))

            await telegram.write("/halt drill", at=clock.now())
            await telegram.until(lambda: any(sent.buttons for sent in telegram.sent))
            [asked] = [sent for sent in telegram.sent if sent.buttons]
            await telegram.press(next(iter(asked.buttons.values())))
            await telegram.until(lambda: _said(telegram, "Trading is halted: by telegram:70, reason drill"))
            halted = await store.trading_state()
            with pytest.raises(TradingHalted):
                await store.accept(new_order(ids))

            # Without Telegram everything goes on as with it.
            telegram.away = True
            calls = telegram.calls
            await store.resume("operator", "drill is over")
            await telegram.until(lambda: telegram.calls > calls)
            order = await store.accept(new_order(ids))
            async with asyncio.timeout(60):
                while not await _is_filled(store, order.order_id):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            stop.set()
            await running

    assert halted.changed_by == "telegram:70"
    assert "command was carried out" in logged.getvalue()
    assert TOKEN.partition(":")[2] not in logged.getvalue()
    assert SERVICE_TOKEN not in logged.getvalue()
    assert TOKEN not in repr(settings)


async def _is_filled(store: PostgresOrderStore, order_id: OrderId) -> bool:
    view = await store.get(order_id)
    return view is not None and view.summary.state is OrderState.FILLED


def _said(telegram: FakeBotApi, text: str) -> bool:
    return any(text in sent.text for sent in telegram.sent)
