"""The websocket: ticks for what a client subscribes to, and messages about its user's orders.

Credentials are checked at the handshake only: an open socket streams on when the token has died.
"""

import asyncio
from typing import Any, ClassVar

import msgspec
import structlog
from aiohttp import WSCloseCode, web
from msgspec import Struct

from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.kite.errors import KiteError
from pulse_adapters.simulator.kite.packets import HEARTBEAT, Mode, frame, packet
from pulse_adapters.simulator.kite.sessions import Sessions
from pulse_adapters.simulator.kite.wire import Postback
from pulse_adapters.simulator.sockets import Sockets, open_connection

CONNECTIONS_MAX = 3
TOKENS_MAX = 3000
_LOOK_INTERVAL_S = 0.5
_HEARTBEAT_S = 2.5
_PACKETS_PER_FRAME = 500
# The exchange's time in a full packet: it alone makes no news.
_TIMESTAMP = slice(60, 64)

log = structlog.get_logger(__name__)


class _Message(Struct):
    a: str
    v: Any


class _Text(Struct, frozen=True):
    type: str
    data: Any
    id: str = ""


class Ticker:
    """All open sockets."""

    def __init__(self, desk: Desk, sessions: Sessions) -> None:
        self._desk = desk
        self._sessions = sessions
        self._sockets = Sockets()

    @property
    def is_watched(self) -> bool:
        return bool(self._sockets)

    def push(self, message: Postback) -> None:
        """Tell every socket of an order; a client too far behind loses it."""
        self.say(msgspec.json.encode(_Text("order", message)).decode())

    def say(self, body: str) -> None:
        """Send a text frame to every socket."""
        self._sockets.say(body)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Upgrade, and stream until one side closes."""
        try:
            self._sessions.check(request.query.get("api_key", ""), request.query.get("access_token", ""))
        except KiteError:
            return web.Response(status=403, text="Forbidden")
        if len(self._sockets) >= CONNECTIONS_MAX:
            return web.Response(status=403, text="Forbidden: too many connections")
        connection = await open_connection(request)
        self._sockets.add(connection)
        stream = _Stream(self._desk, connection.socket)
        try:
            await connection.run(stream.take, stream.tick())
        finally:
            self._sockets.discard(connection)
        return connection.socket

    async def close(self, code: int | None = WSCloseCode.GOING_AWAY) -> None:
        """Close every socket with a code, or cut it."""
        await self._sockets.close(code)


class _Stream:
    """What one client has subscribed to."""

    _decoder: ClassVar = msgspec.json.Decoder(_Message)

    def __init__(self, desk: Desk, socket: web.WebSocketResponse) -> None:
        self._desk = desk
        self._socket = socket
        self._modes: dict[int, Mode] = {}
        self._sent: dict[int, bytes] = {}
        self._looked = asyncio.Event()

    async def take(self, text: str) -> None:
        try:
            message = self._decoder.decode(text)
            match message.a, message.v:
                case "subscribe", list(tokens):
                    await self._subscribe(_numbers(tokens))
                case "unsubscribe", list(tokens):
                    for token in _numbers(tokens):
                        self._modes.pop(token, None)
                        self._sent.pop(token, None)
                case "mode", [str(mode), list(tokens)]:
                    self._set_mode(Mode(mode), _numbers(tokens))
                case _:
                    raise ValueError(f"unknown action {message.a}")
        except (msgspec.DecodeError, ValueError) as error:
            await self._socket.send_str(
                msgspec.json.encode(_Text("error", f"Invalid message: {error}")).decode()
            )
        self._looked.set()

    async def _subscribe(self, tokens: list[int]) -> None:
        if len(self._modes.keys() | set(tokens)) > TOKENS_MAX:
            raise ValueError(f"at most {TOKENS_MAX} instruments can be subscribed to")
        for token in tokens:
            if self._desk.catalog.by_token(token) is not None:
                self._modes.setdefault(token, Mode.QUOTE)

    def _set_mode(self, mode: Mode, tokens: list[int]) -> None:
        for token in tokens:
            if token in self._modes:
                self._modes[token] = mode
                self._sent.pop(token, None)

    async def tick(self) -> None:
        """Send what has changed at every look, and a heartbeat where nothing has for a while."""
        clock = self._desk.clock
        quiet_since = clock.monotonic()
        while True:
            packets = await self._news()
            for start in range(0, len(packets), _PACKETS_PER_FRAME):
                await self._socket.send_bytes(frame(packets[start : start + _PACKETS_PER_FRAME]))
            if packets:
                quiet_since = clock.monotonic()
            elif clock.monotonic() - quiet_since >= _HEARTBEAT_S:
                await self._socket.send_bytes(HEARTBEAT)
                quiet_since = clock.monotonic()
            self._looked.clear()
            # A subscription is answered at once.
            try:
                await asyncio.wait_for(self._looked.wait(), _LOOK_INTERVAL_S)
            except TimeoutError:
                continue

    async def _news(self) -> list[bytes]:
        packets = []
        for token, mode in tuple(self._modes.items()):
            listing = self._desk.catalog.by_token(token)
            market = None if listing is None else await self._desk.prices.look(listing.instrument)
            if market is None:
                continue
            made = packet(token, market, mode)
            news = made[: _TIMESTAMP.start] + made[_TIMESTAMP.stop :]
            if self._sent.get(token) != news:
                self._sent[token] = news
                packets.append(made)
        return packets


def _numbers(tokens: list[Any]) -> list[int]:
    """Numbers only: tokens sent as strings give no ticks."""
    return [token for token in tokens if type(token) is int]
