"""The line between a process and Postgres: it can be cut, and it can lose a commit's answer."""

import asyncio
import struct
from contextlib import suppress
from enum import StrEnum

from msgspec import Struct

HOST = "127.0.0.1"

_STARTUP = 196608  # protocol 3.0; whatever else comes untyped (a wish for TLS) comes before it
_IDLE = (
    b"Z\x00\x00\x00\x05I"  # ready for the next query, with no transaction open: what came before is committed
)
_CHUNK = 1 << 16


class Loss(StrEnum):
    REQUEST = "REQUEST"  # the statement never arrives
    ANSWER = "ANSWER"  # it is committed, and nobody is told


class Losses(Struct):
    """What was lost so far, in statements that change something."""

    requests: int = 0
    answers: int = 0


class Wire:
    """A port that leads to another one."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._to_lose: list[Loss] = []
        self.losses = Losses()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()

    @property
    def outer_ports(self) -> set[int]:
        """How the server knows the connections."""
        return {connection.outer_port for connection in self._connections}

    def cut(self) -> int:
        """Cut everything that is open now; how many connections that were."""
        connections = list(self._connections)
        for connection in connections:
            connection.cut()
        return len(connections)

    def lose(self, loss: Loss, count: int) -> None:
        """Cut the connections of the next writing statements, before or after they are carried out."""
        self._to_lose = [loss] * count

    def mend(self) -> None:
        self._to_lose = []

    def next_loss(self) -> Loss | None:
        return self._to_lose.pop() if self._to_lose else None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            outer = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(self, (reader, writer), outer)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Connection:
    def __init__(self, wire: Wire, inner: _Ends, outer: _Ends) -> None:
        self._wire = wire
        self._inner, self._outer = inner, outer
        self._requests = _Requests()
        self._losing_answer = False
        self.outer_port: int = outer[1].get_extra_info("sockname")[1]

    async def run(self) -> None:
        pumps = [asyncio.ensure_future(self._carry_requests()), asyncio.ensure_future(self._carry_answers())]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def cut(self) -> None:
        for _, writer in (self._inner, self._outer):
            writer.transport.abort()

    async def _carry_requests(self) -> None:
        with suppress(OSError):
            while data := await self._inner[0].read(_CHUNK):
                if self._requests.has_write(data) and not self._losing_answer:
                    loss = self._wire.next_loss()
                    if loss is Loss.REQUEST:
                        self._wire.losses.requests += 1
                        return
                    self._losing_answer = loss is Loss.ANSWER
                self._outer[1].write(data)
                await self._outer[1].drain()

    async def _carry_answers(self) -> None:
        with suppress(OSError):
            while data := await self._outer[0].read(_CHUNK):
                if self._losing_answer:
                    if data.endswith(_IDLE):
                        self._wire.losses.answers += 1
                        return
                    continue
                self._inner[1].write(data)
                await self._inner[1].drain()


class _Requests:
    """Reads along, so far as to tell a statement that changes something from one that only reads."""

    def __init__(self) -> None:
        self._buffer = b""
        self._started = False
        self._writes: dict[bytes, bool] = {}

    def has_write(self, data: bytes) -> bool:
        """Whether the bytes, with those before them, end in the execution of such a statement."""
        self._buffer += data
        found = False
        while (message := self._next()) is not None:
            kind, body = message
            if kind == b"P":
                name, query, *_ = body.split(b"\0", 2)
                words = query.upper()
                self._writes[name] = any(word in words for word in (b"INSERT ", b"UPDATE ", b"DELETE "))
            elif kind == b"B":
                _, name, *_ = body.split(b"\0", 2)
                found = found or self._writes.get(name, False)
        return found

    def _next(self) -> tuple[bytes, bytes] | None:
        head = 1 if self._started else 0
        if len(self._buffer) < head + 4:
            return None
        (length,) = struct.unpack_from(">I", self._buffer, head)
        if len(self._buffer) < head + length:
            return None
        kind, body = self._buffer[:head], self._buffer[head + 4 : head + length]
        self._buffer = self._buffer[head + length :]
        if not self._started:
            self._started = struct.unpack_from(">I", body)[0] == _STARTUP
        return kind, body
