"""Postbacks: a proven one is a hint to read the order book, anything else is refused."""

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from pulse_adapters.queue.memory import InProcessQueue
from pulse_api.app import create_app
from pulse_api.bootstrap import Ports
from pulse_api.settings import read_settings
from pulse_domain.ports.work_queue import Job, JobKind
from pulse_domain.testing.memory_queue import RecordingQueue
from tests.integration.pulse_api.conftest import TOKEN, Api, alive

PATH = "/internal/postbacks/zerodha"
SECRET = "planted-api-secret"


@asynccontextmanager
async def opened_as(api: Api, **variables: str) -> AsyncIterator[Api]:
    """The same ports, behind an app with other settings."""

    @asynccontextmanager
    async def ports(*_: object) -> AsyncIterator[Ports]:
        yield api.ports

    environ = {"DATABASE_URL": "postgresql://not-used", "PULSE_SERVICE_TOKEN": TOKEN} | variables
    app = create_app(read_settings(environ), ports)
    async with alive(app):
        yield api._replace(app=app)


@pytest.fixture
async def at_zerodha(api: Api) -> AsyncIterator[Api]:
    async with opened_as(api, BROKER_TYPE="zerodha", ZERODHA_API_SECRET=SECRET) as opened:
        yield opened


def postback(secret: str = SECRET, **changes: Any) -> bytes:
    fields = {"order_id": "2601050000001", "order_timestamp": "2026-01-05 10:00:00", "status": "COMPLETE"}
    signed = f"{fields['order_id']}{fields['order_timestamp']}{secret}"
    checksum = hashlib.sha256(signed.encode()).hexdigest()
    return json.dumps({**fields, "checksum": checksum, **changes}).encode()


def hints(api: Api) -> list[Job]:
    assert isinstance(api.ports.queue, RecordingQueue)
    return list(api.ports.queue.jobs)


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", ""])
async def test_a_proven_postback_is_a_hint(at_zerodha: Api, media_type: str) -> None:
    answer, body = await at_zerodha.send("POST", PATH, postback(), {"Content-Type": media_type})

    assert (answer.status, body) == (200, {"status": "ok"})
    assert hints(at_zerodha) == [Job(JobKind.RECONCILE)]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (postback("guessed"), 403, "FORBIDDEN"),
        (postback(order_id="2601050000002"), 403, "FORBIDDEN"),
        (postback(order_id=1), 400, "INVALID_REQUEST"),
        (b"not json", 400, "INVALID_REQUEST"),
        (b"", 400, "INVALID_REQUEST"),
        (b"[" * 60_000, 400, "INVALID_REQUEST"),
        (b"x" * (64 * 1024 + 1), 413, "PAYLOAD_TOO_LARGE"),
    ],
    ids=["another secret", "changed", "another shape", "no JSON", "empty", "deep", "large"],
)
async def test_anything_else_is_refused_and_hints_at_nothing(
    at_zerodha: Api, body: bytes, status: int, code: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        answer, shown = await at_zerodha.send("POST", PATH, body)

    assert (answer.status, shown["error"]["code"]) == (status, code)
    assert hints(at_zerodha) == []
    assert SECRET not in f"{logs}{shown}"


async def test_the_service_token_is_needed_too(at_zerodha: Api) -> None:
    answer, _ = await at_zerodha.send("POST", PATH, postback(), {"Authorization": ""})

    assert answer.status == 401
    assert hints(at_zerodha) == []


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"BROKER_TYPE": "kotak", "ZERODHA_API_SECRET": SECRET},
        {"ZERODHA_API_SECRET": SECRET},
        {"BROKER_TYPE": "zerodha"},
    ],
    ids=["virtual", "another broker", "virtual with a secret", "no secret"],
)
async def test_where_it_is_not_configured_there_is_nothing(api: Api, variables: dict[str, str]) -> None:
    async with opened_as(api, **variables) as opened:
        answer, body = await opened.send("POST", PATH, postback())

    assert (answer.status, body["error"]["code"]) == (404, "NOT_FOUND")
    assert hints(api) == []


async def test_without_a_queue_a_postback_is_taken_all_the_same(api: Api) -> None:
    deaf = api._replace(ports=replace(api.ports, queue=InProcessQueue()))
    async with opened_as(deaf, BROKER_TYPE="zerodha", ZERODHA_API_SECRET=SECRET) as opened:
        answer, _ = await opened.send("POST", PATH, postback())

    assert answer.status == 200
