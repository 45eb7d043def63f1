"""The broker's websocket, for its order messages.

The SDK's ticker is not used: it runs the one Twisted reactor of the process, sends no pings and so never
notices a dead link, and reconnects every second to a server that accepts and closes. This one is a task on
our loop that notices silence (the broker sends a heartbeat every few seconds), waits longer after each
failure, and counts a connection as good only once it has lasted.
"""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import aiohttp
import structlog
from msgspec import Struct

from pulse_adapters.zerodha.sessions import BROKER
from pulse_adapters.zerodha.wire import UnreadableRow, read_message
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

_MESSAGE_BYTES_MAX = 4 * 1024 * 1024
_GOODBYE_S = 2.0


class TickerSettings(Struct, frozen=True, kw_only=True):
    """silence_s: without even a heartbeat for so long, the link is dead.
    steady_s: a connection that lasted so long was a good one, and the next wait is the shortest again."""

    api_key: str
    url: str
    connect_timeout_s: float = 10.0
    silence_s: float = 10.0
    steady_s: float = 30.0
    wait_s: float = 1.0
    wait_max_s: float = 60.0

    def __repr__(self) -> str:
        return f"TickerSettings(url={self.url!r})"


class Ticker:
    """current_token: the access token; asked again while connected, so that a new login makes a new connection.
    on_connected: called when messages come from now on: what was missed before should be read.
    on_order: called with what an order message carries, one after the other.
    is_wanted: asked at every message; once it says no, the ticker ends.
    """

    def __init__(
        self,
        settings: TickerSettings,
        clock: Clock,
        rng: Random,
        *,
        current_token: Callable[[], Awaitable[str]],
        on_connected: Callable[[], Awaitable[None]],
        on_order: Callable[[object], Awaitable[None]],
        is_wanted: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._current_token = current_token
        self._on_connected = on_connected
        self._on_order = on_order
        self._is_wanted = is_wanted

    async def run(self) -> None:
        """Connect again and again, until cancelled or not wanted."""
        failures = 0
        async with aiohttp.ClientSession() as http:
            while self._is_wanted():
                try:
                    token = await self._current_token()
                except BrokerUnavailable:
                    # Told by the sessions already, and there may be one at any moment.
                    await self._clock.sleep(self._settings.wait_s)
                    continue
                began = self._clock.monotonic()
                reason = await self._connection(http, token)
                lasted_s = self._clock.monotonic() - began
                failures = 0 if lasted_s >= self._settings.steady_s else failures + 1
                if self._is_wanted():
                    wait_s = self._wait_s(failures)
                    log.warning(
                        "the ticker is not connected", broker=BROKER, reason=reason, wait_s=round(wait_s, 1)
                    )
                    await self._clock.sleep(wait_s)

    def _wait_s(self, failures: int) -> float:
        longest = min(self._settings.wait_max_s, self._settings.wait_s * 2.0 ** min(max(0, failures - 1), 30))
        # Many processes that lost the broker together should not all come back at once.
        return longest * self._rng.uniform(0.5, 1.0)

    async def _connection(self, http: aiohttp.ClientSession, token: str) -> str:
        """One connection, until it ends. Returns why, in words that hold no secret: the address has two."""
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                socket = await http.ws_connect(
                    self._settings.url,
                    params={"api_key": self._settings.api_key, "access_token": token},
                    headers={"X-Kite-Version": "3"},
                    max_msg_size=_MESSAGE_BYTES_MAX,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_GOODBYE_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            return f"handshake refused with {error.status}"
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
            return f"no connection: {type(error).__name__}"
        try:
            await self._on_connected()
            return await self._receive(socket, token)
        finally:
            await socket.close()

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse, token: str) -> str:
        while self._is_wanted():
            try:
                message = await socket.receive(timeout=self._settings.silence_s)
            except TimeoutError:
                return "silence"
            if message.type is aiohttp.WSMsgType.TEXT:
                await self._take(message.data)
            elif message.type is not aiohttp.WSMsgType.BINARY:
                return f"closed with {socket.close_code}"
            # An open connection outlives its token: but the next login is a session of its own.
            if await self._is_replaced(token):
                return "a new session"
        return "not wanted"

    async def _is_replaced(self, token: str) -> bool:
        try:
            return await self._current_token() != token
        except BrokerUnavailable:
            return False

    async def _take(self, text: str) -> None:
        try:
            kind, data = read_message(text)
            if kind == "order":
                await self._on_order(data)
            elif kind == "error":
                log.warning("the ticker tells of an error", broker=BROKER)
        except UnreadableRow as error:
            log.warning("a message of the ticker is left out", broker=BROKER, reason=str(error))
