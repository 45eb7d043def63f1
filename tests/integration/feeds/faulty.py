"""Brokers' price servers that do what they should not, and a wire that dies without a word."""

import asyncio
import json
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from aiohttp import WSMsgType, web

from pulse_domain.matching import Tick
from tests.integration.feeds.making import KITE_TOKENS, NEO_TOKENS


class Face(Protocol):
    """How a broker speaks."""

    heartbeat: bytes | None

    def frame(self, *ticks: Tick) -> bytes: ...

    async def welcome(self, server: "PriceServer", socket: web.WebSocketResponse) -> None: ...

    def asked(self, text: str) -> tuple[set[str], set[str]]:
        """What a message subscribes to and what it gives up."""
        ...


class KiteFace:
    heartbeat: bytes | None = b"\x00"

    def frame(self, *ticks: Tick) -> bytes:
        packets = [self._packet(tick) for tick in ticks]
        framed = b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets)
        return len(packets).to_bytes(2, "big") + framed

    def _packet(self, tick: Tick) -> bytes:
        price, at = int(tick.price * 100), int(tick.at.timestamp()) & 0xFFFFFFFF
        token = int(KITE_TOKENS[tick.instrument])
        low = max(0, price - 500)
        numbers = [token, price, 1, price, tick.volume, 10, 10, price, price + 500, low, price]
        levels = [(10, max(0, price - 5), 1), *[(0, 0, 0)] * 4, (10, price + 5, 1), *[(0, 0, 0)] * 4]
        return struct.pack(">16I", *numbers, max(0, at - 30), 0, 0, 0, at) + b"".join(
            struct.pack(">IIHxx", *level) for level in levels
        )

    async def welcome(self, server: "PriceServer", socket: web.WebSocketResponse) -> None:
        pass

    def asked(self, text: str) -> tuple[set[str], set[str]]:
        message = json.loads(text)
        match message["a"]:
            case "subscribe":
                return {str(token) for token in message["v"]}, set()
            case "unsubscribe":
                return set(), {str(token) for token in message["v"]}
            case "mode":
                assert message["v"][0] == "full"
        return set(), set()


class NeoFace:
    heartbeat: bytes | None = None

    def __init__(self) -> None:
        self.greetings: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = [{"message_code": 1119}, {"message_code": 1117}]

    def frame(self, *ticks: Tick) -> bytes:
        return b"".join(self._packet(tick) for tick in ticks)

    def _packet(self, tick: Tick) -> bytes:
        price, at = int(tick.price * 100), int(tick.at.timestamp())
        token = int(NEO_TOKENS[tick.instrument].partition("|")[2])
        body = struct.pack(
            "<IqqqqqIIIIIqIIIIhiIdiIIIIIBI", token, 10, 10, tick.volume, max(0, at - 30), at, price, price,
            price + 500, max(0, price - 500), price, 1, price, 0, 1, 1, 0, 0, 0, 0.0, 0, 0, 0, 0, 0, 1, 2, 1,
        )  # fmt: skip
        levels = struct.pack("<qii", 10, price - 5, 1) + struct.pack("<qii", 10, price + 5, 1)
        return struct.pack("<HHbBBBB", 9 + len(body) + len(levels), 7208, 1, 4, 0, 0, 0) + body + levels

    async def welcome(self, server: "PriceServer", socket: web.WebSocketResponse) -> None:
        self.greetings.append(json.loads(await socket.receive_str()))
        exchanges = {"nse_cm": {"divider": 100, "value": 1}}
        for answer in self.answers:
            await socket.send_str(json.dumps({"format": "native_batch", "exchanges": exchanges, **answer}))

    def asked(self, text: str) -> tuple[set[str], set[str]]:
        message = json.loads(text)
        names = set(message["inputtoken"].split(","))
        return (set(), names) if message["event"].startswith("un") else (names, set())


class PriceServer:
    """What the next connections meet is said beforehand: an HTTP status, `close`, or `deaf` (no answer at all).
    Others are served: what is subscribed to is kept, and prices are sent by `send`."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self.url = ""
        self.next: deque[int | str] = deque()
        self.attempts = 0
        self.sockets: list[web.WebSocketResponse] = []
        self.subscribed: list[set[str]] = []
        self.queries: list[dict[str, str]] = []
        self.beats = True

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if "Upgrade" not in request.headers:
            return web.Response(status=400)  # there are prices here, and nothing else
        self.attempts += 1
        self.queries.append(dict(request.query))
        fate = self.next.popleft() if self.next else None
        if isinstance(fate, int):
            return web.Response(status=fate)
        if fate == "deaf":
            await asyncio.sleep(3600)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if fate == "close":
            await socket.close()
            return socket
        await self.face.welcome(self, socket)
        subscribed: set[str] = set()
        self.sockets.append(socket)
        self.subscribed.append(subscribed)
        beating = asyncio.create_task(self._beat(socket))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    more, less = self.face.asked(message.data)
                    subscribed |= more
                    subscribed -= less
        finally:
            beating.cancel()
        return socket

    async def _beat(self, socket: web.WebSocketResponse) -> None:
        while self.face.heartbeat is not None:
            await asyncio.sleep(0.02)
            if self.beats and not socket.closed:
                await socket.send_bytes(self.face.heartbeat)

    async def send(self, *ticks: Tick) -> None:
        await self.sockets[-1].send_bytes(self.face.frame(*ticks))

    async def say(self, message: bytes | str) -> None:
        socket = self.sockets[-1]
        await (socket.send_str(message) if isinstance(message, str) else socket.send_bytes(message))

    async def drop(self) -> None:
        await self.sockets[-1].close()

    def cut(self) -> None:
        """End the connection in the middle of whatever it says."""
        request = self.sockets[-1]._req  # the only way to the transport
        assert request is not None
        assert request.transport is not None
        request.transport.abort()


@asynccontextmanager
async def price_server(face: Face) -> AsyncIterator[PriceServer]:
    server = PriceServer(face)
    app = web.Application()
    app.router.add_get("/{tail:.*}", server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        for socket in server.sockets:
            await socket.close()
        await runner.cleanup()


class Proxy:
    """Forwards bytes both ways until it is frozen: what is open then stays open, and nothing comes any more."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._tasks = set[asyncio.Task[None]]()
        self._frozen: list[asyncio.Event] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.url = ""

    def freeze(self) -> None:
        """Of what is open; new connections are served."""
        for event in self._frozen:
            event.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frozen = asyncio.Event()
        self._frozen.append(frozen)
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers += [writer, there_writer]
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pipe(source, sink, frozen))
            self._tasks.add(task)

    async def _pipe(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, frozen: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if frozen.is_set():
                    continue  # swallowed: neither side hears of it
                sink.write(data)
                await sink.drain()
            if not frozen.is_set():
                sink.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def proxy_to(url: str) -> AsyncIterator[Proxy]:
    host, _, port = url.partition("://")[2].partition(":")
    proxy = Proxy(host, int(port))
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        await server.wait_closed()
