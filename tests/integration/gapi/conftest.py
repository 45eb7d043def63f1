"""The gateway behind a real socket, and a Pulse that does what a test tells it."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import uvicorn

from gapi.server import server
from gapi.settings import Settings
from service_kit.server import Server

SERVICE_TOKEN = "planted-service-token"
JWT_SECRET = "planted-jwt-secret-of-at-least-32-bytes"
HOOK_SECRET = "planted-hook-secret"
ORDER_ID = "ord_01kfa8r4gve9t9m3sx6y1c0d5e"


class Seen:
    """A request that reached Pulse."""

    def __init__(self, connection: int, line: str, headers: dict[str, str], body: bytes) -> None:
        self.connection = connection
        self.method, self.path, _ = line.split(" ")
        self.headers = headers
        self.body = body


Step = Callable[[Seen, asyncio.StreamWriter], Awaitable[bool]]


class StubPulse:
    """Speaks HTTP by hand, so that it can also break it.

    `script` holds steps for the next requests; after that every request is answered well. A step tells whether
    the connection is kept.
    """

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.script: list[Step] = []
        self.idle_s = 30.0
        self.connections = 0
        self.dead_up_to = 0  # older connections end when they are used again
        self.ended: asyncio.Queue[int] = asyncio.Queue()
        self._arrived = asyncio.Condition()
        self._writers: set[asyncio.StreamWriter] = set()

    def reset(self) -> None:
        self.seen.clear()
        self.script.clear()
        self.idle_s = 30.0
        self.ended = asyncio.Queue()

    def close_connections(self) -> None:
        for writer in list(self._writers):
            writer.close()

    async def wait_for(self, requests: int) -> None:
        async with asyncio.timeout(5), self._arrived:
            await self._arrived.wait_for(lambda: len(self.seen) >= requests)

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.add(writer)
        try:
            while await self._serve_one(number, reader, writer):
                pass
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            self.ended.put_nowait(number)

    async def _serve_one(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self.idle_s)
        line, *pairs = head.decode("latin-1").rstrip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (pair.partition(": ") for pair in pairs)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        seen = Seen(number, line, headers, body)
        self.seen.append(seen)
        async with self._arrived:
            self._arrived.notify_all()
        if number <= self.dead_up_to:
            return False
        step = self.script.pop(0) if self.script else _well
        return await step(seen, writer)

    # Steps.

    @staticmethod
    def answer(
        status: int, body: object = None, headers: dict[str, str] | None = None, *, after_s: float = 0
    ) -> Step:
        async def step(seen: Seen, writer: asyncio.StreamWriter) -> bool:
            await asyncio.sleep(after_s)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            fields = {"content-type": "application/json", "content-length": len(raw)} | (headers or {})
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            writer.write(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + raw)
            await writer.drain()
            return True

        return step

    @staticmethod
    async def drop(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        return False

    @staticmethod
    async def drop_in_the_middle(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(
            b'HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"or'
        )
        await writer.drain()
        return False

    @staticmethod
    async def garbage(seen: Seen, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        await writer.drain()
        return False

    @staticmethod
    def events(chunks: AsyncIterator[bytes]) -> Step:
        """Send chunks as they come; the stream ends with them."""

        async def step(seen: Seen, writer: asyncio.StreamWriter) -> bool:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
            writer.write(b"transfer-encoding: chunked\r\n\r\n")
            async for chunk in chunks:
                writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return True

        return step


async def _well(seen: Seen, writer: asyncio.StreamWriter) -> bool:
    if (seen.method, seen.path) == ("POST", "/internal/orders"):
        key = json.loads(seen.body).get("order_unique_key") or "wh_1"
        step = StubPulse.answer(202, {"order_id": ORDER_ID, "order_unique_key": key})
    else:
        step = StubPulse.answer(202 if seen.path.endswith("/cancel") else 200, {"path": seen.path})
    return await step(seen, writer)


@asynccontextmanager
async def listening(stub: StubPulse, path: str | None = None) -> AsyncIterator[str]:
    """Let the stub listen on a port of its own or at a socket path; gives its address."""
    if path is None:
        listener = await asyncio.start_server(stub.connected, "127.0.0.1", 0)
        address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    else:
        listener = await asyncio.start_unix_server(stub.connected, path)
        address = f"unix:{path}"
    try:
        yield address
    finally:
        listener.close()
        stub.close_connections()
        await listener.wait_closed()


class Gateway:
    """A running gateway, and a client that speaks to it."""

    def __init__(self, port: int, client: httpx.AsyncClient, serving: Server) -> None:
        self.port = port
        self.client = client
        self.serving = serving

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)

    async def post(self, path: str, body: object = None, **options: Any) -> httpx.Response:
        """Send JSON; bytes go as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | options.pop("headers", {})
        return await self.client.post(path, content=content, headers=headers, **options)


@asynccontextmanager
async def running(pulse_url: str, **variables: str) -> AsyncIterator[Gateway]:
    hooks = [
        {"name": "desk", "client_id": "hook-client", "secret": HOOK_SECRET},
        {
            "name": "slow",
            "client_id": "slow-client",
            "secret": HOOK_SECRET + "-2",
            "default_split": {"num_splits": 4, "duration_minutes": 30},
        },
    ]
    settings = Settings.from_environ(
        {
            "PULSE_URL": pulse_url,
            "PULSE_SERVICE_TOKEN": SERVICE_TOKEN,
            "GAPI_JWT_SECRETS": JWT_SECRET,
            "GAPI_WEBHOOK_HOOKS": json.dumps(hooks),
            "GAPI_PULSE_TIMEOUT_SECONDS": "1",
        }
        | variables
    )
    serving = server(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    port: int = listener.getsockname()[1]
    task = asyncio.create_task(serving.serve([listener]))
    try:
        while not serving.started:
            assert not task.done(), task.exception()
            await asyncio.sleep(0.01)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            yield Gateway(port, client, serving)
    finally:
        serving.should_exit = True
        await task


@pytest.fixture(scope="session", autouse=True)
def signals_stay_with_pytest() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.Server, "capture_signals", lambda self: nullcontext())
        yield


@pytest.fixture(scope="session")
async def stub_of_gateway() -> AsyncIterator[tuple[StubPulse, str]]:
    stub = StubPulse()
    async with listening(stub) as address:
        yield stub, address


@pytest.fixture(scope="session")
async def shared_gateway(stub_of_gateway: tuple[StubPulse, str]) -> AsyncIterator[Gateway]:
    async with running(stub_of_gateway[1]) as gateway:
        yield gateway


@pytest.fixture
def pulse(stub_of_gateway: tuple[StubPulse, str]) -> StubPulse:
    """The Pulse behind `gateway`."""
    stub_of_gateway[0].reset()
    return stub_of_gateway[0]


@pytest.fixture
def gateway(shared_gateway: Gateway, pulse: StubPulse) -> Gateway:
    return shared_gateway


@pytest.fixture
def own_gateway() -> Callable[..., AbstractAsyncContextManager[Gateway]]:
    """Run a gateway for one test, with variables of its own."""
    return running


@pytest.fixture
def own_pulse() -> Callable[..., AbstractAsyncContextManager[str]]:
    """Let a stub of one test listen."""
    return listening


@pytest.fixture
def stub() -> StubPulse:
    """A Pulse that does not listen yet."""
    return StubPulse()


@pytest.fixture
def token() -> Callable[..., dict[str, str]]:
    """Make the header of a client; `scope` is a space-separated list."""

    def make(
        scope: str = "orders:read orders:write", *, sub: str = "alice", valid_s: float = 600
    ) -> dict[str, str]:
        claims = {"sub": sub, "exp": int(time.time() + valid_s), "scope": scope}
        return {"Authorization": "Bearer " + jwt.encode(claims, JWT_SECRET)}

    return make


@pytest.fixture
def alice(token: Callable[..., dict[str, str]]) -> dict[str, str]:
    return token()


@pytest.fixture
def admin(token: Callable[..., dict[str, str]]) -> dict[str, str]:
    return token("admin", sub="root")


@pytest.fixture
def operations() -> dict[str, str]:
    return {"Authorization": f"Bearer {SERVICE_TOKEN}"}


@pytest.fixture
def hook_secret() -> str:
    return HOOK_SECRET


@pytest.fixture
def order_id() -> str:
    return ORDER_ID


@pytest.fixture
def order() -> dict[str, Any]:
    return {"order_unique_key": "k-1", "instrument": "NSE:RELIANCE", "side": "BUY", "total_quantity": 100}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The least that a gateway process starts with."""
    return {"PULSE_SERVICE_TOKEN": SERVICE_TOKEN, "GAPI_JWT_SECRETS": JWT_SECRET}
