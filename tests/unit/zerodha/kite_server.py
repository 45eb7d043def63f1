"""A broker's HTTP side on the loopback interface that misbehaves as it is told, request by request.

Left alone it takes every order. It keeps what it was sent, so that a test can say that nothing was.
"""

import asyncio
import json
import ssl
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET
from typing import Any
from urllib.parse import parse_qs

from msgspec import Struct

JSON = "application/json"


class Reply(Struct, frozen=True, kw_only=True):
    """An answer. `closes`: the connection ends with it, and says so."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = JSON
    closes: bool = False
    headers: tuple[tuple[str, str], ...] = ()


class Hang(Struct, frozen=True):
    """Read the request and say nothing."""


class Drop(Struct, frozen=True):
    """Read the request and close. `resets`: with a reset."""

    resets: bool = False


class Trickle(Struct, frozen=True):
    """Begin an answer and send a byte of it now and then, for ever."""

    closes: bool = False


class Later(Struct, frozen=True):
    """Answer after a while."""

    seconds: float
    reply: Reply


class CutShort(Struct, frozen=True):
    """Send half of an answer and close."""


Behaviour = Reply | Later | Hang | Drop | Trickle | CutShort


class Request(Struct, frozen=True, kw_only=True):
    method: str
    path: str
    headers: dict[str, str]
    form: dict[str, str]
    at: float


def success(data: Any, **changes: Any) -> Reply:
    return Reply(body=json.dumps({"status": "success", "data": data}).encode(), **changes)


def failure(status: int, error_type: str | None, message: str = "no") -> Reply:
    body = {"status": "error", "message": message, "error_type": error_type, "data": None}
    return Reply(status=status, body=json.dumps(body).encode())


def html(status: int) -> Reply:
    return Reply(status=status, body=b"<html>gateway</html>", content_type="text/html")


ORDER_ID = "1000000000000000001"
ACCEPTED = success({"order_id": ORDER_ID})


class KiteServer:
    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.resets = 0
        self.base_url = ""
        self._script: deque[Behaviour] = deque()
        self._open: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    def then(self, *behaviours: Behaviour) -> None:
        """What the next requests meet, one each."""
        self._script.extend(behaviours)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self._writers.append(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except ConnectionResetError:
            self.resets += 1
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        loop = asyncio.get_running_loop()
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.requests.append(Request(method=method, path=path, headers=headers, form=form, at=loop.time()))
        behaviour = self._script.popleft() if self._script else ACCEPTED
        match behaviour:
            case Reply():
                writer.write(_reply(behaviour))
                await writer.drain()
                return not behaviour.closes
            case Later(seconds=seconds, reply=reply):
                await asyncio.sleep(seconds)
                writer.write(_reply(reply))
                await writer.drain()
                return True
            case Hang():
                await asyncio.Event().wait()
            case Drop(resets=resets):
                if resets:
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            case CutShort():
                writer.write(_reply(ACCEPTED)[:-10])
                await writer.drain()
            case Trickle(closes=closes):
                writer.write(_reply(Reply(body=b"x" * 1000, closes=closes)).split(b"x")[0])
                while True:
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(0.05)
        return False

    async def stop(self) -> None:
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        for writer in self._writers:
            # Not politely: a TLS connection would wait for the other side's goodbye.
            writer.transport.abort()
        await asyncio.sleep(0.01)


def _reply(reply: Reply) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} -", f"Content-Length: {len(reply.body)}"]
    if reply.content_type:
        lines.append(f"Content-Type: {reply.content_type}")
    if reply.closes:
        lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in reply.headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + reply.body


@asynccontextmanager
async def kite_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[KiteServer]:
    kite = KiteServer()
    server = await asyncio.start_server(kite.serve, "127.0.0.1", 0, ssl=tls)
    kite.base_url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield kite
    finally:
        server.close()
        await kite.stop()
        await server.wait_closed()
