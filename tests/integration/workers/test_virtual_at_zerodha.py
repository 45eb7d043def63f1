"""A virtual broker that reads from Zerodha: fills by its quotes, and not one order there."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
import structlog
from prometheus_client import CollectorRegistry

from pulse_adapters.clock import SystemClock
from pulse_adapters.simulator.faults import Call
from pulse_adapters.simulator.kite.serve import KiteSimulator
from pulse_adapters.simulator.prices import Pinned
from pulse_adapters.virtual.broker import VirtualBroker
from pulse_background.bootstrap import open_ports
from pulse_background.settings import Settings, read_settings
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.orders.model import OrderType
from pulse_domain.orders.status import OrderState
from service_kit import Metrics
from tests.integration.workers.test_background_at_zerodha import INFY, Desk, until, working
from tests.unit.virtual.fixed_market import FixedMarket
from tests.unit.zerodha.make import API_KEY, API_SECRET, SECRETS
from tests.unit.zerodha.simulated_kite import simulated_kite


@pytest_asyncio.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[KiteSimulator]:
    async with simulated_kite(tmp_path, FixedMarket(SystemClock())) as running:
        quote(running, "1500.00", bid="1499.95", ask="1500.40")
        yield running


def quote(simulator: KiteSimulator, price: str, *, bid: str, ask: str) -> None:
    simulator.desk.prices.pin(INFY, Pinned(last_price=Decimal(price), bid=Decimal(bid), ask=Decimal(ask)))


@pytest.fixture
def settings(migrated_dsn: str, simulator: KiteSimulator) -> Settings:
    return read_settings(
        {
            "DATABASE_URL": migrated_dsn,
            "BROKER_TYPE": "virtual",
            "VIRTUAL_BROKER_READS": "zerodha",
            "VIRTUAL_BROKER_POLL_SECONDS": "0.2",
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


@pytest.fixture
def desk(database: asyncpg.Pool, settings: Settings, simulator: KiteSimulator) -> Desk:
    return Desk(database, settings, simulator)


def assert_no_order_reached(simulator: KiteSimulator) -> None:
    """Neither in the book nor on the way there."""
    assert simulator.desk.venue.records == {}
    asked = simulator.desk.calls.askings
    assert "/quote" in {each.path for each in asked}
    assert {each.call for each in asked} <= {Call.READ}


async def price_of(database: asyncpg.Pool, order_id: str) -> Decimal:
    price: Decimal = await database.fetchval("SELECT price FROM fills WHERE order_id = $1", order_id)
    return price


async def test_an_order_fills_at_the_real_brokers_quote_and_never_reaches_it(
    desk: Desk, settings: Settings, simulator: KiteSimulator, database: asyncpg.Pool
) -> None:
    await desk.log_in()

    async with working(settings, desk):
        order_id = await desk.order()
        await desk.filled(order_id)

    assert await price_of(database, order_id) == Decimal("1500.40")
    assert_no_order_reached(simulator)


async def test_what_rests_waits_through_an_outage_of_the_quotes(
    desk: Desk, settings: Settings, simulator: KiteSimulator, database: asyncpg.Pool
) -> None:
    await desk.log_in()
    with structlog.testing.capture_logs() as logs:
        async with working(settings, desk):
            order_id = await desk.order(order_type=OrderType.LIMIT, limit_price=Decimal(1450))

            async def is_resting() -> bool:
                known = "SELECT exchange_id IS NOT NULL FROM order_ledger WHERE order_id = $1"
                return bool(await database.fetchval(known, order_id))

            async def is_told() -> bool:
                return any("quotes cannot be read" in line["event"] for line in logs)

            await until(is_resting)
            simulator.face.sessions.end_all()
            await until(is_told)
            quote(simulator, "1400.00", bid="1399.95", ask="1400.05")
            await asyncio.sleep(1)
            meanwhile = await desk.state(order_id)
            await desk.log_in()
            await desk.filled(order_id)

    assert meanwhile is OrderState.WORKING
    assert await price_of(database, order_id) <= Decimal(1450)
    assert len([line for line in logs if "quotes cannot be read" in line["event"]]) == 1
    assert_no_order_reached(simulator)


async def test_without_a_session_nothing_is_dispatched(
    desk: Desk, settings: Settings, simulator: KiteSimulator, database: asyncpg.Pool
) -> None:
    async with working(settings, desk):
        order_id = await desk.order()

        async def is_split() -> bool:
            return await desk.state(order_id) is OrderState.SCHEDULED

        await until(is_split)
        await asyncio.sleep(1)
        waiting = await desk.state(order_id)
        await desk.log_in()
        await desk.filled(order_id)

    assert waiting is OrderState.SCHEDULED
    assert_no_order_reached(simulator)


async def test_failed_reads_are_counted(settings: Settings, database: asyncpg.Pool) -> None:
    metrics = Metrics("test")
    registry: CollectorRegistry = metrics.registry
    async with open_ports(settings, metrics) as ports:
        before = registry.get_sample_value("quote_read_failures_total")
        assert isinstance(ports.broker, VirtualBroker)
        with pytest.raises(BrokerUnavailable):
            await ports.broker.quote(INFY)

    assert (before, registry.get_sample_value("quote_read_failures_total")) == (0, 1)
