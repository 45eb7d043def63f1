"""`python -m gapi`: how it starts, what it logs, how it ends."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"PULSE_SERVICE_TOKEN": ""}, "PULSE_SERVICE_TOKEN"),
        ({"GAPI_JWT_SECRETS": "planted-but-short"}, "GAPI_JWT_SECRETS"),
        ({"GAPI_PORT": "planted"}, "GAPI_PORT"),
    ],
)
def test_bad_settings_end_with_one_line(environ: dict[str, str], change: dict[str, str], name: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "gapi"], env=environ | change, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"gapi: {name}")
    assert ended.stderr.count("\n") == 1
    assert "planted" not in ended.stderr


@asynccontextmanager
async def process(environ: dict[str, str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gapi",
        env=environ | {"GAPI_PORT": str(port)},
        stderr=asyncio.subprocess.PIPE,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while True:
                try:
                    await client.get(f"{address}/health")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.05)
        yield started, address
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
async def test_it_ends_at_once_although_a_stream_is_open(
    stub: Any,
    own_pulse: Any,
    environ: dict[str, str],
    alice: Any,
    order_id: str,
    hook_secret: str,
    sent: signal.Signals,
) -> None:
    more = asyncio.Event()

    async def quiet() -> AsyncIterator[bytes]:
        yield b": hello\r\n\r\n"
        await more.wait()

    hooks = json.dumps([{"name": "desk", "client_id": "hook-client", "secret": hook_secret}])
    async with own_pulse(stub) as pulse_url:
        stub.script = [stub.events(quiet())]
        variables = environ | {"PULSE_URL": pulse_url, "GAPI_WEBHOOK_HOOKS": hooks, "LOG_LEVEL": "DEBUG"}
        async with process(variables) as (running, address), httpx.AsyncClient(base_url=address) as client:
            async with client.stream("GET", f"/api/orders/{order_id}/events", headers=alice) as events:
                chunks = events.aiter_raw()
                await anext(chunks)
                await client.post(f"/api/webhooks/tradingview/{hook_secret}", content=b"{")
                await client.post("/api/webhooks/tradingview", json={"apikey": hook_secret})
                await client.get("/api/orders", headers=alice)
                began = time.monotonic()
                running.send_signal(sent)
                assert [chunk async for chunk in chunks] == []
            assert running.stderr is not None
            log = (await asyncio.wait_for(running.stderr.read(), 10)).decode()
            assert await running.wait() == 0
        assert time.monotonic() - began < 3
        more.set()

    lines = [json.loads(line) for line in log.splitlines()]
    routes = [line["route"] for line in lines if line["event"] == "request"]
    assert "/api/webhooks/tradingview/{token}" in routes
    assert {line["service"] for line in lines} == {"gapi"}
    assert not [line for line in lines if line["level"] in ("error", "critical")]
    assert "planted" not in log
    assert alice["Authorization"].removeprefix("Bearer ") not in log
