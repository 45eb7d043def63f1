"""Plain HTTP/1.1 requests over kept connections, as the hop to Pulse needs them and no more.

A general client costs more per request than all else that the gateway does (doc/decisions/0011). This one
writes one request, reads one answer, and keeps the connection. httptools parses, as in the server.
"""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httptools


class Answer(NamedTuple):
    """`headers` as in ASGI: raw pairs, the names in lower case."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class ConnectionBroken(Exception):
    """The connection ended before the answer was complete: nothing is known of the request's effect."""


class _Connection(asyncio.Protocol):
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answered: asyncio.Future[Answer] | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self.reusable = True
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream has a full transport

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(error)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(error)
            self.close()

    # The parser's callbacks.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._headers, self._body = [], []
            return
        self.reusable = self.reusable and self._parser.should_keep_alive()
        answered, self._answered = self._answered, None
        if answered is None:
            # An answer that nobody asked for: whatever comes next could not be told apart.
            self.close()
        elif not answered.done():
            answered.set_result(Answer(status, self._headers, b"".join(self._body)))

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and wait for its answer.

        Raises:
            ConnectionBroken: the connection ended first.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionBroken("the connection was closed")
        self._headers, self._body = [], []
        answered: asyncio.Future[Answer] = self._loop.create_future()
        self._answered = answered
        self._transport.write(request)
        try:
            return await answered
        except asyncio.CancelledError:
            # The answer is still to come, and would be taken for that of the next request.
            self.close()
            raise

    def _fail(self, error: Exception | None) -> None:
        self.reusable = False
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            answered.set_exception(ConnectionBroken(repr(error) if error else "closed by the other side"))

    def close(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.close()


class ConnectionPool:
    """Connections to one server.

    url: `http://host:port`, or `unix:/path/to.sock`. size: the most that are open at once.
    keep_alive_s: an idle connection older than this is not used again; less than what the server keeps.
    headers: go with every request.
    """

    def __init__(self, url: str, *, size: int, keep_alive_s: float, headers: Mapping[str, str]) -> None:
        self._size = size
        self._keep_alive_s = keep_alive_s
        self._socket = url.removeprefix("unix:") if url.startswith("unix:") else None
        parts = urlsplit("http://pulse" if self._socket else url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
        self._prefix = parts.path.rstrip("/")
        self._fixed = _lines({"Host": parts.netloc, **headers})
        self._idle: list[_Connection] = []
        self._open = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def request(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request; once more, on a connection of its own, where the first one breaks.

        Raises:
            ConnectionBroken: the second connection broke too.
            OSError: no connection can be made.
        """
        first = f"{method} {self._prefix}{path} HTTP/1.1\r\n"
        length = f"Content-Length: {len(body)}\r\n\r\n"
        message = (first + self._fixed + _lines(headers) + length).encode("latin-1") + body
        await self._enter()
        try:
            connection = self._take() or await self._connect()
            try:
                answer = await connection.exchange(message)
            except ConnectionBroken:
                connection = await self._connect()
                answer = await connection.exchange(message)
            self._give_back(connection)
            return answer
        finally:
            self._leave()

    def close(self) -> None:
        """Close every idle connection; those in use close when their answer has come."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    async def _enter(self) -> None:
        if self._open < self._size:
            self._open += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._open -= 1

    def _take(self) -> _Connection | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and now - connection.idle_since < self._keep_alive_s:
                return connection
            connection.close()
        return None

    def _give_back(self, connection: _Connection) -> None:
        if self._closed or not connection.reusable:
            connection.close()
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        made: tuple[Any, _Connection]
        if self._socket:
            made = await loop.create_unix_connection(lambda: _Connection(loop), self._socket)
        else:
            made = await loop.create_connection(
                lambda: _Connection(loop), self._host, self._port, ssl=True if self._secure else None
            )
        return made[1]


def _lines(headers: Mapping[str, str]) -> str:
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if text.count("\r") != len(headers) or text.count("\n") != len(headers):
        raise ValueError("a header holds a line break")
    return text
