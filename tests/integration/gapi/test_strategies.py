"""Strategies on their way to Pulse, and its answers on their way back."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.gapi.test_orders import assert_error

Token = Callable[..., dict[str, str]]

MACD = {"kind": "macd", "instruments": ["NSE:TCS", "MCX:GOLD26FEBFUT"], "parameters": {"fast": 5, "x": None}}
ROUTES = [
    ("GET", "/api/strategies", "orders:read"),
    ("PUT", "/api/strategies/macd-tcs", "admin"),
    ("POST", "/api/strategies/macd-tcs/start", "admin"),
    ("POST", "/api/strategies/macd-tcs/stop", "admin"),
]


async def put(gateway: Any, name: str, body: object, headers: dict[str, str]) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    typed = {"Content-Type": "application/json"} | headers
    return await gateway.client.put(f"/api/strategies/{name}", content=content, headers=typed)


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_requests_reach_pulse_and_say_who(
    gateway: Any, pulse: Any, token: Token, method: str, path: str, scope: str
) -> None:
    body = json.dumps(MACD, indent=2).encode() if method == "PUT" else b""
    headers = token(scope, sub="ravi") | ({"Content-Type": "application/json"} if body else {})

    answer = await gateway.client.request(method, path, content=body, headers=headers)

    assert answer.status_code == 200
    assert answer.json() == {"path": path.replace("/api/", "/internal/")}
    assert (pulse.last.method, pulse.last.path) == (method, path.replace("/api/", "/internal/"))
    assert (pulse.last.headers["x-client-id"], pulse.last.body) == ("ravi", body)


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_credentials_are_required(
    gateway: Any, pulse: Any, token: Token, method: str, path: str, scope: str
) -> None:
    others = " ".join({"orders:read", "orders:write", "other"} - {scope})

    answer = await gateway.client.request(method, path)
    assert_error(answer, 401, "UNAUTHORIZED")
    answer = await gateway.client.request(method, path, headers=token(others))
    assert_error(answer, 403, "FORBIDDEN", scope=scope)
    assert pulse.seen == []


@pytest.mark.parametrize(
    ("over", "field"),
    [
        ({"kind": ""}, "kind"),
        ({"kind": 7}, "kind"),
        ({"kind": "x" * 65}, "kind"),
        ({"instruments": "NSE:TCS"}, "instruments"),
        ({"instruments": []}, "instruments"),
        ({"instruments": ["TCS"]}, "instruments[0]"),
        ({"instruments": ["NSE:TCS"] * 51}, "instruments"),
        ({"parameters": [1]}, "parameters"),
        ({"mode": "LIVE"}, "mode"),
        *[
            ({"capital": capital}, "capital")
            for capital in (0, -1.5, "-1", "1e9", "1_0", "1.005", "1\n", "", True, 10**13, "NaN")
        ],
        ({"code": "import os"}, "code"),
    ],
    ids=str,
)
async def test_bad_values_are_refused_by_field(
    gateway: Any, pulse: Any, admin: Any, over: Any, field: str
) -> None:
    answer = await put(gateway, "macd-tcs", MACD | over, admin)

    assert_error(answer, 400, "INVALID_REQUEST", field=field)
    assert pulse.seen == []


@pytest.mark.parametrize("capital", ["500000", "500000.50", 500_000, 0.5, None])
async def test_a_capital_of_its_own_goes_through(gateway: Any, pulse: Any, admin: Any, capital: Any) -> None:
    answer = await put(gateway, "macd-tcs", MACD | {"capital": capital}, admin)

    assert answer.status_code == 200
    assert json.loads(pulse.last.body)["capital"] == capital


@pytest.mark.parametrize("name", ["-a", "a%20b", "%2e%2e%2forders", "a%0a", "x" * 65, "%C3%A9"])
async def test_what_is_no_name_gets_no_further(gateway: Any, pulse: Any, admin: Any, name: str) -> None:
    changed = await put(gateway, name, MACD, admin)

    assert changed.status_code in (400, 404)
    for step in ("start", "stop"):
        answer = await gateway.client.post(f"/api/strategies/{name}/{step}", headers=admin)
        assert_error(answer, 404, "NOT_FOUND")
    assert pulse.seen == []


async def test_refusal_of_pulse_passes_through(gateway: Any, pulse: Any, admin: Any) -> None:
    error = {"error": {"code": "INVALID_REQUEST", "message": "to be stopped first", "details": {}}}
    pulse.script = [pulse.answer(409, error)]

    answer = await put(gateway, "macd-tcs", MACD, admin)

    assert (answer.status_code, answer.json()) == (409, error)
