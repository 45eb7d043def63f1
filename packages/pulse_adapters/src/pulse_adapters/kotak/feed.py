"""The broker's websocket, for its order messages.

The server has been seen to want one of two greetings. This takes turns until one is acknowledged, as an
unacknowledged socket stays open and silent, and keeps the one that was.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any

import aiohttp
import msgspec

from pulse_adapters.kotak.sessions import BROKER, NeoSession
from pulse_adapters.kotak.wire import read_message
from pulse_adapters.real_broker.rows import UnreadableRow
from pulse_adapters.real_broker.stream import OrderStream, StreamSettings
from pulse_domain.ports.clock import Clock


class FeedSettings(StreamSettings, frozen=True, kw_only=True):
    """ack_s: a greeting that is not acknowledged for so long is the wrong one.
    ping_s: without an answer to such a ping the link is dead.
    look_s: how often a quiet feed looks for a new session."""

    ack_s: float = 5.0
    ping_s: float = 20.0
    look_s: float = 5.0


def greeting(session: NeoSession, *, as_json: bool) -> str:
    """The first frame: the documents write it like this, and the server has been seen to want JSON."""
    if as_json:
        fields = {"type": "cn", "Authorization": session.token, "Sid": session.sid, "src": "WEB"}
        return msgspec.json.encode(fields).decode()
    return f"{{type:cn,Authorization:{session.token},Sid:{session.sid},src:WEB}}"


class OrderFeed(OrderStream[NeoSession]):
    def __init__(
        self,
        settings: FeedSettings,
        clock: Clock,
        rng: Random,
        *,
        current_session: Callable[[], Awaitable[NeoSession]],
    ) -> None:
        super().__init__(
            settings,
            clock,
            rng,
            broker=BROKER,
            name="order feed",
            current_session=current_session,
            quiet_s=settings.look_s,
            quiet_is_dead=False,  # pings tell whether the link is alive
        )
        self._settings = settings
        self._as_json = False

    async def _connect(
        self, http: aiohttp.ClientSession, session: NeoSession, options: dict[str, Any]
    ) -> aiohttp.ClientWebSocketResponse:
        socket: aiohttp.ClientWebSocketResponse = await http.ws_connect(
            session.feed_url, heartbeat=self._settings.ping_s, **options
        )
        return socket

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse, session: NeoSession) -> bool:
        is_understood = await self._is_acknowledged(socket, session)
        if not is_understood:
            self._as_json = not self._as_json
        return is_understood

    async def _is_acknowledged(self, socket: aiohttp.ClientWebSocketResponse, session: NeoSession) -> bool:
        try:
            async with asyncio.timeout(self._settings.ack_s):
                await socket.send_str(greeting(session, as_json=self._as_json))
                message = await socket.receive()
        except (TimeoutError, ConnectionError):
            return False
        if message.type is not aiohttp.WSMsgType.TEXT:
            return False
        try:
            kind, fields = read_message(message.data)
        except UnreadableRow:
            return False
        return kind == "cn" and str(fields.get("ak")).lower() == "ok"

    def _orders_in(self, text: str) -> list[object]:
        kind, message = read_message(text)
        if kind != "order":
            return []
        data = message.get("data")
        return [_named(row) for row in (data if isinstance(data, list) else [data])]


def _named(row: object) -> object:
    # The feed has not been seen to carry the trading symbol in every message, but the name it has.
    if isinstance(row, Mapping) and not row.get("trdSym") and row.get("sym"):
        return {**row, "trdSym": row["sym"]}
    return row
