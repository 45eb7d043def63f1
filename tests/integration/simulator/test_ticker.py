"""The websocket: binary ticks, order messages, and who may connect."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from kiteconnect import KiteConnect, KiteTicker

from tests.integration.simulator.process import API_KEY, KiteProcess
from tests.integration.simulator.test_orders import LIMIT, placed

INFY = 408065


@asynccontextmanager
async def socket(process: KiteProcess, token: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{process.ticker_url}/?api_key={API_KEY}&access_token={token}") as opened,
    ):
        yield opened


def parsed(message: aiohttp.WSMessage) -> list[dict[str, Any]]:
    ticks: list[dict[str, Any]] = KiteTicker("key", "token")._parse_binary(message.data)
    return ticks


async def ticks_of(opened: aiohttp.ClientWebSocketResponse) -> list[dict[str, Any]]:
    while True:
        message = await opened.receive(timeout=5)
        if message.type is aiohttp.WSMsgType.BINARY and len(message.data) > 2:
            return parsed(message)


async def orders_of(opened: aiohttp.ClientWebSocketResponse, count: int) -> list[dict[str, Any]]:
    """The data of the next order messages."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        message = await opened.receive(timeout=5)
        if message.type is aiohttp.WSMsgType.TEXT:
            body = json.loads(message.data)
            assert (body["type"], body["id"]) == ("order", "")
            found.append(body["data"])
    return found


async def test_a_subscription_gives_quotes_and_modes_change_it(kite_process: KiteProcess) -> None:
    async with socket(kite_process, kite_process.access_token()) as opened:
        await opened.send_json({"a": "subscribe", "v": [INFY]})
        (quote,) = await ticks_of(opened)
        await opened.send_json({"a": "mode", "v": ["full", [INFY]]})
        (full,) = await ticks_of(opened)
        await opened.send_json({"a": "mode", "v": ["ltp", [INFY]]})
        (ltp,) = await ticks_of(opened)

    assert (quote["mode"], quote["last_price"]) == ("quote", 1500)
    assert (full["mode"], full["depth"]["sell"][0]["price"]) == ("full", 1500)
    assert ltp == {"tradable": True, "mode": "ltp", "instrument_token": INFY, "last_price": 1500}


async def test_a_change_of_price_is_a_tick_and_silence_is_a_heartbeat(kite_process: KiteProcess) -> None:
    async with socket(kite_process, kite_process.access_token()) as opened:
        await opened.send_json({"a": "subscribe", "v": [INFY, "738561"]})
        await opened.send_json({"a": "mode", "v": ["ltp", [INFY]]})
        await ticks_of(opened)
        await asyncio.to_thread(kite_process.pin, "NSE:INFY", "1510")
        while (ticks := await ticks_of(opened))[0]["last_price"] != 1510:
            pass
        # Now nothing moves: a token sent as a string gives no ticks.
        quiet = await opened.receive(timeout=5)

    assert [tick["instrument_token"] for tick in ticks] == [INFY]
    assert quiet.data == b"\x00"


async def test_order_messages_come_without_a_subscription(kite_process: KiteProcess) -> None:
    kite = kite_process.client()
    async with socket(kite_process, kite.access_token) as opened:
        order_id = await asyncio.to_thread(placed, kite, tag="watched")
        (opening,) = await orders_of(opened, 1)
        await asyncio.to_thread(kite.modify_order, "regular", order_id, price=1390.0)
        (changed,) = await orders_of(opened, 1)
        await asyncio.to_thread(kite.cancel_order, "regular", order_id)
        (ended,) = await orders_of(opened, 1)

    assert [message["order_id"] for message in (opening, changed, ended)] == [order_id] * 3
    assert [message["status"] for message in (opening, changed, ended)] == ["OPEN", "UPDATE", "CANCELLED"]
    assert (changed["price"], changed["tag"]) == (1390, "watched")


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("lose_update", ["COMPLETE"]),
        ("double_update", ["OPEN", "OPEN", "COMPLETE"]),
        ("delay_update", ["COMPLETE", "OPEN"]),
    ],
)
async def test_updates_can_be_lost_doubled_and_reordered(
    kite_process: KiteProcess, kind: str, wanted: list[str]
) -> None:
    kite = kite_process.client()
    # The first update is of the acceptance, which is not pushed.
    kite_process.fault(kind, skip=1)
    async with socket(kite_process, kite.access_token) as opened:
        await asyncio.to_thread(placed, kite, price=1501.0)
        seen = await orders_of(opened, len(wanted))

    assert [message["status"] for message in seen] == wanted


async def test_a_dead_token_is_refused_at_the_handshake_and_an_open_socket_streams_on(
    kite_process: KiteProcess,
) -> None:
    token = kite_process.access_token()
    async with socket(kite_process, token) as opened:
        kite_process.access_token()  # another login replaces the session
        await opened.send_json({"a": "subscribe", "v": [INFY]})
        assert await ticks_of(opened)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with socket(kite_process, token):
                pass

    assert refused.value.status == 403


async def test_a_fourth_connection_is_refused(kite_process: KiteProcess) -> None:
    token = kite_process.access_token()
    async with socket(kite_process, token), socket(kite_process, token), socket(kite_process, token):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with socket(kite_process, token):
                pass


async def test_nonsense_and_too_many_tokens_are_answered_with_an_error(kite_process: KiteProcess) -> None:
    async with socket(kite_process, kite_process.access_token()) as opened:
        for said in ("nonsense", '{"a": "fly", "v": []}', json.dumps({"a": "subscribe", "v": [*range(3001)]})):
            await opened.send_str(said)
            answer = json.loads((await opened.receive(timeout=5)).data)
            assert answer["type"] == "error"


_WATCHER = """
import json, os, sys
from kiteconnect import KiteTicker

ticker = KiteTicker(sys.argv[1], os.environ["TOKEN"], root=sys.argv[2])

def on_connect(ws, response):
    ws.subscribe([408065])
    ws.set_mode(ws.MODE_FULL, [408065])

def on_ticks(ws, ticks):
    if ticks[0]["mode"] == "full":
        print("tick", ticks[0]["last_price"], flush=True)

def on_order_update(ws, data):
    print("order", data["status"], flush=True)

ticker.on_connect, ticker.on_ticks, ticker.on_order_update = on_connect, on_ticks, on_order_update
ticker.connect()
"""


def test_the_brokers_own_ticker_client_sees_ticks_and_orders(
    kite: KiteConnect, kite_process: KiteProcess
) -> None:
    watcher = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _WATCHER, API_KEY, kite_process.ticker_url],
        stdout=subprocess.PIPE,
        env={"TOKEN": kite.access_token, "PATH": ""},
        text=True,
    )
    assert watcher.stdout is not None
    try:
        assert watcher.stdout.readline() == "tick 1500.0\n"
        kite.place_order(**{**LIMIT, "price": 1501.0})
        statuses = _two_orders(watcher)
    finally:
        watcher.kill()
        watcher.wait()
        watcher.stdout.close()

    assert statuses == ["OPEN", "COMPLETE"]


def _two_orders(watcher: subprocess.Popen[str]) -> list[str]:
    assert watcher.stdout is not None
    statuses: list[str] = []
    while len(statuses) < 2:
        line = watcher.stdout.readline()
        assert line, "the watcher has ended"
        if line.startswith("order"):
            statuses.append(line.split()[1])
    return statuses


@pytest.mark.parametrize(("code", "seen"), [(1001, 1001), (4000, 4000), (None, 1006)])
async def test_sockets_can_be_closed_or_cut(kite_process: KiteProcess, code: int | None, seen: int) -> None:
    async with socket(kite_process, kite_process.access_token()) as opened:
        await asyncio.to_thread(kite_process.control, "POST", "/sockets/close", {"code": code})
        while (await opened.receive(timeout=5)).type not in (
            aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR,
        ):  # fmt: skip
            pass

    assert opened.close_code == seen


async def test_a_notice_of_the_broker_is_a_text_frame(kite_process: KiteProcess) -> None:
    notice = '{"type": "message", "data": "maintenance tonight"}'
    async with socket(kite_process, kite_process.access_token()) as opened:
        await asyncio.to_thread(kite_process.control, "POST", "/sockets/say", {"text": notice})
        while (message := await opened.receive(timeout=5)).type is not aiohttp.WSMsgType.TEXT:
            pass

    assert message.data == notice
