"""Health, readiness, figures, the document and the page."""

from typing import Any

import pytest

from gapi import openapi


async def test_health(gateway: Any, pulse: Any) -> None:
    answer = await gateway.get("/health")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "service": "gapi"})
    assert pulse.seen == []


@pytest.mark.parametrize("path", ["/ready", "/internal/ready"])
async def test_ready_asks_pulse(gateway: Any, pulse: Any, operations: Any, path: str) -> None:
    answer = await gateway.get(path, headers=operations)

    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": {"pulse": True}})
    assert pulse.last.path == "/health"


@pytest.mark.parametrize("path", ["/ready", "/internal/ready"])
async def test_not_ready(gateway: Any, pulse: Any, operations: Any, path: str) -> None:
    pulse.script = [pulse.answer(500, {})]

    answer = await gateway.get(path, headers=operations)

    assert (answer.status_code, answer.json()) == (503, {"status": "unavailable", "checks": {"pulse": False}})
    assert answer.headers["retry-after"] == "1"


async def test_ready_gives_up_soon(stub: Any, own_pulse: Any, own_gateway: Any) -> None:
    async with own_pulse(stub) as address, own_gateway(address, GAPI_PULSE_TIMEOUT_SECONDS="30") as gateway:
        stub.script = [stub.answer(200, {}, after_s=5)]

        assert (await gateway.get("/ready", timeout=3)).status_code == 503


@pytest.mark.parametrize("path", ["/internal/ready", "/internal/metrics"])
async def test_operations_need_the_service_token(gateway: Any, pulse: Any, admin: Any, path: str) -> None:
    for headers in ({}, admin, {"Authorization": "Bearer planted-service-toke"}):
        answer = await gateway.get(path, headers=headers)

        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "UNAUTHORIZED"
    assert pulse.seen == []


async def test_metrics_count_by_route(
    gateway: Any, alice: Any, operations: Any, hook_secret: str, order_id: str
) -> None:
    await gateway.get(f"/api/orders/{order_id}", headers=alice)
    await gateway.post(f"/api/webhooks/tradingview/{hook_secret}", b"")
    await gateway.get(f"/no/such/{hook_secret}")

    answer = await gateway.get("/internal/metrics", headers=operations)

    assert answer.headers["content-type"].startswith("text/plain")
    assert 'route="/api/orders/{order_id}"' in answer.text
    assert 'route="/api/webhooks/tradingview/{token}"' in answer.text
    assert 'route="unmatched"' in answer.text
    assert order_id not in answer.text
    assert "planted" not in answer.text


async def test_the_document_is_served(gateway: Any) -> None:
    answer = await gateway.get("/openapi.json")

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == openapi.document()


async def test_the_page_and_its_files(gateway: Any) -> None:
    page = await gateway.get("/docs")

    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    for name, media_type in (
        ("swagger-ui.css", "text/css"),
        ("swagger-ui-bundle.js", "text/javascript"),
        ("start.js", "text/javascript"),
        ("favicon-32x32.png", "image/png"),
    ):
        assert f"/docs/assets/{name}" in page.text
        asset = await gateway.get(f"/docs/assets/{name}")
        assert asset.status_code == 200
        assert asset.headers["content-type"].split(";")[0] == media_type
        assert asset.headers["cache-control"] == "public, max-age=3600"


@pytest.mark.parametrize("name", ["index.css", "..%2fcore.py", "%2e%2e", "swagger-ui.css%00", "x"])
async def test_no_other_file_is_served(gateway: Any, name: str) -> None:
    answer = await gateway.get(f"/docs/assets/{name}")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"
