"""A broker that says yes at once, as a process: one order id per POST, a book, and what it received, when.

Run as `python -m tests.benchmarks.stub_broker PORT`. It keeps all in memory, with instants by the clock of this
machine, and its orders rest until they are cancelled. Whoever is measured against it is measured alone.
"""

import asyncio
import itertools
import sys
import time
from typing import Any

import msgspec
import uvloop

Receipt = tuple[str, str, float]


class Desk:
    """receipts: (operation, tag, seconds since the epoch) in the order of their coming."""

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        # By their ids: the form that came, and when.
        self.book: dict[str, tuple[str, float]] = {}
        self.cancelled: dict[str, None] = {}
        self.reads = 0
        self._numbers = itertools.count(1)

    def next_id(self) -> str:
        return f"{next(self._numbers):012d}"

    def answer(self, method: bytes, path: bytes, body: bytes) -> Any:
        now = time.time()
        if method == b"POST" and path == b"/orders":
            form = body.decode()
            tag: str = msgspec.json.decode(body)["tag"]
            order_id = self.next_id()
            self.receipts.append(("place", tag, now))
            self.book[order_id] = form, now
            return {"order_id": order_id}
        if method == b"DELETE":
            order_id = path.rpartition(b"/")[2].decode()
            self.receipts.append(("cancel", order_id, now))
            self.cancelled[order_id] = None
            return {}
        if path == b"/orders":
            self.reads += 1
            return {"orders": self.book, "cancelled": self.cancelled}
        if path == b"/receipts":
            return self.receipts
        if path == b"/forget":
            self.receipts, self.book, self.cancelled, self.reads = [], {}, {}, 0
            return {}
        return {"receipts": len(self.receipts), "reads": self.reads}


class Line(asyncio.Protocol):
    """One kept connection; whoever calls waits for the answer before the next request."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._waiting = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._waiting += data
        head, end, body = self._waiting.partition(b"\r\n\r\n")
        if not end or len(body) < content_length(head):
            return
        self._waiting = b""
        method, path, _ = head.split(b" ", 2)
        answer = msgspec.json.encode(self._desk.answer(method, path, body))
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(answer), answer)
        )


def content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def serve(desk: Desk, port: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Line(desk), "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(Desk(), int(sys.argv[1])))
