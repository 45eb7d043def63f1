"""The market feed of the simulated Kotak, read by the broker's own client."""

import asyncio
import json
from importlib import import_module
from typing import Any

import aiohttp

from pulse.simulate import DEFAULT_UCC
from tests.integration.simulator.neo import KotakProcess

WAIT_S = 5.0


def token(segment: str, number: str) -> Any:
    return import_module("neo_api_client.websocket.feed.models").WsToken(
        exchange_segment=segment, instrument_token=number
    )


async def next_of(feed: Any, number: str, kind: str) -> Any:
    async with asyncio.timeout(WAIT_S):
        async for message in feed:
            if type(message).__name__ == kind and str(getattr(message, "instrument_token", number)) == number:
                return message
    raise AssertionError("the feed ended")


async def test_the_brokers_own_client_reads_every_kind(neo: Any, kotak_process: KotakProcess) -> None:
    async with neo.create_websocket() as feed:
        await feed.subscribe_scrips_lite([token("nse_cm", "1594")])
        mini = await next_of(feed, "1594", "SFeedScripLite")
        await feed.unsubscribe_scrips_lite([token("nse_cm", "1594")])
        await feed.subscribe_depth([token("nse_cm", "1594")])
        picture = await next_of(feed, "1594", "SFeedScrip")
        kotak_process.pin("NSE:INFY", "1510", "1509.90", "1510.00")
        moved = await next_of(feed, "1594", "SFeedScrip")
        await feed.subscribe_exchange()
        status = await next_of(feed, "", "SFeedMarketStatus")

    assert (mini.last_traded_price, mini.instrument_token) == (1500.0, "1594")
    assert mini.trading_symbol == "INFY-EQ"
    assert (picture.last_traded_price, len(picture.buy), len(picture.sell)) == (1500.0, 5, 5)
    assert (picture.buy[0].price, picture.sell[0].price) == (1499.9, 1500.0)
    assert moved.last_traded_price == 1510.0
    assert status.status_code == 1


async def test_a_stranger_is_sent_away(kotak_process: KotakProcess) -> None:
    url = kotak_process.url.replace("http", "ws", 1) + "/apifeed"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        first = await socket.receive_json(timeout=WAIT_S)
        await socket.send_str(json.dumps({"user": DEFAULT_UCC, "auth": "nobody", "format": "native_batch"}))
        second = await socket.receive_json(timeout=WAIT_S)
        await socket.receive(timeout=WAIT_S)

    assert (first["message_code"], second["message_code"]) == (1119, 1120)
    assert first["exchanges"]["nse_cm"]["divider"] == 100
    assert socket.close_code == 1008
