"""A virtual broker that reads from Kotak: fills by its quotes, and not one order there."""

import asyncio
from datetime import date
from decimal import Decimal
from pathlib import Path

import asyncpg

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.instrument_sync import PostgresInstrumentSync
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.simulator.faults import Call
from pulse_adapters.simulator.kotak import names
from pulse_adapters.simulator.prices import Pinned
from pulse_background.background import Background
from pulse_background.bootstrap import open_ports
from pulse_background.settings import read_settings
from pulse_domain.instruments import Listing, ListingKind
from pulse_domain.orders.model import Product
from pulse_domain.orders.status import OrderState
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.testing.factories import new_order
from service_kit import Metrics
from tests.integration.workers.test_background_at_zerodha import INFY, until
from tests.unit.kotak.make import ACCESS_TOKEN, SECRETS, SETTINGS
from tests.unit.kotak.simulated_kotak import log_in_there, simulated_kotak
from tests.unit.virtual.fixed_market import FixedMarket


async def test_an_order_fills_at_the_real_brokers_quote_and_never_reaches_it(
    database: asyncpg.Pool, migrated_dsn: str, tmp_path: Path
) -> None:
    store = PostgresOrderStore(Database(database))
    async with simulated_kotak(tmp_path, FixedMarket(SystemClock())) as simulator:
        simulator.desk.prices.pin(
            INFY, Pinned(last_price=Decimal(1500), bid=Decimal("1499.95"), ask=Decimal("1500.40"))
        )
        listed = simulator.desk.catalog.find(INFY)
        assert listed is not None
        share = Listing(
            token=names.neo_symbol(listed),
            instrument=INFY,
            broker_symbol=names.trading_symbol(listed),
            name="INFOSYS",
            kind=ListingKind.SHARE,
            tick_size=Decimal("0.05"),
            lot_size=1,
        )
        await PostgresInstrumentSync(Database(database))("kotak", [share], date(2026, 11, 20))
        await log_in_there(simulator, SETTINGS, PostgresSessions(Database(database)))
        settings = read_settings(
            {
                "DATABASE_URL": migrated_dsn,
                "VIRTUAL_BROKER_READS": "kotak",
                "KOTAK_ACCESS_TOKEN": ACCESS_TOKEN,
                "KOTAK_LOGIN_URL": simulator.url,
                "BROKER_SESSION_SECRETS": SECRETS[0],
                "SLICE_EXECUTOR_POLL_INTERVAL_SECONDS": "0.1",
            }
        )
        stop = asyncio.Event()
        async with open_ports(settings, Metrics("test")) as ports:
            background = Background(ports, settings)
            running = asyncio.create_task(background.run(stop))
            accepted = await store.accept(
                new_order(RandomIds(SystemClock()), instrument=INFY, product=Product.CNC, total_quantity=10)
            )
            background.wake(JobKind.SPLIT_ORDER)

            async def is_filled() -> bool:
                view = await store.get(accepted.order_id)
                return view is not None and view.summary.state is OrderState.FILLED

            try:
                await until(is_filled)
            finally:
                stop.set()
                await running

        price = await database.fetchval("SELECT price FROM fills WHERE order_id = $1", accepted.order_id)
        assert price == Decimal("1500.40")
        assert simulator.desk.venue.records == {}
        asked = simulator.desk.calls.askings
        assert any("/quotes/" in each.path for each in asked)
        assert {Call.PLACE, Call.MODIFY, Call.CANCEL}.isdisjoint(each.call for each in asked)
