"""Questions about positions and the ledger on their way to Pulse."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.gapi.test_orders import assert_error

Token = Callable[..., dict[str, str]]

ROUTES = [
    ("/api/positions", "/internal/positions"),
    ("/api/positions?strategy_tag=a%26b&closed=true", "/internal/positions?strategy_tag=a%26b&closed=true"),
    ("/api/positions?closed=false", "/internal/positions"),
    ("/api/ledger", "/internal/ledger?limit=50"),
    (
        "/api/ledger?day=2026-01-05&strategy_tag=macd&instrument=NSE%3AM%26M&status=OPEN&limit=7&cursor=a%20b",
        "/internal/ledger?day=2026-01-05&strategy_tag=macd&instrument=NSE%3AM%26M&status=OPEN&limit=7&cursor=a+b",
    ),
]


@pytest.mark.parametrize(("path", "internal"), ROUTES)
async def test_a_client_asks_for_its_own_and_an_admin_for_all(
    gateway: Any, pulse: Any, token: Token, path: str, internal: str
) -> None:
    for scope, client in (("orders:read", "ravi"), ("admin", None)):
        answer = await gateway.client.get(path, headers=token(scope, sub="ravi"))

        assert answer.status_code == 200
        assert answer.json() == {"path": internal}
        assert (pulse.last.method, pulse.last.path) == ("GET", internal)
        assert pulse.last.headers.get("x-client-id") == client


@pytest.mark.parametrize("path", ["/api/positions", "/api/ledger"])
async def test_credentials_are_required(gateway: Any, pulse: Any, token: Token, path: str) -> None:
    assert_error(await gateway.client.get(path), 401, "UNAUTHORIZED")
    answer = await gateway.client.get(path, headers=token("orders:write"))
    assert_error(answer, 403, "FORBIDDEN", scope="orders:read")
    assert pulse.seen == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("ledger?limit=0", "limit"),
        ("ledger?limit=201", "limit"),
        ("ledger?limit=x", "limit"),
        (f"ledger?cursor={'x' * 257}", "cursor"),
        (f"ledger?instrument={'x' * 81}", "instrument"),
        (f"ledger?strategy_tag={'x' * 65}", "strategy_tag"),
        (f"ledger?day={'1' * 11}", "day"),
        (f"ledger?status={'x' * 17}", "status"),
        (f"positions?strategy_tag={'x' * 65}", "strategy_tag"),
        ("positions?closed=maybe", "closed"),
    ],
)
async def test_out_of_range_gets_no_further(
    gateway: Any, pulse: Any, token: Token, query: str, field: str
) -> None:
    answer = await gateway.client.get(f"/api/{query}", headers=token("orders:read"))

    assert_error(answer, 400, "INVALID_REQUEST", field=field)
    assert pulse.seen == []


async def test_refusal_of_pulse_passes_through(gateway: Any, pulse: Any, token: Token) -> None:
    error = {"error": {"code": "INVALID_REQUEST", "message": "day must be a date", "details": {"field": "day"}}}
    pulse.script = [pulse.answer(400, error)]

    answer = await gateway.client.get("/api/ledger?day=today", headers=token("orders:read"))

    assert (answer.status_code, answer.json()) == (400, error)
