"""A background process as it is configured for Zerodha, on a real Postgres and the simulated broker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
import structlog

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.broker_units import PostgresBrokerUnits
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.simulator.kite.serve import KiteSimulator
from pulse_background.background import Background
from pulse_background.bootstrap import open_ports
from pulse_background.settings import Settings, read_settings
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import Product
from pulse_domain.orders.status import LedgerStatus, OrderState
from pulse_domain.ports.order_store import LedgerWish, OrderView
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.testing.factories import new_order
from service_kit import Metrics
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.zerodha.make import API_KEY, API_SECRET, PLANTED, SECRETS
from tests.unit.zerodha.simulated_kite import log_in_there, simulated_kite

PATIENCE_S = 30.0
INFY = Instrument.parse("NSE:INFY")
CRUDE = Instrument.parse("MCX:CRUDEOIL26DECFUT")


@pytest_asyncio.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[KiteSimulator]:
    market = FixedMarket(SystemClock())
    market.set(INFY, Decimal(1500))
    async with simulated_kite(tmp_path, market) as running:
        yield running


@pytest.fixture
def settings(migrated_dsn: str, simulator: KiteSimulator) -> Settings:
    return read_settings(
        {
            "DATABASE_URL": migrated_dsn,
            "BROKER_TYPE": "zerodha",
            "ZERODHA_API_KEY": API_KEY,
            "ZERODHA_API_SECRET": API_SECRET,
            "ZERODHA_BASE_URL": simulator.url,
            "ZERODHA_TICKER_URL": simulator.url.replace("http", "ws", 1),
            "BROKER_SESSION_SECRETS": SECRETS[0],
            "SLICE_EXECUTOR_POLL_INTERVAL_SECONDS": "0.1",
            "BROKER_SYNC_INTERVAL_SECONDS": "0.5",
            "TAG_PREFIX": "T1",
        }
    )


class Desk:
    """What a trader sees and does."""

    def __init__(self, database: asyncpg.Pool, settings: Settings, simulator: KiteSimulator) -> None:
        self.store = PostgresOrderStore(Database(database))
        self._sessions = PostgresSessions(Database(database))
        self._settings = settings
        self._simulator = simulator
        self._clock = SystemClock()
        self.wake: Callable[[JobKind], None] = lambda kind: None

    async def log_in(self) -> None:
        assert self._settings.zerodha is not None
        await log_in_there(self._simulator, self._settings.zerodha, self._sessions)

    async def order(self, **over: Any) -> OrderId:
        usual = {"instrument": INFY, "product": Product.CNC, "total_quantity": 10}
        accepted = await self.store.accept(new_order(RandomIds(self._clock), **usual | over))
        self.wake(JobKind.SPLIT_ORDER)
        return accepted.order_id

    async def view(self, order_id: OrderId) -> OrderView:
        view = await self.store.get(order_id)
        assert view is not None
        return view

    async def state(self, order_id: OrderId) -> OrderState:
        return (await self.view(order_id)).summary.state

    async def filled(self, order_id: OrderId) -> None:
        async def is_filled() -> bool:
            return await self.state(order_id) is OrderState.FILLED

        await until(is_filled)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


@pytest.fixture
def desk(database: asyncpg.Pool, settings: Settings, simulator: KiteSimulator) -> Desk:
    return Desk(database, settings, simulator)


@asynccontextmanager
async def working(settings: Settings, desk: Desk) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with open_ports(settings, Metrics("test")) as ports:
        background = Background(ports, settings)
        desk.wake = background.wake
        running = asyncio.create_task(background.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running


async def test_an_order_is_placed_and_filled(desk: Desk, settings: Settings, simulator: KiteSimulator) -> None:
    await desk.log_in()

    async with working(settings, desk):
        order_id = await desk.order()
        await desk.filled(order_id)

    [record] = simulator.desk.venue.records.values()
    assert record.ask.instrument == INFY
    [row] = await desk.store.ledger(LedgerWish(), limit=10)
    assert (row.status, row.answers["status"]) == (LedgerStatus.TRADED, "COMPLETE")
    told = row.answers["order"]
    assert (told["order_id"], told["tradingsymbol"]) == (row.execution.broker_order_id, "INFY")
    assert told["filled_quantity"] == row.answers["filled_quantity"] == 10
    assert not {"placed_by", "account_id", "guid"} & set(told)
    view = await desk.view(order_id)
    assert view.summary.quantities.filled == 10


async def test_without_a_session_orders_wait_and_go_on_with_the_next_login(
    desk: Desk, settings: Settings, simulator: KiteSimulator, database: asyncpg.Pool
) -> None:
    await desk.log_in()
    with structlog.testing.capture_logs() as logs:
        async with working(settings, desk):
            await desk.filled(await desk.order())
            simulator.face.sessions.end_all()

            async def is_noticed() -> bool:
                return any("no valid broker session" in line["event"] for line in logs)

            await until(is_noticed)
            waiting = await desk.order()
            await asyncio.sleep(1.5)
            calls = await database.fetchval("SELECT count(*) FROM broker_events WHERE order_id = $1", waiting)
            attempts = await database.fetchval(
                "SELECT max(attempt) FROM order_ledger WHERE order_id = $1", waiting
            )
            meanwhile = await desk.state(waiting)
            await desk.log_in()
            await desk.filled(waiting)

    assert (meanwhile, calls, attempts) == (OrderState.SCHEDULED, 0, 0), "not a slice was spent"
    alerts = [line for line in logs if "no valid broker session" in line["event"]]
    assert len(alerts) == 1
    assert len(simulator.desk.venue.records) == 2
    stored = await database.fetch("SELECT request::text, answer::text, error FROM broker_events")
    for secret in PLANTED:
        assert secret not in f"{logs} {[tuple(row) for row in stored]}"


async def test_units_of_a_lot_are_those_of_our_latest_order(database: asyncpg.Pool) -> None:
    store, ids = PostgresOrderStore(Database(database)), RandomIds(SystemClock())
    units = PostgresBrokerUnits(Database(database))
    before = await units(CRUDE)
    for each in (10, 100):
        terms = InstrumentTerms(lot_size=each, units_per_broker_quantity=each)
        await store.accept(
            new_order(ids, instrument=CRUDE, product=Product.NRML, total_quantity=each, terms=terms)
        )

    assert (before, await units(CRUDE), await units(INFY)) == (None, 100, None)
