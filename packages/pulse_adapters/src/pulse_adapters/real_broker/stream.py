"""A broker's websocket, for its order messages: hints, as the order book has the truth.

The SDKs' own are not used: they give up, or never notice a dead link, or reconnect every second to a server
that accepts and closes. This one is a task on our loop that notices silence, waits longer after each failure,
and counts a connection as good only once it has lasted.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Any, Generic, Protocol, TypeVar

import aiohttp
import structlog
from msgspec import Struct

from pulse_adapters.real_broker.rows import UnreadableRow
from pulse_domain.errors import BrokerUnavailable
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

S = TypeVar("S")

_MESSAGE_BYTES_MAX = 4 * 1024 * 1024
_GOODBYE_S = 2.0


class StreamSettings(Struct, frozen=True, kw_only=True):
    """steady_s: a connection that lasted so long was a good one, and the next wait is the shortest again."""

    connect_timeout_s: float = 10.0
    steady_s: float = 30.0
    wait_s: float = 1.0
    wait_max_s: float = 60.0


def socket_options() -> dict[str, Any]:
    """What every socket to a broker is opened with."""
    return {"max_msg_size": _MESSAGE_BYTES_MAX, "timeout": aiohttp.ClientWSTimeout(ws_close=_GOODBYE_S)}


def wait_after(failures: int, settings: StreamSettings, rng: Random) -> float:
    """How long to wait after so many connections in a row that were no good."""
    longest = min(settings.wait_max_s, settings.wait_s * 2.0 ** min(max(0, failures - 1), 30))
    # Many processes that lost the broker together should not all come back at once.
    return longest * rng.uniform(0.5, 1.0)


class Listener(Protocol):
    def is_wanted(self) -> bool:
        """Asked at every message; once it says no, the stream ends."""
        ...

    async def connected(self) -> None:
        """Messages come from now on: what was missed before should be read."""
        ...

    async def take(self, row: object) -> None:
        """What an order message carries, one after the other. Raises: UnreadableRow."""
        ...


class OrderStream(ABC, Generic[S]):
    """name: of the stream, in logs.
    current_session: asked again while connected, so that a new login makes a new connection.
    quiet_s: when nothing came for so long, the session is looked at; and where the broker sends heartbeats,
        `quiet_is_dead`, the link is dead.
    """

    def __init__(
        self,
        settings: StreamSettings,
        clock: Clock,
        rng: Random,
        *,
        broker: str,
        name: str,
        current_session: Callable[[], Awaitable[S]],
        quiet_s: float,
        quiet_is_dead: bool,
    ) -> None:
        self._wait = settings
        self._clock = clock
        self._rng = rng
        self._broker = broker
        self.name = name
        self._current_session = current_session
        self._quiet_s = quiet_s
        self._quiet_is_dead = quiet_is_dead

    @abstractmethod
    async def _connect(
        self, http: aiohttp.ClientSession, session: S, options: dict[str, Any]
    ) -> aiohttp.ClientWebSocketResponse:
        """Open the socket, with `options` and those of the broker."""

    async def _greet(self, socket: aiohttp.ClientWebSocketResponse, session: S) -> bool:
        """Say what the broker wants to hear first. Returns whether it was understood."""
        return True

    @abstractmethod
    def _orders_in(self, text: str) -> Iterable[object]:
        """The orders of a message. Raises: UnreadableRow: it is none."""

    async def run(self, listener: Listener) -> None:
        """Connect again and again, until cancelled or not wanted."""
        failures = 0
        async with aiohttp.ClientSession() as http:
            while listener.is_wanted():
                try:
                    session = await self._current_session()
                except BrokerUnavailable:
                    # Told by the sessions already, and there may be one at any moment.
                    await self._clock.sleep(self._wait.wait_s)
                    continue
                began = self._clock.monotonic()
                reason = await self._connection(http, session, listener)
                lasted_s = self._clock.monotonic() - began
                failures = 0 if lasted_s >= self._wait.steady_s else failures + 1
                if listener.is_wanted():
                    wait_s = wait_after(failures, self._wait, self._rng)
                    log.warning(
                        f"the {self.name} is not connected",
                        broker=self._broker,
                        reason=reason,
                        wait_s=round(wait_s, 1),
                    )
                    await self._clock.sleep(wait_s)

    async def _connection(self, http: aiohttp.ClientSession, session: S, listener: Listener) -> str:
        """One connection, until it ends. Returns why, in words without a secret: the address may have some."""
        try:
            async with asyncio.timeout(self._wait.connect_timeout_s):
                socket = await self._connect(http, session, socket_options())
        except aiohttp.WSServerHandshakeError as error:
            return f"handshake refused with {error.status}"
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
            return f"no connection: {type(error).__name__}"
        try:
            if not await self._greet(socket, session):
                return "the greeting is not acknowledged"
            await listener.connected()
            return await self._receive(socket, session, listener)
        except (aiohttp.ClientError, ConnectionError) as error:
            return f"broken: {type(error).__name__}"
        finally:
            await socket.close()

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse, session: S, listener: Listener) -> str:
        while listener.is_wanted():
            try:
                async with asyncio.timeout(self._quiet_s):
                    message = await socket.receive()
            except TimeoutError:
                if self._quiet_is_dead:
                    return "silence"
            else:
                if message.type is aiohttp.WSMsgType.TEXT:
                    await self._take(message.data, listener)
                elif message.type is not aiohttp.WSMsgType.BINARY:
                    return f"closed with {socket.close_code}"
            # An open connection outlives its session: but the next login is one of its own.
            if await self._is_replaced(session):
                return "a new session"
        return "not wanted"

    async def _is_replaced(self, session: S) -> bool:
        try:
            return await self._current_session() != session
        except BrokerUnavailable:
            return False

    async def _take(self, text: str, listener: Listener) -> None:
        try:
            for row in self._orders_in(text):
                await listener.take(row)
        except UnreadableRow as error:
            log.warning(f"a message of the {self.name} is left out", broker=self._broker, reason=str(error))
