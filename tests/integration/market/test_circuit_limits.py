"""Circuit limits on their way from a broker to the risk gate: quotes, desk, price board, rule."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path

import asyncpg
import pytest

from pulse.all_in_one import open_all
from pulse.simulate import DEFAULT_ACCESS_TOKEN, DEFAULT_UCC
from pulse.state import Secrets
from pulse_adapters.clock import SystemClock
from pulse_adapters.instruments import Source, fetch
from pulse_adapters.kotak.sessions import NeoSession
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.instrument_sync import PostgresInstrumentSync
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_adapters.postgres.sessions import PostgresSessions
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.risk_gate import build_risk_gate
from pulse_background.market.bootstrap import open_desk
from pulse_background.settings import read_settings
from pulse_domain.errors import RiskRejected
from pulse_domain.instruments import Instrument
from pulse_domain.market.sessions import indian_day
from pulse_domain.orders.model import OrderRequest, OrderType, Product
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.risk import PriceFacts, RiskLimits
from pulse_domain.testing.factories import order_request
from service_kit import Metrics
from tests.integration.feeds.making import SECRETS, store_neo
from tests.integration.simulator.neo import KotakProcess
from tests.integration.simulator.process import API_KEY, API_SECRET, KiteProcess, SimulatorProcess

INFY = Instrument.parse("NSE:INFY")
PATIENCE_S = 60.0


@pytest.fixture(params=["zerodha", "kotak"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SimulatorProcess]:
    made = {"zerodha": KiteProcess, "kotak": KotakProcess}[request.param]
    process = made(tmp_path, limits=True).start()
    yield process
    process.stop()


async def environ_of(broker: SimulatorProcess, database: Database, dsn: str) -> dict[str, str]:
    """What a desk is told, after a login and with the broker's own instrument file."""
    name = "zerodha" if isinstance(broker, KiteProcess) else "kotak"
    environ = {
        "DATABASE_URL": dsn,
        "MARKET_FEED": name,
        "VIRTUAL_BROKER_READS": name,
        "OUTSIDE_SESSION": "accept",
        "FEED_INSTRUMENTS": str(INFY),
        "BROKER_SESSION_SECRETS": SECRETS[0],
    }
    if isinstance(broker, KiteProcess):
        source = Source(broker=name, url=broker.url)
        environ |= {
            "ZERODHA_API_KEY": API_KEY,
            "ZERODHA_API_SECRET": API_SECRET,
            "ZERODHA_BASE_URL": broker.url,
            "ZERODHA_TICKER_URL": broker.ticker_url,
            "ZERODHA_ACCESS_TOKEN": broker.access_token(),
        }
    else:
        assert isinstance(broker, KotakProcess)
        source = Source(broker=name, url=broker.url, access_token=DEFAULT_ACCESS_TOKEN)
        environ |= {"KOTAK_ACCESS_TOKEN": DEFAULT_ACCESS_TOKEN, "KOTAK_LOGIN_URL": broker.url}
        headers, ws = broker.session(), broker.url.replace("http", "ws", 1)
        session = NeoSession(
            token=headers["Auth"],
            sid=headers["Sid"],
            base_url=broker.url,
            feed_url=f"{ws}/realtime",
            ucc=DEFAULT_UCC,
            market_url=f"{ws}/apifeed",
        )
        await store_neo(PostgresSessions(database), session, SystemClock())
    dump = await asyncio.to_thread(fetch, source, frozenset())
    listed = [each for each in dump.listings if each.instrument == INFY]
    await PostgresInstrumentSync(database)(name, listed, indian_day(SystemClock().now()))
    return environ


@asynccontextmanager
async def desk_running(environ: dict[str, str]) -> AsyncIterator[None]:
    async with open_desk(read_settings(environ), Metrics("test")) as desk:
        run = asyncio.create_task(desk.run())
        try:
            yield
            assert not run.done(), run
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)


async def shown(board: PriceBoard, broker: SimulatorProcess, first: int) -> PriceFacts:
    """The price with its limits, as soon as both are there; the price moves a little meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    for step in count():
        await asyncio.to_thread(broker.pin, str(INFY), f"{first + Decimal(step % 2) / 10}")
        facts = await board.price(INFY)
        if facts is not None and facts.upper_circuit is not None and abs(facts.last_price - first) < 1:
            return facts
        assert time.monotonic() < deadline, facts
        await asyncio.sleep(0.1)
    raise AssertionError


async def test_the_gate_knows_the_circuit_limits_that_the_broker_tells(
    broker: SimulatorProcess, database: asyncpg.Pool, migrated_dsn: str
) -> None:
    data = Database(database)
    board, limits = PostgresPriceBoard(data), RiskLimits(circuit_percent=Decimal(2))
    store, audit = PostgresOrderStore(data), PostgresAuditLog(data)
    gate = build_risk_gate(limits, store, board, None, audit, None, SystemClock(), charges=None)
    assert gate is not None

    def order(price: str) -> OrderRequest:
        return order_request(
            instrument=INFY,
            product=Product.CNC,
            order_type=OrderType.LIMIT,
            limit_price=Decimal(price),
            total_quantity=10,
        )

    # The first price is that at which the day before closed, of which there is nothing.
    await asyncio.to_thread(broker.pin, str(INFY), "1000")
    with pytest.raises(RiskRejected) as unknown:
        await gate.check(order("1000"))
    assert unknown.value.details["reasons"][0]["stale"]
    async with desk_running(await environ_of(broker, data, migrated_dsn)):
        facts = await shown(board, broker, 1000)
        assert (facts.lower_circuit, facts.upper_circuit) == (Decimal(900), Decimal(1100))

        await gate.check(order("1000"))
        for near in ("1090", "1100", "1150", "905"):
            with pytest.raises(RiskRejected) as refused:
                await gate.check(order(near))
            (reason,) = refused.value.details["reasons"]
            assert (reason["rule"], reason["stale"]) == ("CIRCUIT_BAND", False)


async def test_the_all_in_one_knows_them_by_the_reads_of_its_broker(
    broker: SimulatorProcess, database: asyncpg.Pool, migrated_dsn: str, tmp_path: Path
) -> None:
    data = Database(database)
    await asyncio.to_thread(broker.pin, str(INFY), "1000")
    environ = await environ_of(broker, data, migrated_dsn)
    del environ["MARKET_FEED"]
    secrets = Secrets(jwt_secret="j" * 32, service_token="s" * 16, webhook_secret="w" * 16)
    async with open_all(environ, secrets, tmp_path / "state", feed="synthetic", feed_speed=1.0):
        facts = await shown(PostgresPriceBoard(data), broker, 1000)

    assert (facts.lower_circuit, facts.upper_circuit) == (Decimal(900), Decimal(1100))
