"""The hop to Pulse when it does not go well."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest


def assert_unavailable(answer: Any) -> None:
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "UPSTREAM_UNAVAILABLE"
    assert answer.headers["retry-after"] == "1"


async def test_connections_are_reused(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    for _ in range(5):
        assert (await gateway.post("/api/orders", order, headers=alice)).status_code == 202

    assert len({seen.connection for seen in pulse.seen}) == 1


async def test_a_dead_pooled_connection_is_replaced_once(
    gateway: Any, pulse: Any, alice: Any, order: Any
) -> None:
    await gateway.post("/api/orders", order, headers=alice)
    pulse.script = [pulse.drop]

    answer = await gateway.post("/api/orders", order, headers=alice)

    assert answer.status_code == 202
    first, second, third = pulse.seen
    assert first.connection == second.connection != third.connection
    assert second.body == third.body
    assert second.headers["x-request-id"] == third.headers["x-request-id"]


async def test_an_answer_that_breaks_off_is_asked_for_again(
    gateway: Any, pulse: Any, alice: Any, order: Any
) -> None:
    pulse.script = [pulse.drop_in_the_middle]

    assert (await gateway.post("/api/orders", order, headers=alice)).status_code == 202
    assert len(pulse.seen) == 2


async def test_a_request_is_sent_at_most_twice(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    pulse.script = [pulse.drop] * 5

    assert_unavailable(await gateway.post("/api/orders", order, headers=alice))
    assert len(pulse.seen) == 2


async def test_reads_survive_a_dead_connection_too(gateway: Any, pulse: Any, alice: Any, order_id: str) -> None:
    pulse.script = [pulse.drop]

    assert (await gateway.get(f"/api/orders/{order_id}", headers=alice)).status_code == 200


async def test_after_a_pause_in_which_pulse_closed_the_connection(
    gateway: Any, pulse: Any, alice: Any, order: Any
) -> None:
    pulse.idle_s = 0.3
    await gateway.post("/api/orders", order, headers=alice)
    closed = await asyncio.wait_for(pulse.ended.get(), 5)

    for _ in range(3):
        assert (await gateway.post("/api/orders", order, headers=alice)).status_code == 202
    assert pulse.last.connection != closed


async def test_many_dead_connections_at_once(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    async def post() -> int:
        return int((await gateway.post("/api/orders", order, headers=alice)).status_code)

    pulse.script = [pulse.answer(202, {"order_id": "x"}, after_s=0.2)] * 20
    await asyncio.gather(*(post() for _ in range(20)))
    pulse.dead_up_to = pulse.connections

    # As after a restart of Pulse: every connection that was open is dead.
    assert await asyncio.gather(*(post() for _ in range(20))) == [202] * 20


async def test_a_slow_pulse_is_given_up(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    pulse.script = [pulse.answer(202, {}, after_s=3)]
    began = time.monotonic()

    assert_unavailable(await gateway.post("/api/orders", order, headers=alice))

    assert 0.9 < time.monotonic() - began < 2
    assert len(pulse.seen) == 1
    assert (await gateway.post("/api/orders", order, headers=alice)).status_code == 202


async def test_the_limit_includes_the_wait_for_a_connection(
    stub: Any, own_pulse: Any, own_gateway: Any, alice: Any, order: Any
) -> None:
    async with (
        own_pulse(stub) as address,
        own_gateway(address, GAPI_PULSE_CONNECTIONS="1", GAPI_PULSE_TIMEOUT_SECONDS="0.5") as gateway,
    ):
        stub.script = [stub.answer(202, {}, after_s=3)]
        began = time.monotonic()

        answers = await asyncio.gather(*(gateway.post("/api/orders", order, headers=alice) for _ in range(3)))

        for answer in answers[:2]:
            assert_unavailable(answer)
        assert time.monotonic() - began < 2


async def test_a_pulse_that_is_not_there(
    stub: Any, own_pulse: Any, own_gateway: Any, alice: Any, order: Any
) -> None:
    async with own_pulse(stub) as address:
        pass  # its port is free now
    async with own_gateway(address) as gateway:
        assert_unavailable(await gateway.post("/api/orders", order, headers=alice))
        assert_unavailable(await gateway.get("/api/orders", headers=alice))
        ready = await gateway.get("/ready")

    assert ready.status_code == 503
    assert ready.json() == {"status": "unavailable", "checks": {"pulse": False}}
    assert ready.headers["retry-after"] == "1"


async def test_a_unix_socket(
    stub: Any, own_pulse: Any, own_gateway: Any, alice: Any, order: Any, order_id: str, tmp_path: Path
) -> None:
    async with own_pulse(stub, str(tmp_path / "pulse.sock")) as address, own_gateway(address) as gateway:
        assert (await gateway.post("/api/orders", order, headers=alice)).status_code == 202
        stub.script = [stub.drop]
        assert (await gateway.post("/api/orders", order, headers=alice)).status_code == 202
        assert (await gateway.get("/ready")).json() == {"status": "ready", "checks": {"pulse": True}}
        events = await gateway.get(f"/api/orders/{order_id}/events", headers=alice)
        assert events.json() == {"path": f"/internal/orders/{order_id}/events"}


async def test_an_address_with_a_path(
    stub: Any, own_pulse: Any, own_gateway: Any, alice: Any, order: Any
) -> None:
    async with own_pulse(stub) as address, own_gateway(f"{address}/pulse/") as gateway:
        stub.script = [stub.answer(202, {"order_id": "x"})]

        assert (await gateway.post("/api/orders", order, headers=alice)).status_code == 202
        assert stub.last.path == "/pulse/internal/orders"


@pytest.mark.parametrize(
    "step",
    [
        ("garbage",),
        ("answer", 401, {"error": {"code": "UNAUTHORIZED", "message": "token", "details": {}}}),
        ("answer", 403, {"error": {"code": "FORBIDDEN", "message": "token", "details": {}}}),
        ("answer", 405, {"error": {"code": "METHOD_NOT_ALLOWED", "message": "no", "details": {}}}),
        ("answer", 502, b"<html>Bad Gateway</html>", {"content-type": "text/html"}),
        ("answer", 301, b"", {"location": "https://example.com/", "content-type": "text/html"}),
        ("answer", 202, b"<html>", {"content-type": "text/html"}),
        ("answer", 202, b"{"),
        ("answer", 202, {"order": 5}),
    ],
)
async def test_what_is_no_answer_to_the_client_is_not_passed_on(
    gateway: Any, pulse: Any, alice: Any, order: Any, step: tuple[Any, ...]
) -> None:
    name, *arguments = step
    made = getattr(pulse, name)
    pulse.script = [made(*arguments) if arguments else made] * 2

    assert_unavailable(await gateway.post("/api/orders", order, headers=alice))
