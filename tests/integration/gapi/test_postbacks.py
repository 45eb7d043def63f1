"""Postbacks of a broker on their way through the gateway."""

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import structlog

PATH = "/api/postbacks/zerodha"
BODY = b'{"order_id": "1", "order_timestamp": "2026-01-05 10:00:00", "checksum": "planted-checksum"}'


@pytest.mark.parametrize("media_type", ["application/json", "text/plain; charset=utf-8", ""])
async def test_a_postback_is_handed_on_as_it_came(gateway: Any, pulse: Any, media_type: str) -> None:
    pulse.script = [pulse.answer(200, {"status": "ok"})]

    answer = await gateway.post(PATH, BODY, headers={"Content-Type": media_type})

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert (pulse.last.method, pulse.last.path) == ("POST", "/internal/postbacks/zerodha")
    assert pulse.last.body == BODY
    assert "x-client-id" not in pulse.last.headers


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "INVALID_REQUEST"), (403, "FORBIDDEN"), (404, "NOT_FOUND"), (503, "DATABASE_ERROR")],
)
async def test_pulses_verdict_is_the_answer(gateway: Any, pulse: Any, status: int, code: str) -> None:
    pulse.script = [pulse.answer(status, {"error": {"code": code, "message": "so it is", "details": {}}})]

    answer = await gateway.post(PATH, BODY)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["x-request-id"]


async def test_a_wrong_token_of_ours_is_not_the_senders_fault(gateway: Any, pulse: Any) -> None:
    pulse.script = [
        pulse.answer(401, {"error": {"code": "UNAUTHORIZED", "message": "no token", "details": {}}})
    ]

    answer = await gateway.post(PATH, BODY)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UPSTREAM_UNAVAILABLE")


async def test_a_body_that_is_too_large_reaches_nobody(gateway: Any, pulse: Any) -> None:
    answer = await gateway.post(PATH, b"x" * (64 * 1024 + 1))

    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert pulse.seen == []


async def test_other_methods_are_refused(gateway: Any) -> None:
    answer = await gateway.get(PATH)

    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")


async def test_without_pulse_the_sender_is_told_to_come_again(own_gateway: Any) -> None:
    running: AbstractAsyncContextManager[Any] = own_gateway("http://127.0.0.1:9")
    async with running as gateway:
        answer = await gateway.post(PATH, BODY)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UPSTREAM_UNAVAILABLE")
    assert answer.headers["retry-after"]


async def test_nothing_of_a_postback_is_logged(gateway: Any, pulse: Any) -> None:
    pulse.script = [
        pulse.answer(403, {"error": {"code": "FORBIDDEN", "message": "the checksum is wrong", "details": {}}})
    ]
    with structlog.testing.capture_logs() as logs:
        answer = await gateway.post(PATH, BODY)

    assert answer.status_code == 403
    assert logs, "a refusal is logged"
    assert "planted-checksum" not in f"{logs}{answer.text}"
