"""The order feed over a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import structlog

from pulse_adapters.clock import SystemClock
from pulse_adapters.kotak.broker import KotakBroker
from pulse_adapters.kotak.sessions import BROKER
from pulse_domain.orders.model import OrderType
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.contract.kotak_server import KotakServer, Reply, kotak_server
from tests.unit.kotak.make import (
    PLANTED,
    RELIANCE,
    SID,
    TICKET,
    TOKEN,
    make_broker,
    neo_session,
    stored,
    ticket,
    until,
)
from tests.unit.virtual.fixed_market import FixedMarket

MARKET = ticket(order_type=OrderType.MARKET, limit_price=None)


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


async def completed(updates: AsyncIterator[BrokerOrder]) -> BrokerOrder:
    async with asyncio.timeout(5):
        async for order in updates:
            if order.status is BrokerOrderStatus.COMPLETE:
                return order
    raise AssertionError("the updates ended")


@pytest.mark.parametrize("greeting", ["raw", "json"])
async def test_the_greeting_that_is_acknowledged_is_found_and_kept(
    neo: KotakServer, broker: KotakBroker, greeting: str
) -> None:
    neo.greet_by(greeting)
    updates = broker.updates()
    await until(lambda: neo.feed.watchers)
    tried = len(neo.greetings)

    await neo.feed.close()
    await until(lambda: len(neo.greetings) > tried and neo.feed.watchers)
    order_id = await broker.place(MARKET, timeout_s=5)

    assert (await completed(updates)).broker_order_id == order_id
    assert len(neo.greetings) == tried + 1
    assert tried == (1 if greeting == "raw" else 2)
    assert neo.greetings[0] == f"{{type:cn,Authorization:{TOKEN},Sid:{SID},src:WEB}}"


async def test_what_was_missed_is_made_up_for(neo: KotakServer, broker: KotakBroker) -> None:
    neo.greet_by("none")
    updates = broker.updates()
    await until(lambda: len(neo.greetings) >= 2)
    order_id = await broker.place(TICKET, timeout_s=5)

    neo.greet_by("raw")

    found = await completed(updates)
    assert found.broker_order_id == order_id
    assert found.tags == (TICKET.tag,)  # the book's row has it, a push has not


async def test_nonsense_is_left_out(neo: KotakServer, broker: KotakBroker) -> None:
    updates = broker.updates()
    await until(lambda: neo.feed.watchers)

    with structlog.testing.capture_logs() as logs:
        for text in (
            "nonsense",
            "[]",
            json.dumps({"type": "order", "data": {"nOrdNo": "1"}}),
            json.dumps({"type": "order"}),
            json.dumps({"type": "position", "data": {}}),
        ):
            neo.feed.say(text)
        order_id = await broker.place(MARKET, timeout_s=5)
        found = await completed(updates)

    assert found.broker_order_id == order_id
    assert sum(line["event"] == "a message of the order feed is left out" for line in logs) == 4


async def test_a_push_that_names_no_trading_symbol_has_the_name(neo: KotakServer, broker: KotakBroker) -> None:
    updates = broker.updates()
    await until(lambda: neo.feed.watchers)
    row: dict[str, Any] = {
        "nOrdNo": "7", "ordSt": "complete", "exSeg": "nse_cm", "sym": "RELIANCE", "trnsTp": "B",
        "qty": "10", "fldQty": "10", "avgPrc": "500.05", "ordDtTm": "05-Jan-2026 09:20:00",
    }  # fmt: skip

    neo.feed.say(json.dumps({"type": "order", "data": [row]}))

    assert (await completed(updates)).instrument == RELIANCE


async def test_a_new_session_is_a_new_connection(neo: KotakServer) -> None:
    store, clock = InMemorySessions(), SystemClock()
    await store.save(stored(neo_session(neo.base_url, sid="old"), clock=clock))
    broker = await make_broker(neo.base_url, store=store)
    updates = broker.updates()
    await until(lambda: neo.greetings)

    await store.save(stored(neo_session(neo.base_url), clock=clock))

    await until(lambda: neo.feed.watchers)
    assert f"Sid:{SID}," in neo.greetings[-1] or f'"Sid":"{SID}"' in neo.greetings[-1]
    await broker.close()
    with pytest.raises(StopAsyncIteration):
        await anext(updates)


async def test_a_book_that_cannot_be_read_ends_no_connection(neo: KotakServer, broker: KotakBroker) -> None:
    neo.then(Reply(body={}, status=500))
    updates = broker.updates()
    await until(lambda: neo.feed.watchers and neo.requests)

    order_id = await broker.place(MARKET, timeout_s=5)

    assert (await completed(updates)).broker_order_id == order_id


async def test_without_a_listener_there_is_no_connection(neo: KotakServer, broker: KotakBroker) -> None:
    broker.updates()  # let go of at once

    await asyncio.sleep(0.1)

    assert neo.feed.watchers == 0


async def test_no_secret_is_told(neo: KotakServer) -> None:
    store = InMemorySessions()
    session = neo_session("http://127.0.0.1:1")
    await store.save(stored(session, clock=SystemClock()))
    with structlog.testing.capture_logs() as logs:
        broker = await make_broker(neo.base_url, store=store)
        updates = broker.updates()
        await until(lambda: len(logs) >= 3)
        await broker.close()

    assert [store.down, updates is not None, await store.newest(BROKER) is not None] == [False, True, True]
    assert not any(secret in str(logs) for secret in PLANTED)
