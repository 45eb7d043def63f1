"""The order feed of the simulated Kotak: greetings, every step of an order, and what faults do to messages."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.integration.simulator.neo import KotakProcess, in_status, placed

ACKNOWLEDGED = {"ak": "ok", "type": "cn", "msg": "connected"}
WAIT_S = 5.0


def raw(session: dict[str, str]) -> str:
    return f"{{type:cn,Authorization:{session['Auth']},Sid:{session['Sid']},src:WEB}}"


def as_json(session: dict[str, str]) -> str:
    return json.dumps({"type": "cn", "Authorization": session["Auth"], "Sid": session["Sid"], "src": "WEB"})


class Listener:
    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def message(self) -> dict[str, Any]:
        found: dict[str, Any] = await self.socket.receive_json(timeout=WAIT_S)
        return found

    async def states(self, order_id: str, until: str) -> list[str]:
        """The states that are told of an order, up to one."""
        states: list[str] = []
        while not states or states[-1] != until:
            message = await self.message()
            if message["type"] == "order" and message["data"]["nOrdNo"] == order_id:
                states.append(message["data"]["ordSt"])
        return states


@asynccontextmanager
async def listening(process: KotakProcess) -> AsyncIterator[Listener]:
    session = await asyncio.to_thread(process.session)
    async with aiohttp.ClientSession() as http, http.ws_connect(process.feed_url) as socket:
        await socket.send_str(raw(session))
        listener = Listener(socket)
        assert await listener.message() == ACKNOWLEDGED
        yield listener


@pytest.fixture(autouse=True)
def any_greeting(kotak_process: KotakProcess) -> None:
    kotak_process.control("POST", "/greeting", {"greeting": "any"})


@pytest.mark.parametrize(
    ("wanted", "by_raw", "by_json"),
    [("any", True, True), ("raw", True, False), ("json", False, True), ("none", False, False)],
)
async def test_a_greeting_that_is_not_wanted_is_met_with_silence(
    kotak_process: KotakProcess, wanted: str, by_raw: bool, by_json: bool
) -> None:
    kotak_process.control("POST", "/greeting", {"greeting": wanted})
    session = kotak_process.session()
    seen = []
    async with aiohttp.ClientSession() as http:
        for greeting in (raw(session), as_json(session)):
            async with http.ws_connect(kotak_process.feed_url) as socket:
                await socket.send_str(greeting)
                try:
                    seen.append(await socket.receive_json(timeout=0.3) == ACKNOWLEDGED)
                except TimeoutError:
                    assert not socket.closed
                    seen.append(False)

    assert seen == [by_raw, by_json]


@pytest.mark.parametrize(
    "greeting", ["nonsense", "{}", "{type:cn,Authorization:x,Sid:y,src:WEB}", '{"type":"cn"}']
)
async def test_a_greeting_of_nobody_is_met_with_silence(kotak_process: KotakProcess, greeting: str) -> None:
    async with aiohttp.ClientSession() as http, http.ws_connect(kotak_process.feed_url) as socket:
        await socket.send_str(greeting)
        with pytest.raises(TimeoutError):
            await socket.receive(timeout=0.3)
        assert not socket.closed


async def test_every_step_of_an_order_is_told(neo: Any, kotak_process: KotakProcess) -> None:
    async with listening(kotak_process) as listener:
        order_id = await asyncio.to_thread(placed, neo, tag="told")
        lived = await listener.states(order_id, "open")
        await asyncio.to_thread(neo.cancel_order, order_id=order_id)
        ended = await listener.states(order_id, "cancelled")

    assert lived == ["put order req received", "validation pending", "open pending", "open"]
    assert ended == ["cancel pending", "cancelled"]


async def test_a_fill_is_told_with_its_position(neo: Any, kotak_process: KotakProcess) -> None:
    kotak_process.pin("NSE:SBIN", "800", "799.95", "800")
    async with listening(kotak_process) as listener:
        order_id = await asyncio.to_thread(
            placed, neo, trading_symbol="SBIN-EQ", price="801", product="MIS", tag="hidden"
        )
        while (message := await listener.message())["type"] != "order" or (
            message["data"]["nOrdNo"],
            message["data"]["ordSt"],
        ) != (order_id, "complete"):
            continue
        position = await listener.message()

    assert "GuiOrdId" not in message["data"]
    assert (message["data"]["fldQty"], message["data"]["avgPrc"]) == (10, "800.00")
    assert position["type"] == "position"
    assert (position["data"]["flBuyQty"], position["data"]["sym"]) == ("10", "SBIN")


async def test_where_everything_stands_is_told_again_after_a_reconnect(
    neo: Any, kotak_process: KotakProcess
) -> None:
    order_id = placed(neo)
    in_status(neo, order_id, "open")
    async with listening(kotak_process) as listener:
        assert await listener.states(order_id, "open") == ["open"]
        kotak_process.control("POST", "/sockets/close", {"code": 1012})
        while not listener.socket.closed:
            await listener.socket.receive(timeout=WAIT_S)
        assert listener.socket.close_code == 1012
    async with listening(kotak_process) as listener:
        assert await listener.states(order_id, "open") == ["open"]


@pytest.mark.parametrize(
    ("kind", "skip", "told"),
    [
        ("lose_update", 1, ["put order req received", "cancel pending", "cancelled"]),
        ("double_update", 0, ["put order req received", "put order req received", "validation pending",
                              "open pending", "open", "cancel pending", "cancelled"]),
        ("delay_update", 1, ["put order req received", "cancel pending", "cancelled", "validation pending",
                             "open pending", "open"]),
    ],
)  # fmt: skip
async def test_messages_are_lost_doubled_and_late(
    neo: Any, kotak_process: KotakProcess, kind: str, skip: int, told: list[str]
) -> None:
    async with listening(kotak_process) as listener:
        kotak_process.fault(kind, skip=skip)
        order_id = await asyncio.to_thread(placed, neo)
        await asyncio.to_thread(in_status, neo, order_id, "open")
        await asyncio.to_thread(neo.cancel_order, order_id=order_id)
        states = await listener.states(order_id, told[-1])

    assert states == told


async def test_the_brokers_own_client_hears_it(neo: Any, kotak_process: KotakProcess) -> None:
    async with neo.create_order_feed() as feed:
        order_id = await asyncio.to_thread(placed, neo)
        async with asyncio.timeout(WAIT_S):
            async for message in feed:
                if getattr(message, "order_id", None) == order_id or order_id in str(message):
                    break

    assert order_id in str(message)
