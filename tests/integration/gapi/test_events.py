"""Server-sent events on their way through."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

EVENTS = b"id: 1\r\nevent: accepted\r\ndata: {}\r\n\r\n: still here\r\n\r\n"


class Source:
    """The chunks that Pulse sends; it tells how far they were taken."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    def put(self, *chunks: bytes | None) -> None:
        for chunk in chunks:
            self.queue.put_nowait(chunk)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self.queue.get()) is not None:
            yield chunk


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def path(order_id: str) -> str:
    return f"/api/orders/{order_id}/events"


async def test_events_pass_through_as_they_come(
    gateway: Any, pulse: Any, alice: Any, path: str, source: Source, order_id: str
) -> None:
    pulse.script = [pulse.events(source)]

    async with gateway.client.stream("GET", path, headers=alice) as answer:
        chunks = answer.aiter_raw()
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-request-id"] == pulse.last.headers["x-request-id"]
        for chunk in (EVENTS, b"id: 2\r\ndata: half an eve", b"nt\r\n\r\n"):
            source.put(chunk)
            assert await asyncio.wait_for(anext(chunks), 5) == chunk
        source.put(None)
        assert [chunk async for chunk in chunks] == []  # the end of Pulse's stream ends ours
    assert pulse.last.path == f"/internal/orders/{order_id}/events"
    assert pulse.last.headers["x-client-id"] == "alice"
    assert "last-event-id" not in pulse.last.headers


async def test_an_admin_sees_every_clients_events(
    gateway: Any, pulse: Any, admin: Any, path: str, source: Source
) -> None:
    pulse.script = [pulse.events(source)]
    source.put(EVENTS, None)

    assert (await gateway.get(path, headers=admin)).content == EVENTS
    assert "x-client-id" not in pulse.last.headers


@pytest.mark.parametrize(
    ("header", "query", "asked"),
    [("7", None, "7"), (None, "8", "8"), ("9", "1", "9"), ("", "", None), (None, "0", "0")],
)
async def test_a_stream_is_resumed(
    gateway: Any, pulse: Any, alice: Any, path: str, source: Source, header: Any, query: Any, asked: Any
) -> None:
    pulse.script = [pulse.events(source)]
    source.put(None)
    headers = alice | ({} if header is None else {"Last-Event-ID": header})
    params = {} if query is None else {"last_event_id": query}

    assert (await gateway.get(path, headers=headers, params=params)).status_code == 200
    assert pulse.last.headers.get("last-event-id") == asked


@pytest.mark.parametrize("query", ["x", "-1", "1.5", "1\r\nX-Client-Id: bob", "9" * 19])
async def test_a_bad_place_to_resume(gateway: Any, pulse: Any, alice: Any, path: str, query: str) -> None:
    answer = await gateway.get(path, headers=alice, params={"last_event_id": query})

    assert answer.status_code == 400
    assert answer.json()["error"]["details"] == {"field": "last_event_id"}
    assert pulse.seen == []


async def test_an_order_that_is_done_is_204(gateway: Any, pulse: Any, alice: Any, path: str) -> None:
    pulse.script = [pulse.answer(204, b"", {"content-length": "0", "content-type": "text/event-stream"})]

    answer = await gateway.get(path, headers=alice)

    assert (answer.status_code, answer.content) == (204, b"")


async def test_an_error_passes_through(gateway: Any, pulse: Any, alice: Any, path: str) -> None:
    error = {"error": {"code": "NOT_FOUND", "message": "no such order", "details": {}}}
    pulse.script = [pulse.answer(404, error)]

    answer = await gateway.get(path, headers=alice)

    assert (answer.status_code, answer.json()) == (404, error)


async def test_a_pulse_that_does_not_begin_is_unavailable(
    gateway: Any, pulse: Any, alice: Any, path: str
) -> None:
    pulse.script = [pulse.answer(200, b"", after_s=3)]

    answer = await gateway.get(path, headers=alice)

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "UPSTREAM_UNAVAILABLE"


async def test_a_client_that_leaves_closes_the_stream_at_pulse(
    gateway: Any, pulse: Any, alice: Any, path: str, source: Source
) -> None:
    pulse.script = [pulse.events(source)]
    async with gateway.client.stream("GET", path, headers=alice) as answer:
        source.put(EVENTS)
        await anext(answer.aiter_raw())
        connection = pulse.last.connection

    async with asyncio.timeout(5):
        while connection not in [pulse.ended.get_nowait() for _ in range(pulse.ended.qsize())]:
            source.put(b": are you there\r\n\r\n")  # writing is how the stub notices
            await asyncio.sleep(0.05)


async def test_a_stream_that_breaks_just_ends(
    gateway: Any, pulse: Any, alice: Any, path: str, source: Source
) -> None:
    pulse.script = [pulse.events(source)]

    async with gateway.client.stream("GET", path, headers=alice) as answer:
        source.put(EVENTS)
        chunks = answer.aiter_raw()
        await anext(chunks)
        pulse.close_connections()
        assert [chunk async for chunk in chunks] == []


async def test_head_does_not_wait_for_events(
    gateway: Any, pulse: Any, alice: Any, path: str, source: Source
) -> None:
    pulse.script = [pulse.events(source)]

    answer = await asyncio.wait_for(gateway.client.head(path, headers=alice), 3)

    assert (answer.status_code, answer.content) == (200, b"")


async def test_streams_do_not_use_up_the_connections_of_orders(
    stub: Any, own_pulse: Any, own_gateway: Any, alice: Any, order: Any, path: str
) -> None:
    async with own_pulse(stub) as address, own_gateway(address, GAPI_PULSE_CONNECTIONS="1") as gateway:
        sources = [Source() for _ in range(5)]
        stub.script = [stub.events(source) for source in sources]
        streams = [asyncio.create_task(gateway.get(path, headers=alice)) for _ in sources]
        await stub.wait_for(len(sources))

        assert (await gateway.post("/api/orders", order, headers=alice)).status_code == 202

        for source in sources:
            source.put(EVENTS, None)
        assert [answer.content for answer in await asyncio.gather(*streams)] == [EVENTS] * 5


async def test_a_slow_client_slows_pulse_down(
    gateway: Any, pulse: Any, alice: Any, path: str, order_id: str
) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b":" + b"x" * 65_536 + b"\n\n"

    pulse.script = [pulse.events(endless())]
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {alice['Authorization']}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")

    # Whoever does not read gets no more than what fits into the buffers of the sockets on the way.
    before = -1
    async with asyncio.timeout(20):
        while sent != before:
            before = sent
            await asyncio.sleep(0.5)
    writer.close()

    assert sent * 65_536 < 64 * 1024 * 1024


async def test_a_gateway_that_stops_ends_its_streams(
    stub: Any, own_pulse: Any, own_gateway: Any, alice: Any, path: str, source: Source
) -> None:
    async with own_pulse(stub) as address, own_gateway(address) as gateway:
        stub.script = [stub.events(source)]
        async with gateway.client.stream("GET", path, headers=alice) as answer:
            source.put(EVENTS)
            chunks = answer.aiter_raw()
            await anext(chunks)
            gateway.serving.should_exit = True

            assert await asyncio.wait_for(_rest(chunks), 3) == b""
        source.put(None)


async def _rest(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])
