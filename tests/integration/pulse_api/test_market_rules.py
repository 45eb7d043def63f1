"""The order API under the market's rules."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date, datetime
from decimal import Decimal

import asyncpg
import pytest

from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.instrument_master import PostgresInstrumentMaster
from pulse_adapters.postgres.instrument_sync import PostgresInstrumentSync
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_api.app import create_app
from pulse_api.bootstrap import Ports
from pulse_api.settings import read_settings
from pulse_domain.instruments import Instrument, Listing, ListingKind
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_queue import RecordingQueue
from pulse_domain.units import INDIA
from tests.integration.pulse_api.conftest import TOKEN, Api, alive

FRIDAY_EVENING = datetime(2026, 11, 20, 18, 0, tzinfo=INDIA)
MONDAY_OPEN = "2026-11-23T03:45:00Z"
ORDER = {"order_unique_key": "k-1", "instrument": "NSE:TCS", "side": "BUY", "total_quantity": 100}

Opening = Callable[..., AbstractAsyncContextManager[Api]]


@pytest.fixture
def opening(database: asyncpg.Pool) -> Opening:
    """An API with a broker's instruments, on a Friday evening, set as a test says."""

    @asynccontextmanager
    async def opened(**variables: str) -> AsyncIterator[Api]:
        clock = FakeClock(FRIDAY_EVENING)
        share = Listing(
            token="1",
            instrument=Instrument.parse("NSE:TCS"),
            broker_symbol="TCS",
            name="TCS LIMITED",
            kind=ListingKind.SHARE,
            tick_size=Decimal("0.10"),
            lot_size=1,
        )
        await PostgresInstrumentSync(Database(database))("zerodha", [share], date(2026, 11, 20))
        master = PostgresInstrumentMaster(Database(database), clock, "zerodha")
        store = PostgresOrderStore(Database(database))
        ports = Ports(
            store=store,
            watched=store,
            queue=RecordingQueue(),
            master=master,
            clock=clock,
            ids=RandomIds(clock),
            strategies=PostgresStrategyStore(Database(database)),
            audit=PostgresAuditLog(Database(database)),
            closing_auction=master.closing_auction,
        )

        @asynccontextmanager
        async def given(*_: object) -> AsyncIterator[Ports]:
            yield ports

        settings = read_settings(
            {"DATABASE_URL": "postgresql://not-used", "PULSE_SERVICE_TOKEN": TOKEN, "BROKER_TYPE": "zerodha"}
            | variables
        )
        app = create_app(settings, given)
        async with alive(app):
            yield Api(app, ports, database)

    return opened


async def test_after_the_close_orders_are_refused_with_the_next_opening(opening: Opening) -> None:
    async with opening() as api:
        for path, body in (("/internal/orders", ORDER), ("/internal/orders/preview", without_key(ORDER))):
            answer, error = await api.send("POST", path, body)

            assert (answer.status, error["error"]["code"]) == (422, "MARKET_CLOSED")
            assert error["error"]["details"]["next_open"] == "2026-11-23T09:15:00+05:30"
            assert error["error"]["details"]["reason"] == "closed"
        assert await api.orders_stored() == 0


async def test_queued_orders_start_at_the_open_and_keep_their_key(opening: Opening) -> None:
    async with opening(OUTSIDE_SESSION="queue") as api:
        split = {"split_config": {"num_splits": 2, "duration_minutes": 10}}

        answer, accepted = await api.send("POST", "/internal/orders", ORDER | split)
        again, replayed = await api.send("POST", "/internal/orders", ORDER | split)
        _, order = await api.send("GET", f"/internal/orders/{accepted['order_id']}")
        _, preview = await api.send("POST", "/internal/orders/preview", without_key(ORDER | split))

        assert (answer.status, again.status) == (202, 202)
        assert replayed == accepted
        assert (order["starts_at"], order["ends_at"]) == (MONDAY_OPEN, "2026-11-23T03:55:00Z")
        assert order["split_config"]["duration_minutes"] == 10
        assert preview["starts_at"].startswith("2026-11-23T")


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"instrument": "MCX:GOLD26DECFUT"}, "INVALID_INSTRUMENT", "instrument"),
        ({"instrument": "NSE:NOSUCH"}, "INVALID_INSTRUMENT", "instrument"),
        ({"order_type": "LIMIT", "limit_price": "3500.05"}, "INVALID_PRICE", "limit_price"),
    ],
)
async def test_instruments_are_those_of_the_brokers_file(
    opening: Opening, change: dict[str, str], code: str, field: str
) -> None:
    async with opening(OUTSIDE_SESSION="queue") as api:
        answer, error = await api.send("POST", "/internal/orders", ORDER | change)

        assert (answer.status, error["error"]["code"]) == (422, code)
        assert error["error"]["details"]["field"] == field


async def test_what_the_broker_does_not_take_is_a_business_rule(
    opening: Opening, database: asyncpg.Pool
) -> None:
    gold = Listing(
        token="7",
        instrument=Instrument.parse("MCX:GOLD26DECFUT"),
        broker_symbol="GOLD26DECFUT",
        name="GOLD",
        kind=ListingKind.FUTURE,
        tick_size=Decimal(1),
        lot_size=100,
        expiry=date(2026, 12, 4),
        units_per_broker_quantity=100,
    )
    order = ORDER | {"instrument": "MCX:GOLD26DECFUT"}

    async with opening() as api:
        await PostgresInstrumentSync(Database(database))("zerodha", [gold], date(2026, 11, 20))
        answer, error = await api.send("POST", "/internal/orders", order)
    async with opening(UNITS_CONFIRMED="MCX") as api:
        taken, _ = await api.send("POST", "/internal/orders", order)
        ioc, refused = await api.send(
            "POST", "/internal/orders", order | {"order_unique_key": "k-2", "validity": "IOC"}
        )

    assert (answer.status, error["error"]["code"]) == (422, "INVALID_REQUEST")
    assert error["error"]["details"]["setting"] == "UNITS_CONFIRMED"
    assert taken.status == 202
    assert (ioc.status, refused["error"]["details"]["allowed"]) == (422, ["DAY"])


def without_key(body: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if name != "order_unique_key"}
