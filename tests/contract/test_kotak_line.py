"""Over a real socket, with the broker's SDK: every way in which a call can end, and what it is taken for."""

import asyncio
import logging
import time
import traceback
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio
import structlog

from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.broker import KotakBroker
from pulse_domain.errors import (
    BrokerError,
    BrokerOutcomeUnknown,
    BrokerRejected,
    BrokerUnavailable,
    StorageUnavailable,
)
from pulse_domain.instruments import Instrument
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.contract.kotak_server import (
    NO_DATA,
    Behaviour,
    CutShort,
    Drop,
    Hang,
    KotakServer,
    Lose,
    Reply,
    Trickle,
    kotak_server,
)
from tests.unit.kotak.make import (
    ACCESS_TOKEN,
    PLANTED,
    RELIANCE,
    SID,
    TICKET,
    TOKEN,
    make_broker,
    ticket,
    until,
)
from tests.unit.virtual.fixed_market import FixedMarket

TIMEOUT_S = 5.0
SHORT_S = 0.6
ORDER_ID = BrokerOrderId("250720000007242")
OK = {"stat": "Ok", "nOrdNo": ORDER_ID, "stCode": 200}
UNKNOWN, REJECTED, UNAVAILABLE = BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable


@pytest_asyncio.fixture
async def neo() -> AsyncIterator[KotakServer]:
    market = FixedMarket(SystemClock())
    market.set(RELIANCE, "500.00")
    async with kotak_server(market) as server:
        yield server


@pytest_asyncio.fixture
async def broker(neo: KotakServer) -> AsyncIterator[KotakBroker]:
    broker = await make_broker(neo.base_url)
    yield broker
    await broker.close()


async def ending(call: Any) -> BrokerError:
    with pytest.raises(BrokerError) as ended:
        await call
    return ended.value


def row(**changes: Any) -> dict[str, Any]:
    return {
        "nOrdNo": ORDER_ID,
        "ordSt": "open",
        "exSeg": "nse_cm",
        "trdSym": "RELIANCE-EQ",
        "trnsTp": "B",
        "qty": 10,
        "fldQty": 0,
        "prcTp": "SL",
        "vldt": "DAY",
        "prc": "501.00",
        "trgPrc": "500.00",
        "ordDtTm": "05-Jan-2026 09:20:00",
        **changes,
    }


def book(*rows: Any) -> Reply:
    return Reply(body={"stat": "Ok", "stCode": 200, "data": list(rows)})


# --- orders go out as they should


async def test_an_order_is_one_request_with_the_documented_fields(
    broker: KotakBroker, neo: KotakServer
) -> None:
    order_id = await broker.place(TICKET, timeout_s=TIMEOUT_S)

    [request] = neo.requests
    assert order_id
    assert (request.method, request.path) == ("POST", "/quick/order/rule/ms/place")
    assert (request.headers["auth"], request.headers["sid"]) == (TOKEN, SID)
    assert (request.headers["authorization"], request.headers["neo-fin-key"]) == (ACCESS_TOKEN, "neotradeapi")
    assert request.headers["content-type"].startswith("application/x-www-form-urlencoded")
    fields = dict(request.fields)
    fields.pop("pf", None)  # in the documents, and left out by the SDK
    assert fields == {
        "am": "NO",
        "dq": "0",
        "es": "nse_cm",
        "mp": "0",
        "pc": "CNC",
        "pr": "500.05",
        "pt": "L",
        "qt": "10",
        "rt": "DAY",
        "tp": "0",
        "ts": "RELIANCE-EQ",
        "tt": "B",
        "ig": TICKET.tag,
        "os": "NEOTRADEAPI",
    }


async def test_a_change_repeats_what_it_does_not_change(broker: KotakBroker, neo: KotakServer) -> None:
    neo.then(book(row()), Reply(body=OK), book(row()), Reply(body=OK))

    await broker.modify(ORDER_ID, quantity=20, limit_price=Decimal("502.50"), timeout_s=TIMEOUT_S)
    await broker.modify(ORDER_ID, quantity=30, limit_price=None, timeout_s=TIMEOUT_S)

    _, first, _, second = neo.requests
    assert first.path == "/quick/order/vr/modify"
    assert {name: first.fields[name] for name in ("no", "pr", "pt", "qt", "tp", "vd", "am")} == {
        "no": ORDER_ID, "pr": "502.5", "pt": "SL", "qt": "20", "tp": "500", "vd": "DAY", "am": "NO",
    }  # fmt: skip
    assert (second.fields["pr"], second.fields["qt"]) == ("501", "30")


async def test_a_cancel_is_one_request(broker: KotakBroker, neo: KotakServer) -> None:
    neo.then(Reply(body={"stat": "Ok", "stCode": 200}))

    await broker.cancel(ORDER_ID, timeout_s=TIMEOUT_S)

    [request] = neo.requests
    assert (request.path, dict(request.fields)) == ("/quick/order/cancel", {"on": ORDER_ID, "am": "NO"})


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        ({"ordSt": "open"}, UNAVAILABLE),
        ({"ordSt": "complete"}, REJECTED),
        ({"nOrdNo": "1"}, REJECTED),
        ({"qty": "?"}, UNAVAILABLE),
    ],
)
async def test_a_cancel_that_is_refused_for_another_reason_asks_what_became_of_the_order(
    broker: KotakBroker, neo: KotakServer, there: dict[str, str], kind: type[BrokerError]
) -> None:
    neo.then(Reply(body={"stat": "Not_Ok", "emsg": "try later", "stCode": 7777}), book(row(**there)))

    assert type(await ending(broker.cancel(ORDER_ID, timeout_s=TIMEOUT_S))) is kind


@pytest.mark.parametrize(
    ("rows", "kind", "reason_code"),
    [
        ([row(ordSt="complete")], REJECTED, "ORDER_NOT_OPEN"),
        ([row(nOrdNo="1")], REJECTED, "ORDER_NOT_FOUND"),
        ([row(qty="?")], UNAVAILABLE, "UNREADABLE_ANSWER"),
        ([row(vldt="NA")], UNAVAILABLE, "UNREADABLE_ANSWER"),
        ([row(prc="0.00")], REJECTED, "INVALID_INPUT"),
        ([row(exSeg="mcx_fo")], UNAVAILABLE, "UNITS_UNKNOWN"),
    ],
)
async def test_what_cannot_be_changed_costs_no_change(
    broker: KotakBroker, neo: KotakServer, rows: list[Any], kind: type[BrokerError], reason_code: str
) -> None:
    neo.then(book(*rows))

    error = await ending(broker.modify(ORDER_ID, quantity=20, limit_price=None, timeout_s=TIMEOUT_S))

    assert (type(error), error.reason_code) == (kind, reason_code)
    assert len(neo.requests) == 1


async def test_an_instrument_without_a_symbol_is_not_sent(neo: KotakServer) -> None:
    async def down(instrument: Instrument) -> str | None:
        raise StorageUnavailable

    broker = await make_broker(neo.base_url)
    blind = await make_broker(neo.base_url, symbols=down)
    unlisted = ticket(instrument=Instrument.parse("NSE:UNLISTED"))

    for under_test in (broker, blind):
        error = await ending(under_test.place(unlisted, timeout_s=TIMEOUT_S))
        assert (type(error), error.reason_code) == (UNAVAILABLE, "SYMBOL_UNKNOWN")
        await under_test.close()
    assert neo.requests == []


@pytest.mark.parametrize("order_id", ["../x", "a b", "", "x" * 65])
async def test_an_id_that_is_none_is_not_sent(broker: KotakBroker, neo: KotakServer, order_id: str) -> None:
    given = BrokerOrderId(order_id)

    assert isinstance(await ending(broker.cancel(given, timeout_s=TIMEOUT_S)), BrokerRejected)
    assert isinstance(
        await ending(broker.modify(given, quantity=1, limit_price=None, timeout_s=TIMEOUT_S)), BrokerRejected
    )
    assert neo.requests == []


async def test_what_the_sdk_refuses_is_a_definite_no(neo: KotakServer) -> None:
    broker = await make_broker(neo.base_url, symbols=_blank)

    error = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))
    await broker.close()

    assert (type(error), error.reason_code) == (REJECTED, "INVALID_INPUT")
    assert neo.requests == []


async def _blank(instrument: Instrument) -> str | None:
    return ""


# --- how calls end


def no(code: int, text: str = "no", status: int = 200) -> Reply:
    return Reply(body={"stat": "Not_Ok", "errMsg": text, "stCode": code}, status=status)


ENDS: list[tuple[Behaviour, type[BrokerError], str]] = [
    (no(1004, "Insufficient balance."), REJECTED, "INSUFFICIENT_FUNDS"),
    (no(100008, "unauthorized"), REJECTED, "NOT_PERMITTED"),
    (no(1004, "request timed out"), UNKNOWN, "TIMED_OUT_AT_BROKER"),
    (no(429, status=429), UNAVAILABLE, "RATE_LIMITED"),
    (no(403, status=403), UNAVAILABLE, "SESSION_EXPIRED"),
    (no(500, status=500), UNKNOWN, "HTTP_500"),
    (Reply(body=OK, status=500), UNKNOWN, "UNREADABLE_ANSWER"),
    (Reply(text="<html>", status=502), UNKNOWN, "UNREADABLE_ANSWER"),
    (Reply(text="", status=200), UNKNOWN, "UNREADABLE_ANSWER"),
    (Reply(body=[], status=200), UNKNOWN, "UNREADABLE_ANSWER"),
    (Reply(body={"stat": "Ok"}), UNKNOWN, "UNREADABLE_ANSWER"),
    (Drop(), UNKNOWN, "CONNECTION_LOST"),
    (CutShort(), UNKNOWN, "CONNECTION_LOST"),
    (Lose(), UNKNOWN, "CONNECTION_LOST"),
]


@pytest.mark.parametrize(("behaviour", "kind", "reason_code"), ENDS)
async def test_how_a_placement_ends(
    broker: KotakBroker, neo: KotakServer, behaviour: Behaviour, kind: type[BrokerError], reason_code: str
) -> None:
    neo.then(behaviour)

    error = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))

    assert (type(error), error.reason_code) == (kind, reason_code)
    if isinstance(error, BrokerOutcomeUnknown):
        assert error.call_ended
    assert len(neo.requests) == 1  # never twice


async def test_an_order_whose_answer_was_lost_is_found_by_its_tag(
    broker: KotakBroker, neo: KotakServer
) -> None:
    neo.then(Lose())
    await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))

    [found] = (await broker.order_book()).orders

    assert found.tags == (TICKET.tag,)


@pytest.mark.parametrize("behaviour", [Hang(), Trickle()])
async def test_a_call_ends_by_its_deadline_and_for_good(
    broker: KotakBroker, neo: KotakServer, behaviour: Behaviour
) -> None:
    neo.then(behaviour)
    began = time.monotonic()

    error = await ending(broker.place(TICKET, timeout_s=SHORT_S))

    assert time.monotonic() - began < SHORT_S + 0.3
    assert (type(error), error.reason_code) == (UNKNOWN, "TIMEOUT")
    assert isinstance(error, BrokerOutcomeUnknown)
    assert error.call_ended


async def test_a_redirect_is_not_followed_with_an_order(broker: KotakBroker, neo: KotakServer) -> None:
    neo.then(Reply(body={"location": "elsewhere"}, status=307))

    error = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))

    assert type(error) is UNKNOWN
    assert len(neo.requests) == 1


async def test_a_refused_connection_is_not_sent(neo: KotakServer) -> None:
    broker = await make_broker("http://127.0.0.1:1")

    error = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))
    await broker.close()

    assert (type(error), error.reason_code) == (UNAVAILABLE, "UNREACHABLE")


async def test_orders_that_wait_too_long_for_a_thread_are_not_sent(
    broker: KotakBroker, neo: KotakServer
) -> None:
    neo.then(*[Hang()] * 4)  # as many as there are threads
    held = [asyncio.create_task(ending(broker.place(TICKET, timeout_s=2.0))) for _ in range(4)]
    await until(lambda: len(neo.requests) == 4)

    error = await ending(broker.place(TICKET, timeout_s=SHORT_S))

    assert (type(error), error.reason_code) == (UNAVAILABLE, "DEADLINE_PASSED")
    # Changes and reads have threads of their own.
    assert (await broker.order_book()).complete
    assert {type(each) for each in await asyncio.gather(*held)} == {UNKNOWN}
    assert sum(request.path.endswith("place") for request in neo.requests) == 4


async def test_no_time_is_no_request(broker: KotakBroker, neo: KotakServer) -> None:
    error = await ending(broker.place(TICKET, timeout_s=0))

    assert (type(error), error.reason_code) == (UNAVAILABLE, "DEADLINE_PASSED")
    assert neo.requests == []


async def test_closing_cuts_off_what_is_on_its_way(neo: KotakServer) -> None:
    broker = await make_broker(neo.base_url)
    neo.then(Hang())
    call = asyncio.create_task(ending(broker.place(TICKET, timeout_s=TIMEOUT_S)))
    await until(lambda: neo.requests)

    async with asyncio.timeout(2):
        await broker.close()

    assert type(await call) is UNKNOWN
    assert (await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))).reason_code == "CLOSED"


async def test_a_session_that_is_over_is_not_tried_again(broker: KotakBroker, neo: KotakServer) -> None:
    neo.then(no(403, status=403))

    first = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))
    second = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))

    assert [first.reason_code, second.reason_code] == ["SESSION_EXPIRED"] * 2
    assert len(neo.requests) == 1


async def test_without_a_session_nothing_is_sent(neo: KotakServer) -> None:
    store = InMemorySessions()
    broker = await make_broker(neo.base_url, store=store)
    broker._sessions._store = InMemorySessions()

    error = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))
    await broker.close()

    assert (type(error), error.reason_code) == (UNAVAILABLE, "NO_SESSION")
    assert neo.requests == []


# --- reading


async def test_no_data_is_an_empty_book(broker: KotakBroker, neo: KotakServer) -> None:
    neo.then(Reply(body=NO_DATA), Reply(body=NO_DATA))

    read = await broker.order_book()

    assert (read.orders, read.complete) == ((), True)
    assert await broker.trades(ORDER_ID) == ()


async def test_a_book_with_an_unreadable_row_is_not_complete(broker: KotakBroker, neo: KotakServer) -> None:
    neo.then(book(row(), row(nOrdNo="2", qty="?"), "nonsense", row(nOrdNo="3", exSeg="cde_fo")))

    with structlog.testing.capture_logs() as logs:
        read = await broker.order_book()

    assert [order.broker_order_id for order in read.orders] == [ORDER_ID]
    assert not read.complete
    assert {line["broker_order_id"] for line in logs} == {"2", "?"}


@pytest.mark.parametrize("behaviour", [Drop(), Reply(text="<html>"), Reply(body={"stat": "Ok"}), no(1004)])
async def test_a_read_that_fails_is_unavailable(
    broker: KotakBroker, neo: KotakServer, behaviour: Behaviour
) -> None:
    neo.then(behaviour, behaviour)

    assert type(await ending(broker.order_book())) is UNAVAILABLE
    assert type(await ending(broker.trades(ORDER_ID))) is UNAVAILABLE


async def test_trades_of_others_need_not_be_readable(broker: KotakBroker, neo: KotakServer) -> None:
    order_id = await broker.place(ticket(order_type=OrderType.MARKET, limit_price=None), timeout_s=TIMEOUT_S)
    mine = {
        "nOrdNo": order_id, "flId": "7", "fldQty": 10, "avgPrc": "500.05", "exSeg": "nse_cm",
        "trdSym": "RELIANCE-EQ", "flDt": "05-Jan-2026", "flTm": "09:20:01",
    }  # fmt: skip
    neo.then(book({"nOrdNo": "1"}, mine), book({**mine, "fldQty": "?"}))

    [fill] = await broker.trades(order_id)

    assert (fill.quantity, fill.trade_id) == (10, "7")
    assert type(await ending(broker.trades(order_id))) is UNAVAILABLE


# --- secrets


async def test_no_secret_is_told(
    broker: KotakBroker, neo: KotakServer, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = " ".join(PLANTED)
    neo.then(no(1004, echo), no(1004, echo, status=500), Drop(), no(403, echo, status=403))

    told = []
    with structlog.testing.capture_logs() as logs:
        for _ in range(4):
            error = await ending(broker.place(TICKET, timeout_s=TIMEOUT_S))
            told.append("".join(traceback.format_exception(error)))

    text = f"{told} {logs} {caplog.text} {capfd.readouterr()} {broker!r}"
    assert "[redacted]" in text
    for secret in PLANTED[:-1]:  # the last one is never sent anywhere
        assert secret not in text
