"""Open websockets: what is pushed goes out in order, and any of them can be closed or cut."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

_WAITING_MAX = 10_000
_MESSAGE_BYTES_MAX = 1 << 20


class Connection:
    """One websocket, upgraded by `open_connection`."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.Transport | None) -> None:
        self.socket = socket
        self._transport = transport
        self._messages: asyncio.Queue[str] = asyncio.Queue(_WAITING_MAX)
        self._closing: asyncio.Queue[int] = asyncio.Queue()

    def push(self, body: str) -> None:
        """Send a text frame, unless the client is too far behind."""
        if not self._messages.full():
            self._messages.put_nowait(body)

    async def close(self, code: int | None) -> None:
        """Close it with a code, or cut it."""
        if code is not None:
            self._closing.put_nowait(code)
        elif self._transport is not None:
            self._transport.abort()

    async def run(self, take: Callable[[str], Awaitable[None]], *streams: Coroutine[Any, Any, None]) -> None:
        """Stream until the client goes or `close` is called.

        take: called with each text frame. streams: what else is sent meanwhile.
        """
        tasks = [asyncio.ensure_future(each) for each in (self._tell(), *streams)]
        reading = asyncio.ensure_future(self._read(take))
        closing = asyncio.ensure_future(self._closing.get())
        try:
            await asyncio.wait({reading, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*tasks, reading, closing):
                task.cancel()
            *_, code = await asyncio.gather(*tasks, reading, closing, return_exceptions=True)
        # Closed from here, where nothing else waits for the socket, so that the code gets out.
        if isinstance(code, int):
            await self.socket.close(code=code)

    async def _read(self, take: Callable[[str], Awaitable[None]]) -> None:
        async for message in self.socket:
            if message.type is WSMsgType.TEXT:
                await take(message.data)

    async def _tell(self) -> None:
        while True:
            await self.socket.send_str(await self._messages.get())


async def open_connection(request: web.Request) -> Connection:
    """Upgrade a request."""
    socket = web.WebSocketResponse(autoping=True, max_msg_size=_MESSAGE_BYTES_MAX)
    await socket.prepare(request)
    return Connection(socket, request.transport)


class Sockets:
    """Those that are open."""

    def __init__(self) -> None:
        self._open: set[Connection] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> None:
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        self._open.discard(connection)

    def say(self, body: str) -> None:
        """Send a text frame to every socket."""
        for connection in self._open:
            connection.push(body)

    async def close(self, code: int | None = WSCloseCode.GOING_AWAY) -> None:
        """Close every socket with a code, or cut it."""
        for connection in tuple(self._open):
            await connection.close(code)
