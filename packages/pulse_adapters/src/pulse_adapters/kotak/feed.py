"""The broker's websocket for order messages: hints, as the order book has the truth.

The SDK's own is not used: it gives up after five attempts, and knows only one of the two greetings that the
server has been seen to want. This one takes turns until a greeting is acknowledged, as an unacknowledged
socket stays open and silent; keeps the one that was; and waits longer after each failure.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random

import aiohttp
import msgspec
import structlog
from msgspec import Struct

from pulse_adapters.kotak.client import NeoSession
from pulse_adapters.kotak.sessions import BROKER
from pulse_adapters.kotak.wire import UnreadableRow, read_message
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

_MESSAGE_BYTES_MAX = 4 * 1024 * 1024
_GOODBYE_S = 2.0


class FeedSettings(Struct, frozen=True, kw_only=True):
    """ack_s: a greeting that is not acknowledged for so long is the wrong one.
    ping_s: without an answer to such a ping the link is dead.
    look_s: how often a quiet feed looks for a new session.
    steady_s: a connection that lasted so long was a good one, and the next wait is the shortest again."""

    connect_timeout_s: float = 10.0
    ack_s: float = 5.0
    ping_s: float = 20.0
    look_s: float = 5.0
    steady_s: float = 30.0
    wait_s: float = 1.0
    wait_max_s: float = 60.0


def greeting(session: NeoSession, *, as_json: bool) -> str:
    """The first frame: the documents write it like this, and the server has been seen to want JSON."""
    if as_json:
        fields = {"type": "cn", "Authorization": session.token, "Sid": session.sid, "src": "WEB"}
        return msgspec.json.encode(fields).decode()
    return f"{{type:cn,Authorization:{session.token},Sid:{session.sid},src:WEB}}"


class OrderFeed:
    """current_session: asked again while connected, so that a new login makes a new connection.
    on_connected: called when messages come from now on: what was missed before should be read.
    on_order: called with what an order message carries, one after the other.
    is_wanted: asked at every message; once it says no, the feed ends.
    """

    def __init__(
        self,
        settings: FeedSettings,
        clock: Clock,
        rng: Random,
        *,
        current_session: Callable[[], Awaitable[NeoSession]],
        on_connected: Callable[[], Awaitable[None]],
        on_order: Callable[[object], Awaitable[None]],
        is_wanted: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._current_session = current_session
        self._on_connected = on_connected
        self._on_order = on_order
        self._is_wanted = is_wanted
        self._as_json = False

    async def run(self) -> None:
        """Connect again and again, until cancelled or not wanted."""
        failures = 0
        async with aiohttp.ClientSession() as http:
            while self._is_wanted():
                try:
                    session = await self._current_session()
                except BrokerUnavailable:
                    # Told by the sessions already, and there may be one at any moment.
                    await self._clock.sleep(self._settings.wait_s)
                    continue
                began = self._clock.monotonic()
                reason = await self._connection(http, session)
                lasted_s = self._clock.monotonic() - began
                failures = 0 if lasted_s >= self._settings.steady_s else failures + 1
                if self._is_wanted():
                    wait_s = self._wait_s(failures)
                    log.warning(
                        "the order feed is not connected", broker=BROKER, reason=reason, wait_s=round(wait_s, 1)
                    )
                    await self._clock.sleep(wait_s)

    def _wait_s(self, failures: int) -> float:
        longest = min(self._settings.wait_max_s, self._settings.wait_s * 2.0 ** min(max(0, failures - 1), 30))
        # Many processes that lost the broker together should not all come back at once.
        return longest * self._rng.uniform(0.5, 1.0)

    async def _connection(self, http: aiohttp.ClientSession, session: NeoSession) -> str:
        """One connection, until it ends. Returns why, in words that hold no secret."""
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                socket = await http.ws_connect(
                    session.feed_url,
                    max_msg_size=_MESSAGE_BYTES_MAX,
                    heartbeat=self._settings.ping_s,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_GOODBYE_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            return f"handshake refused with {error.status}"
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
            return f"no connection: {type(error).__name__}"
        try:
            if not await self._greet(socket, session):
                self._as_json = not self._as_json
                return "the greeting is not acknowledged"
            await self._on_connected()
            return await self._receive(socket, session)
        except (aiohttp.ClientError, ConnectionError) as error:
            return f"broken: {type(error).__name__}"
        finally:
            await socket.close()

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse, session: NeoSession) -> bool:
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

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse, session: NeoSession) -> str:
        while self._is_wanted():
            try:
                async with asyncio.timeout(self._settings.look_s):
                    message = await socket.receive()
            except TimeoutError:
                message = None  # quiet: pings tell whether the link is alive
            if message is not None:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._take(message.data)
                elif message.type is not aiohttp.WSMsgType.BINARY:
                    return f"closed with {socket.close_code}"
            # An open connection outlives its session: but the next login is one of its own.
            if await self._is_replaced(session):
                return "a new session"
        return "not wanted"

    async def _is_replaced(self, session: NeoSession) -> bool:
        try:
            return await self._current_session() != session
        except BrokerUnavailable:
            return False

    async def _take(self, text: str) -> None:
        try:
            kind, message = read_message(text)
            if kind == "order":
                data = message.get("data")
                for row in data if isinstance(data, list) else [data]:
                    await self._on_order(_named(row))
        except UnreadableRow as error:
            log.warning("a message of the order feed is left out", broker=BROKER, reason=str(error))


def _named(row: object) -> object:
    # The feed has not been seen to carry the trading symbol in every message, but the name it has.
    if isinstance(row, Mapping) and not row.get("trdSym") and row.get("sym"):
        return {**row, "trdSym": row["sym"]}
    return row
