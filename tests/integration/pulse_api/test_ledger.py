"""Positions and the ledger through the order API, on a real Postgres."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.price_board import PostgresPriceBoard
from pulse_domain.instruments import Instrument
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import trading_day
from pulse_domain.orders.ids import BrokerOrderId, ClientId, execution_id, execution_uuid
from pulse_domain.orders.model import Order, Product, Side
from pulse_domain.ports.order_store import Booking, BookResult
from pulse_domain.risk import PriceFacts
from pulse_domain.testing.factories import split_order
from tests.integration.pulse_api.conftest import Api

TCS = Instrument.parse("NSE:TCS")


async def order(api: Api, quantity: int = 10, **over: Any) -> Order:
    """An order whose only execution was claimed."""
    usual: dict[str, Any] = {"instrument": TCS, "strategy_tag": "macd", "product": Product.MIS}
    made = await split_order(api.ports.store, api.ports.ids, [[quantity]], **usual | over)
    await api.ports.store.claim_executions(10, "executor", 60.0)
    return made


async def book(api: Api, of: Order, *events: ev.AnyExecutionEvent, answer: Any = None) -> None:
    bookings = [Booking(order_id=of.order_id, event=event, answer=answer) for event in events]
    assert {booked.result for booked in await api.ports.store.book(bookings)} == {BookResult.APPLIED}


async def trade(api: Api, side: Side, quantity: int, price: str, **over: Any) -> Order:
    made = await order(api, quantity, side=side, **over)
    fill = ev.Fill(
        trade_id=f"T-{made.order_id[-6:]}",
        broker_order_id=BrokerOrderId(f"B-{made.order_id[-6:]}"),
        quantity=quantity,
        price=Decimal(price),
        at=api.ports.clock.now(),
    )
    await book(api, made, ev.ExecutionFilled(seq=1, chunk=0, fill=fill))
    return made


async def publish(api: Api, price: str, *, age_s: float = 0.0) -> None:
    at = api.ports.clock.now() - timedelta(seconds=age_s)
    board = PostgresPriceBoard(Database(api.pool))
    await board.publish({TCS: PriceFacts(at=at, last_price=Decimal(price))})


async def test_positions_and_results(api: Api) -> None:
    await trade(api, Side.BUY, 10, "100")
    await trade(api, Side.SELL, 4, "110.5")
    await trade(api, Side.SELL, 3, "100", strategy_tag="rsi", client_id=ClientId("desk-2"))
    await publish(api, "105")

    answer, found = await api.send("GET", "/internal/positions", headers={"X-Client-Id": ""})

    assert answer.status == 200
    macd, rsi = found["positions"]
    assert (macd["strategy_tag"], macd["instrument"], macd["product"]) == ("macd", "NSE:TCS", "MIS")
    assert (macd["quantity"], macd["average_price"]) == (6, "100.0000")
    assert (macd["realised"], macd["unrealised"]) == ("42.00", "30.00")
    assert Decimal(macd["net"]) == Decimal(72) - Decimal(macd["charges"])
    assert Decimal(macd["charges"]) > 0
    assert (macd["last_price"], macd["price_stale"], macd["provisional"]) == ("105", False, False)
    assert 0 <= macd["price_age_s"] < 60
    assert macd["price_at"].endswith("Z")
    assert (rsi["quantity"], rsi["unrealised"]) == (-3, "-15.00")
    assert [row["strategy_tag"] for row in found["strategies"]] == ["macd", "rsi"]
    assert found["total"]["realised"] == "42.00"
    assert found["today"] == found["total"]


async def test_a_client_sees_its_own_and_one_strategy_where_asked(api: Api) -> None:
    await trade(api, Side.BUY, 10, "100")
    await trade(api, Side.BUY, 5, "100", strategy_tag="rsi")
    await trade(api, Side.SELL, 3, "100", client_id=ClientId("desk-2"))

    async def quantities(query: str, client: str) -> list[int]:
        _, found = await api.send("GET", f"/internal/positions{query}", headers={"X-Client-Id": client})
        return [row["quantity"] for row in found["positions"]]

    assert await quantities("", "desk-1") == [10, 5]
    assert await quantities("", "desk-2") == [-3]
    assert await quantities("", "desk-3") == []
    assert await quantities("?strategy_tag=macd", "") == [7]
    assert await quantities("?strategy_tag=none", "") == []


async def test_without_a_fresh_price_a_result_is_null(api: Api) -> None:
    await trade(api, Side.BUY, 10, "100")
    _, without = await api.send("GET", "/internal/positions")
    await publish(api, "105", age_s=90.0)
    _, stale = await api.send("GET", "/internal/positions")

    [row] = without["positions"]
    assert [row[name] for name in ("last_price", "price_at", "price_age_s", "unrealised", "net")] == [None] * 5
    [row] = stale["positions"]
    assert (row["last_price"], row["price_stale"], row["unrealised"]) == ("105", True, None)
    assert row["price_age_s"] >= 90
    assert stale["total"]["net"] is stale["today"]["net"] is None


async def test_closed_positions_are_listed_where_asked_for(api: Api) -> None:
    made = await order(api)
    long_ago = api.ports.clock.now() - timedelta(days=3)
    fills = [
        ev.Fill(
            trade_id=f"T-{n}", broker_order_id=BrokerOrderId("B-1"), quantity=5, price=Decimal(7), at=long_ago
        )
        for n in range(2)
    ]
    await book(api, made, *[ev.ExecutionFilled(seq=1, chunk=0, fill=fill) for fill in fills])
    back = await order(api, side=Side.SELL)
    fill = ev.Fill(
        trade_id="T-9", broker_order_id=BrokerOrderId("B-2"), quantity=10, price=Decimal(8), at=long_ago
    )
    await book(api, back, ev.ExecutionFilled(seq=1, chunk=0, fill=fill))

    _, usual = await api.send("GET", "/internal/positions")
    _, whole = await api.send("GET", "/internal/positions?closed=true")

    assert usual["positions"] == []
    assert [(row["quantity"], row["realised"], row["average_price"]) for row in whole["positions"]] == [
        (0, "10.00", None)
    ]
    assert usual["total"] == whole["total"]
    assert usual["today"]["realised"] == "0.00"


async def test_a_row_of_the_ledger(api: Api) -> None:
    traded = await trade(api, Side.SELL, 10, "100.05")
    refused = await order(api, 7, strategy_tag=None)
    answer = {"place_error": "MARGIN: no funds", "order": {"status_message": "no “funds”", "quantity": 7}}
    reject = ev.ExecutionRejected(seq=1, chunk=0, reason_code="MARGIN", message="no funds")
    await book(api, refused, reject, answer=answer)

    response, found = await api.send("GET", "/internal/ledger")

    assert response.status == 200
    no, yes = found["rows"]
    execution = execution_id(traded.order_id, 1, 0)
    assert yes == {
        "internal_id": str(execution_uuid(execution)),
        "execution_id": execution,
        "order_id": traded.order_id,
        "exchange_id": f"B-{traded.order_id[-6:]}",
        "strategy_tag": "macd",
        "instrument": "NSE:TCS",
        "side": "SELL",
        "product": "MIS",
        "order_type": "MARKET",
        "source": "api",
        "tag": yes["tag"],
        "status": "TRADED",
        "execution_status": "FILLED",
        "quantity": 10,
        "filled_quantity": 10,
        "average_price": "100.0500",
        "due_at": yes["due_at"],
        "reason_code": None,
        "reason": None,
        "metadata": {},
    }
    assert (no["status"], no["reason_code"], no["reason"], no["metadata"]) == (
        "REJECTED", "MARGIN", "no funds", answer,
    )  # fmt: skip
    assert (no["exchange_id"], no["average_price"], no["filled_quantity"]) == (None, None, 0)
    assert found["next_cursor"] is None


async def test_the_ledger_is_told_by_client_day_strategy_instrument_and_status(api: Api) -> None:
    one = await trade(api, Side.BUY, 10, "100")
    two = await order(api, strategy_tag="rsi", instrument=Instrument.parse("NSE:M&M"))
    await order(api, client_id=ClientId("desk-2"))

    async def found(**query: str) -> list[str]:
        text = "&".join(f"{name}={value}" for name, value in query.items())
        answer, page = await api.send("GET", f"/internal/ledger?{text}")
        assert answer.status == 200
        return [row["order_id"] for row in page["rows"]]

    today = trading_day(api.ports.clock.now())
    assert await found() == [two.order_id, one.order_id]
    assert await found(strategy_tag="rsi") == [two.order_id]
    assert await found(instrument="NSE:M%26M") == [two.order_id]
    assert await found(status="TRADED") == [one.order_id]
    assert await found(day=today.isoformat()) == [two.order_id, one.order_id]
    assert await found(day=(today - timedelta(days=1)).isoformat()) == []


async def test_pages_of_the_ledger(api: Api) -> None:
    for _ in range(3):
        await order(api)
    _, whole = await api.send("GET", "/internal/ledger")
    pages, cursor = [], ""
    while True:
        _, page = await api.send("GET", f"/internal/ledger?limit=2{cursor}")
        pages += page["rows"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    assert len(pages) == 3
    assert pages == whole["rows"]


@pytest.mark.parametrize(
    ("path", "field", "code"),
    [
        ("positions?strategy_tag=", "strategy_tag", "INVALID_REQUEST"),
        ("positions?strategy_tag=a%20b", "strategy_tag", "INVALID_REQUEST"),
        ("positions?closed=maybe", "closed", "INVALID_REQUEST"),
        ("ledger?day=2026-02-30", "day", "INVALID_REQUEST"),
        ("ledger?day=20260105", "day", "INVALID_REQUEST"),
        ("ledger?day=0001-01-01", "day", "INVALID_REQUEST"),
        ("ledger?day=9999-12-31", "day", "INVALID_REQUEST"),
        ("ledger?day=today", "day", "INVALID_REQUEST"),
        ("ledger?status=FILLED", "status", "INVALID_REQUEST"),
        ("ledger?instrument=TCS", "instrument", "INVALID_INSTRUMENT"),
        ("ledger?limit=0", "limit", "INVALID_REQUEST"),
        ("ledger?limit=201", "limit", "INVALID_REQUEST"),
        ("ledger?cursor=ord_01kfa8r4gve9t9m3sx6y1c0d5e", "cursor", "INVALID_REQUEST"),
        ("ledger?cursor=exe_x", "cursor", "INVALID_REQUEST"),
        ("ledger?cursor=exe_01kfa8r4gve9t9m3sx6y1c0d5e_999_9999", None, None),
    ],
)
async def test_malformed_queries_are_refused(api: Api, path: str, field: str | None, code: str | None) -> None:
    answer, told = await api.send("GET", f"/internal/{path}")

    if code is None:
        assert (answer.status, told["rows"]) == (200, [])
        return
    assert answer.status == 400
    assert told["error"]["code"] == code
    assert told["error"]["details"].get("field") == field


@pytest.mark.parametrize("path", ["/internal/positions", "/internal/ledger"])
async def test_the_service_token_is_required(api: Api, path: str) -> None:
    answer, told = await api.send("GET", path, headers={"Authorization": ""})
    assert (answer.status, told["error"]["code"]) == (401, "UNAUTHORIZED")
    answer, told = await api.send("GET", path, headers={"X-Client-Id": "a b"})
    assert (answer.status, told["error"]["code"]) == (400, "INVALID_REQUEST")
