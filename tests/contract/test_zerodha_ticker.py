"""Order updates: the websocket, what it misses, and postbacks."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
import structlog
from aiohttp import WSMsgType, web

from pulse_adapters.clock import SystemClock
from pulse_adapters.zerodha.broker import ZerodhaBroker
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus
from pulse_domain.testing.memory_sessions import InMemorySessions
from tests.unit.zerodha.kite_server import KiteServer, kite_server, success
from tests.unit.zerodha.make import (
    API_KEY,
    PATIENCE_S,
    PLANTED,
    TICKET,
    TOKEN,
    make_broker,
    session,
    until,
)

IST = ZoneInfo("Asia/Kolkata")


class TickerServer:
    """The broker's websocket side. What the next connections meet is said beforehand; others are served."""

    def __init__(self) -> None:
        self.url = ""
        self.tokens: list[str] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.attempts: list[float] = []
        self.refuse: deque[int] = deque()
        self.heartbeats = True

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.attempts.append(asyncio.get_running_loop().time())
        if self.refuse:
            return web.Response(status=self.refuse.popleft())
        assert request.query["api_key"] == API_KEY
        assert request.headers["X-Kite-Version"] == "3"
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.tokens.append(request.query["access_token"])
        self.sockets.append(socket)
        beating = asyncio.create_task(self._beat(socket))
        try:
            async for message in socket:
                assert message.type is not WSMsgType.TEXT, "the ticker asks for nothing"
        finally:
            beating.cancel()
        return socket

    async def _beat(self, socket: web.WebSocketResponse) -> None:
        while True:
            await asyncio.sleep(0.05)
            if self.heartbeats and not socket.closed:
                await socket.send_bytes(b"\x00")

    async def tell(self, **changes: Any) -> None:
        await self.sockets[-1].send_str(json.dumps({"type": "order", "id": "", "data": order(**changes)}))


@asynccontextmanager
async def ticker_server() -> AsyncIterator[TickerServer]:
    ticker = TickerServer()
    app = web.Application()
    app.router.add_get("/", ticker.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ticker.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield ticker
    finally:
        for socket in ticker.sockets:
            await socket.close()
        await runner.cleanup()


def order(**changes: Any) -> dict[str, Any]:
    return {
        "order_id": "1",
        "status": "OPEN",
        "exchange": "NSE",
        "tradingsymbol": "SBIN",
        "transaction_type": "BUY",
        "quantity": 10,
        "filled_quantity": 0,
        "average_price": 0,
        "order_timestamp": "2026-01-05 09:20:00",
        "tag": TICKET.tag,
        "checksum": "",
        **changes,
    }


@pytest_asyncio.fixture
async def kite() -> AsyncIterator[KiteServer]:
    async with kite_server() as server:
        yield server


@pytest_asyncio.fixture
async def ticker() -> AsyncIterator[TickerServer]:
    async with ticker_server() as server:
        yield server


@pytest.fixture
def store() -> InMemorySessions:
    return InMemorySessions()


@pytest_asyncio.fixture
async def broker(
    kite: KiteServer, ticker: TickerServer, store: InMemorySessions
) -> AsyncIterator[ZerodhaBroker]:
    kite.then(*[success([])] * 50)  # what the book has when the ticker connects
    broker = await make_broker(kite.base_url, ticker_url=ticker.url, store=store)
    yield broker
    await broker.close()


async def get(updates: AsyncIterator[BrokerOrder]) -> BrokerOrder:
    return await asyncio.wait_for(anext(updates), PATIENCE_S)


async def test_an_order_message_is_an_update_for_every_subscriber(
    broker: ZerodhaBroker, kite: KiteServer, ticker: TickerServer
) -> None:
    one, other = broker.updates(), broker.updates()
    await until(lambda: kite.requests)

    await ticker.tell(status="COMPLETE", filled_quantity=10, average_price=500.05)

    for updates in (one, other):
        row = await get(updates)
        assert (row.broker_order_id, row.status, row.filled_quantity) == ("1", BrokerOrderStatus.COMPLETE, 10)
        assert row.tags == (TICKET.tag,)
    assert ticker.tokens == [TOKEN], "one connection for all"


async def test_what_is_no_order_message_is_left_out(
    broker: ZerodhaBroker, kite: KiteServer, ticker: TickerServer
) -> None:
    updates = broker.updates()
    await until(lambda: kite.requests)

    for text in (
        "{",
        "[]",
        '"order"',
        '{"type": "message", "data": "holiday tomorrow"}',
        '{"type": "error", "data": "no"}',
        '{"type": "order"}',
        '{"type": "order", "data": {"order_id": "9"}}',
        '{"data": 1}',
    ):
        await ticker.sockets[0].send_str(text)
    await ticker.sockets[0].send_bytes(b"\x00\x01\x00\x08" + bytes(8))
    await ticker.tell()

    assert (await get(updates)).broker_order_id == "1"
    assert len(ticker.sockets) == 1


async def test_a_lost_connection_is_made_again_and_what_was_missed_is_read(
    broker: ZerodhaBroker, kite: KiteServer, ticker: TickerServer
) -> None:
    updates = broker.updates()
    await until(lambda: kite.requests)
    now = datetime.now(IST)

    def at(ago: timedelta) -> str:
        return (now - ago).strftime("%Y-%m-%d %H:%M:%S")

    kite._script.clear()
    kite.then(
        success(
            [
                order(order_id="old", order_timestamp=at(timedelta(minutes=5))),
                order(order_id="missed", order_timestamp=at(timedelta(0))),
                order(
                    order_id="filled",
                    order_timestamp=at(timedelta(minutes=5)),
                    exchange_update_timestamp=at(timedelta(0)),
                ),
            ]
        )
    )
    await ticker.sockets[0].close()

    rows = [await get(updates), await get(updates)]
    await until(lambda: len(ticker.sockets) == 2)
    await ticker.tell(order_id="next")
    rows.append(await get(updates))

    assert [row.broker_order_id for row in rows] == ["missed", "filled", "next"]


async def test_a_silent_connection_is_given_up(
    broker: ZerodhaBroker, kite: KiteServer, ticker: TickerServer
) -> None:
    ticker.heartbeats = False
    updates = broker.updates()

    await until(lambda: len(ticker.sockets) == 2)

    ticker.heartbeats = True
    await until(lambda: len(kite.requests) == 2)
    await ticker.tell()
    assert (await get(updates)).broker_order_id == "1"


async def test_waits_grow_between_failures(broker: ZerodhaBroker, ticker: TickerServer) -> None:
    ticker.refuse.extend([403, 500, 403, 502])

    updates = broker.updates()
    await until(lambda: ticker.sockets)

    gaps = [later - earlier for earlier, later in zip(ticker.attempts, ticker.attempts[1:], strict=False)]
    # Half of 50, 100, 200, 200 ms and more.
    assert all(gap >= least for gap, least in zip(gaps, (0.025, 0.05, 0.1, 0.1), strict=True))
    del updates


async def test_a_new_login_makes_a_new_connection(
    broker: ZerodhaBroker, kite: KiteServer, ticker: TickerServer, store: InMemorySessions
) -> None:
    updates = broker.updates()
    await until(lambda: kite.requests)

    await store.save(session("another-token", clock=SystemClock()))

    await until(lambda: ticker.tokens == [TOKEN, "another-token"])
    del updates


async def test_it_connects_soon_after_a_login_however_long_there_was_none(
    broker: ZerodhaBroker, kite: KiteServer, ticker: TickerServer, store: InMemorySessions
) -> None:
    await store.save(session("expired", clock=SystemClock(), hours=-1))
    await asyncio.sleep(0.1)
    with structlog.testing.capture_logs() as logs:
        updates = broker.updates()
        await asyncio.sleep(0.5)
        before = len(ticker.attempts)
        await store.save(session(clock=SystemClock()))
        await until(lambda: ticker.tokens == [TOKEN])

    assert before == 0
    assert sum("not connected" in line["event"] for line in logs) == 0
    del updates


async def test_without_subscribers_there_is_no_connection(
    broker: ZerodhaBroker, kite: KiteServer, ticker: TickerServer
) -> None:
    updates = broker.updates()
    await until(lambda: kite.requests)

    del updates
    await until(lambda: ticker.sockets[0].closed)

    again = broker.updates()
    await until(lambda: len(ticker.sockets) == 2)
    del again


async def test_close_ends_the_updates(broker: ZerodhaBroker, kite: KiteServer) -> None:
    updates = broker.updates()
    await until(lambda: kite.requests)

    await broker.close()

    assert [row async for row in updates] == []
    assert [row async for row in broker.updates()] == []


async def test_the_address_with_its_secrets_is_not_logged(kite: KiteServer, ticker: TickerServer) -> None:
    ticker.refuse.extend([403, 403])
    with structlog.testing.capture_logs() as logs:
        refused = await make_broker(kite.base_url, ticker_url=ticker.url)
        updates = refused.updates()
        await until(lambda: len(ticker.attempts) > 2)
        await refused.close()
        unreachable = await make_broker(kite.base_url, ticker_url="ws://127.0.0.1:1")
        more = unreachable.updates()
        await asyncio.sleep(0.2)
        await unreachable.close()

    del updates, more
    reasons = [line.get("reason", "") for line in logs]
    assert "handshake refused with 403" in reasons
    assert any("no connection" in reason for reason in reasons)
    assert all(secret not in str(logs) for secret in PLANTED)
