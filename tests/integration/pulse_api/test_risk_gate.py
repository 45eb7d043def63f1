"""The order API with risk limits, on Postgres."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.audit_log import PostgresAuditLog
from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.postgres.strategies import PostgresStrategyStore
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_api.app import create_app
from pulse_api.bootstrap import Ports
from pulse_api.settings import read_settings
from pulse_domain.instruments import Instrument
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Product
from pulse_domain.ports.order_store import Booking
from pulse_domain.risk import PriceFacts
from pulse_domain.testing.factories import split_order
from pulse_domain.testing.memory_queue import RecordingQueue
from tests.integration.pulse_api.conftest import TOKEN, Api, alive

TCS = Instrument.parse("NSE:TCS")
ORDER: dict[str, Any] = {"instrument": "NSE:TCS", "side": "BUY", "total_quantity": 100}

Opening = Callable[..., AbstractAsyncContextManager[Api]]


@pytest.fixture
def opening(database: asyncpg.Pool) -> Opening:
    @asynccontextmanager
    async def opened(**variables: str) -> AsyncIterator[Api]:
        clock, db = SystemClock(), Database(database)
        store = PostgresOrderStore(db)
        ports = Ports(
            store=store,
            watched=store,
            queue=RecordingQueue(),
            master=VirtualInstrumentMaster(),
            clock=clock,
            ids=RandomIds(clock),
            strategies=PostgresStrategyStore(db),
            audit=PostgresAuditLog(db),
            prices=PostgresPriceBoard(db),
            candles=PostgresCandleStore(db),
        )

        @asynccontextmanager
        async def given(*_: object) -> AsyncIterator[Ports]:
            yield ports

        needed = {"DATABASE_URL": "postgresql://not-used", "PULSE_SERVICE_TOKEN": TOKEN}
        app = create_app(read_settings(needed | variables), given)
        async with alive(app):
            yield Api(app, ports, database)

    return opened


async def show(api: Api, price: str, *, age_s: float = 0.0) -> None:
    at = SystemClock().now() - timedelta(seconds=age_s)
    assert api.ports.prices is not None
    facts = PriceFacts(at=at, last_price=Decimal(price), minute_vwap=Decimal(price))
    await api.ports.prices.publish({TCS: facts})


async def rules(api: Api, key: str, **change: Any) -> list[str]:
    """The rules that refuse an order, in a preview too; the empty list where it is accepted."""
    body = ORDER | change
    _, foretold = await api.send("POST", "/internal/orders/preview", body)
    answer, told = await api.send("POST", "/internal/orders", body | {"order_unique_key": key})
    if answer.status == 202:
        assert "error" not in foretold
        return []
    assert (answer.status, told["error"]["code"]) == (422, "RISK_REJECTED")
    assert told["error"]["details"] == foretold["error"]["details"]
    return [reason["rule"] for reason in told["error"]["details"]["reasons"]]


async def test_a_refused_order_is_not_stored_and_is_on_record(opening: Opening) -> None:
    async with opening(RISK_MAX_ORDER_QUANTITY="99") as api:
        answer, told = await api.send("POST", "/internal/orders", ORDER | {"order_unique_key": "k-1"})
        metrics, _ = await api.send("GET", "/internal/metrics")

        assert (answer.status, told["error"]["code"]) == (422, "RISK_REJECTED")
        assert told["error"]["details"]["reasons"] == [
            {"rule": "ORDER_QUANTITY", "reason": "100 units, above 99", "stale": False}
        ]
        assert await api.orders_stored() == 0
        [entry] = await api.ports.audit.newest(10)
        assert (entry.channel, entry.actor, entry.place, entry.outcome) == ("risk", "desk-1", "api", "refused")
        assert "k-1" in entry.detail
        assert re.search(r'risk_refusals_total\{rule="ORDER_QUANTITY"\} 1\.0', metrics.body.decode())


@pytest.mark.parametrize("source", ["tradingview", "api", "strategy", "telegram"])
async def test_no_source_goes_round_the_gate(opening: Opening, source: str) -> None:
    async with opening(RISK_MAX_ORDER_QUANTITY="99") as api:
        headers = {"X-Order-Source": source, "X-Body-Digest": "d" * 64}

        answer, told = await api.send("POST", "/internal/orders", ORDER, headers=headers)

        assert (answer.status, told["error"]["code"]) == (422, "RISK_REJECTED")


async def test_prices_that_are_old_or_missing_let_nothing_pass(opening: Opening) -> None:
    limits = {"RISK_MAX_ORDER_VALUE": "1000000", "RISK_PRICE_MAX_AGE_SECONDS": "60"}
    async with opening(**limits, RISK_FAT_FINGER_PERCENT="1") as api:
        missing = await rules(api, "k-1")
        await show(api, "3000", age_s=61)
        old = await rules(api, "k-1")
        await show(api, "3000")
        limit = {"order_type": "LIMIT", "limit_price": "3031"}

        assert missing == old == ["ORDER_VALUE", "FAT_FINGER"]
        assert await rules(api, "k-1", **limit) == ["FAT_FINGER"]
        assert await rules(api, "k-1", total_quantity=400) == ["ORDER_VALUE"]
        assert await rules(api, "k-1") == []


async def test_the_days_loss_is_that_of_our_fills_and_only_what_goes_out_passes(opening: Opening) -> None:
    limits = {"RISK_MAX_DAILY_LOSS": "5000", "RISK_PRICE_MAX_AGE_SECONDS": "60"}
    async with opening(**limits) as api:
        await hold(api, 100, Decimal(3000))
        await show(api, "2960")
        before = await rules(api, "k-1")
    async with opening(**limits) as api:
        await show(api, "2949")

        assert before == []
        assert await rules(api, "k-2", total_quantity=1) == ["DAILY_LOSS"]
        assert await rules(api, "k-3", side="SELL", total_quantity=101, product="MIS") == ["DAILY_LOSS"]
        assert await rules(api, "k-4", side="SELL", product="MIS") == []
        await show(api, "2949", age_s=-1)


async def hold(api: Api, units: int, price: Decimal) -> None:
    """A position that was bought today."""
    order = await split_order(api.ports.store, api.ports.ids, [[units]], instrument=TCS, product=Product.MIS)
    await api.ports.store.claim_executions(10, "executor", 60.0)
    fill = ev.Fill(
        trade_id="T-1",
        broker_order_id=BrokerOrderId("B-1"),
        quantity=units,
        price=price,
        at=SystemClock().now(),
    )
    place = {"seq": 1, "chunk": 0}
    events = (
        ev.ExecutionAccepted(**place, broker_order_id=BrokerOrderId("B-1")),
        ev.ExecutionFilled(**place, fill=fill),
    )
    booked = await api.ports.store.book([Booking(order_id=order.order_id, event=event) for event in events])
    assert [each.result for each in booked] == ["APPLIED", "APPLIED"]


@pytest.mark.parametrize(
    ("variables", "room", "rule"),
    [
        ({"RISK_MAX_OPEN_ORDERS": "5"}, 5, "OPEN_ORDERS"),
        ({"RISK_MAX_ORDERS": "7"}, 7, "ORDER_RATE"),
        ({"RISK_DUPLICATE_WINDOW_SECONDS": "60"}, 1, "DUPLICATE_SIGNAL"),
    ],
)
async def test_of_many_at_once_no_more_pass_than_there_is_room_for(
    opening: Opening, variables: dict[str, str], room: int, rule: str
) -> None:
    """Two processes, on connections of their own; half of the orders are alerts without a key."""
    async with opening(**variables) as one, opening(**variables) as other:

        async def send(number: int) -> tuple[int, str | None]:
            api = (one, other)[number % 2]
            by_key = number % 4 < 2
            body = ORDER | ({"order_unique_key": f"k-{number}"} if by_key else {})
            headers = {} if by_key else {"X-Body-Digest": f"{number:064x}", "X-Order-Source": "tradingview"}
            answer, told = await api.send("POST", "/internal/orders", body, headers=headers)
            reasons = told["error"]["details"]["reasons"] if answer.status == 422 else [{"rule": None}]
            return answer.status, reasons[0]["rule"]

        answers = Counter(await asyncio.gather(*(send(number) for number in range(40))))

        assert answers == {(202, None): room, (422, rule): 40 - room}
        assert await one.orders_stored() == room


async def test_what_was_accepted_is_answered_as_before(opening: Opening) -> None:
    async with opening(RISK_MAX_OPEN_ORDERS="1", RISK_DUPLICATE_WINDOW_SECONDS="60") as api:
        body = ORDER | {"order_unique_key": "k-1"}
        first = await api.send("POST", "/internal/orders", body)
        again, told = await api.send("POST", "/internal/orders", body)

        assert (again.status, told) == (202, first[1])
        assert again.headers["idempotent-replayed"] == "true"


async def test_under_a_kill_everything_is_either_cancelled_or_refused(opening: Opening) -> None:
    async with opening(RISK_MAX_OPEN_ORDERS="1000") as api, opening() as without_limits:

        async def send(number: int) -> int:
            to = (api, without_limits)[number % 2]
            answer, _ = await to.send("POST", "/internal/orders", ORDER | {"order_unique_key": f"k-{number}"})
            return int(answer.status)

        sending = [asyncio.ensure_future(send(number)) for number in range(60)]
        await asyncio.wait(sending, return_when=asyncio.FIRST_COMPLETED)
        answer, killed = await without_limits.send("POST", "/internal/trading/kill", {"reason": "test"})
        stored = await api.orders_stored()
        statuses = Counter(await asyncio.gather(*sending))

        assert answer.status == 200
        assert killed["cancelled"] == stored == statuses[202]
        assert set(statuses) <= {202, 422}
        assert await api.orders_stored() == stored, "nothing is stored once the kill is answered"
        assert await api.ports.store.open_orders(100) == []
