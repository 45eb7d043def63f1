"""Orders on their way to Pulse, and its answers on their way back."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Token = Callable[..., dict[str, str]]


def assert_error(answer: Any, status: int, code: str, **details: Any) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["details"] == details or not details
    assert answer.headers["x-request-id"]
    assert answer.headers["x-trace-id"]


async def test_an_order_reaches_pulse_byte_for_byte(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    body = json.dumps(order, indent=3).encode() + b"\n"
    ids = {"X-Request-Id": "call-1", "X-Trace-Id": "trace-1"}

    answer = await gateway.post("/api/orders", body, headers=alice | ids)

    assert answer.status_code == 202
    assert answer.json() == {"order_id": "ord_01kfa8r4gve9t9m3sx6y1c0d5e", "order_unique_key": "k-1"}
    assert answer.headers["location"] == "/api/orders/ord_01kfa8r4gve9t9m3sx6y1c0d5e"
    assert answer.headers["x-request-id"] == "call-1"
    assert "idempotent-replayed" not in answer.headers
    [seen] = pulse.seen
    assert (seen.method, seen.path, seen.body) == ("POST", "/internal/orders", body)
    assert seen.headers["authorization"] == "Bearer planted-service-token"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["x-client-id"] == "alice"
    assert seen.headers["x-order-source"] == "api"
    assert seen.headers["x-request-id"] == "call-1"
    assert seen.headers["x-trace-id"] == "trace-1"
    assert "x-body-digest" not in seen.headers
    assert "cookie" not in seen.headers


async def test_ids_are_made_once_for_both_hops(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    answer = await gateway.post("/api/orders", order, headers=alice)

    assert pulse.last.headers["x-request-id"] == answer.headers["x-request-id"]
    assert pulse.last.headers["x-trace-id"] == answer.headers["x-trace-id"]


async def test_a_client_cannot_name_another(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    forged = {"X-Client-Id": "bob", "X-Order-Source": "tradingview", "X-Body-Digest": "0" * 64}

    await gateway.post("/api/orders", order, headers=alice | forged)

    assert pulse.last.headers["x-client-id"] == "alice"
    assert pulse.last.headers["x-order-source"] == "api"
    assert "x-body-digest" not in pulse.last.headers


async def test_an_admin_orders_as_itself(gateway: Any, pulse: Any, admin: Any, order: Any) -> None:
    assert (await gateway.post("/api/orders", order, headers=admin)).status_code == 202
    assert pulse.last.headers["x-client-id"] == "root"


async def test_idempotency_key_stands_in(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    del order["order_unique_key"]

    answer = await gateway.post("/api/orders", order, headers=alice | {"Idempotency-Key": "h-1"})

    assert answer.status_code == 202
    assert json.loads(pulse.last.body) == order | {"order_unique_key": "h-1"}


async def test_an_equal_idempotency_key_changes_nothing(
    gateway: Any, pulse: Any, alice: Any, order: Any
) -> None:
    body = json.dumps(order).encode()

    await gateway.post("/api/orders", body, headers=alice | {"Idempotency-Key": "k-1"})

    assert pulse.last.body == body


@pytest.mark.parametrize("key", ["k-2", "", "a b", "x" * 129])
async def test_a_different_or_malformed_idempotency_key(
    gateway: Any, pulse: Any, alice: Any, order: Any, key: str
) -> None:
    answer = await gateway.post("/api/orders", order, headers=alice | {"Idempotency-Key": key})

    assert_error(answer, 400, "INVALID_REQUEST", field="Idempotency-Key")
    assert pulse.seen == []


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"order_unique_key": None}, "INVALID_REQUEST", "order_unique_key"),
        ({"order_unique_key": "a/b"}, "INVALID_REQUEST", "order_unique_key"),
        ({"instrument": "RELIANCE"}, "INVALID_INSTRUMENT", "instrument"),
        ({"instrument": None}, "INVALID_INSTRUMENT", "instrument"),
        ({"side": "HOLD"}, "INVALID_REQUEST", "side"),
        ({"total_quantity": "5"}, "INVALID_QUANTITY", "total_quantity"),
        ({"total_quantity": 0}, "INVALID_QUANTITY", "total_quantity"),
        ({"split_config": {"num_splits": 1, "duration_minutes": 5}}, "INVALID_SPLIT_CONFIG", None),
        ({"split_config": {"num_splits": 2}}, "INVALID_SPLIT_CONFIG", None),
        ({"split_config": 5}, "INVALID_SPLIT_CONFIG", "split_config"),
        ({"start_at": "2026-01-05T09:15:00"}, "INVALID_REQUEST", "start_at"),
        ({"order_type": "STOP"}, "INVALID_REQUEST", "order_type"),
        ({"order_type": "LIMIT"}, "INVALID_PRICE", "limit_price"),
        ({"order_type": "LIMIT", "limit_price": "ten"}, "INVALID_PRICE", "limit_price"),
        ({"limit_price": "10"}, "INVALID_PRICE", "limit_price"),
        ({"trigger_price": "10"}, "INVALID_PRICE", "trigger_price"),
        ({"product": "BO"}, "INVALID_REQUEST", "product"),
        ({"validity": "GTC"}, "INVALID_REQUEST", "validity"),
        ({"strategy_tag": "a b"}, "INVALID_REQUEST", "strategy_tag"),
        ({"quantity": 5}, "INVALID_REQUEST", "quantity"),
    ],
)
async def test_a_bad_field_never_reaches_pulse(
    gateway: Any, pulse: Any, alice: Any, order: Any, changes: Any, code: str, field: str | None
) -> None:
    answer = await gateway.post("/api/orders", order | changes, headers=alice)

    assert_error(answer, 400, code, **({"field": field} if field else {}))
    assert pulse.seen == []


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("order_unique_key", "INVALID_REQUEST"),
        ("instrument", "INVALID_INSTRUMENT"),
        ("side", "INVALID_REQUEST"),
        ("total_quantity", "INVALID_QUANTITY"),
    ],
)
async def test_a_missing_field_is_named(
    gateway: Any, pulse: Any, alice: Any, order: Any, field: str, code: str
) -> None:
    del order[field]

    assert_error(await gateway.post("/api/orders", order, headers=alice), 400, code, field=field)
    assert pulse.seen == []


@pytest.mark.parametrize("path", ["/api/orders", "/api/orders/preview", "/api/trading/halt"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b"[]", b"null", b'{"side": "\xff"}', b"[" * 60_000, b"\x00"]
)
async def test_a_body_that_is_not_what_is_asked_for(
    gateway: Any, pulse: Any, token: Token, path: str, body: bytes
) -> None:
    assert_error(await gateway.post(path, body, headers=token("admin")), 400, "INVALID_REQUEST")
    assert pulse.seen == []


async def test_something_after_the_order(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    answer = await gateway.post("/api/orders", json.dumps(order).encode() + b"{}", headers=alice)

    assert_error(answer, 400, "INVALID_REQUEST")
    assert pulse.seen == []


@pytest.mark.parametrize("path", ["/api/orders", "/api/orders/preview", "/api/trading/resume"])
@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "", "application/json-patch+json"]
)
async def test_another_media_type(
    gateway: Any, pulse: Any, admin: Any, order: Any, path: str, media_type: str
) -> None:
    answer = await gateway.post(path, order, headers=admin | {"Content-Type": media_type})

    assert_error(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
    assert pulse.seen == []


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "Application/JSON"])
async def test_json_in_other_words(gateway: Any, alice: Any, order: Any, media_type: str) -> None:
    answer = await gateway.post("/api/orders", order, headers=alice | {"Content-Type": media_type})

    assert answer.status_code == 202


async def test_the_size_of_a_body_is_limited(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    fits = json.dumps(order).encode().ljust(64 * 1024)

    assert (await gateway.post("/api/orders", fits, headers=alice)).status_code == 202
    answer = await gateway.post("/api/orders", fits + b" ", headers=alice)
    assert_error(answer, 413, "PAYLOAD_TOO_LARGE")
    assert len(pulse.seen) == 1


async def test_the_size_is_limited_without_a_content_length(gateway: Any, alice: Any) -> None:
    async def chunks() -> Any:
        for _ in range(9):
            yield b" " * 8192

    headers = alice | {"Content-Type": "application/json"}
    answer = await gateway.client.post("/api/orders", content=chunks(), headers=headers)

    assert_error(answer, 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/api/orders", {"GET", "POST"}),
        ("PUT", "/api/orders/{id}", {"GET"}),
        ("GET", "/api/orders/{id}/cancel", {"POST"}),
        ("GET", "/api/orders/preview", {"POST"}),
        ("POST", "/api/orders/{id}/slices", {"GET"}),
        ("POST", "/api/orders/{id}/events", {"GET"}),
        ("GET", "/api/trading/halt", {"POST"}),
        ("GET", "/api/webhooks/tradingview", {"POST"}),
        ("GET", "/api/webhooks/tradingview/x", {"POST"}),
        ("POST", "/health", {"GET"}),
        ("POST", "/docs", {"GET"}),
        ("PATCH", "/internal/metrics", {"GET"}),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    gateway: Any, order_id: str, method: str, path: str, allowed: set[str]
) -> None:
    answer = await gateway.client.request(method, path.replace("{id}", order_id))

    assert_error(answer, 405, "METHOD_NOT_ALLOWED")
    assert allowed <= set(answer.headers["allow"].split(", "))


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/order", "/internal/orders", "/schema", "/docs/assets/", "/x"]
)
async def test_no_such_route(gateway: Any, path: str) -> None:
    assert_error(await gateway.get(path), 404, "NOT_FOUND")


ROUTES = [
    ("POST", "/api/orders", "orders:write"),
    ("GET", "/api/orders", "orders:read"),
    ("POST", "/api/orders/preview", "orders:read"),
    ("GET", "/api/orders/{id}", "orders:read"),
    ("GET", "/api/orders/{id}/slices", "orders:read"),
    ("GET", "/api/orders/{id}/events", "orders:read"),
    ("POST", "/api/orders/{id}/cancel", "orders:write"),
    ("POST", "/api/trading/halt", "admin"),
    ("POST", "/api/trading/resume", "admin"),
]


@pytest.mark.parametrize(("method", "path", "scope"), ROUTES)
async def test_credentials_are_required(
    gateway: Any, pulse: Any, token: Token, order_id: str, method: str, path: str, scope: str
) -> None:
    path = path.replace("{id}", order_id)
    others = " ".join({"orders:read", "orders:write", "other"} - {scope})

    for headers in ({}, {"Authorization": "Bearer x.y.z"}, token(scope, valid_s=-1), token(scope, sub="a b")):
        answer = await gateway.client.request(method, path, headers=headers)
        assert_error(answer, 401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == "Bearer"
    answer = await gateway.client.request(method, path, headers=token(others))
    assert_error(answer, 403, "FORBIDDEN", scope=scope)
    assert pulse.seen == []


async def test_errors_come_in_the_order_of_the_contract(gateway: Any, token: Token) -> None:
    large = b" " * 70_000

    assert_error(await gateway.post("/api/orders", large), 401, "UNAUTHORIZED")
    assert_error(await gateway.post("/api/orders", large, headers=token("other")), 403, "FORBIDDEN")
    headers = token() | {"Content-Type": "text/plain"}
    assert_error(await gateway.post("/api/orders", large, headers=headers), 413, "PAYLOAD_TOO_LARGE")
    assert_error(await gateway.post("/api/orders", b"{", headers=headers), 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("status", "code", "details"),
    [
        (409, "DUPLICATE_ORDER_UNIQUE_KEY", {"existing_order_id": "ord_x"}),
        (422, "LIMITS_EXCEEDED", {"feasible": 80}),
        (422, "INVALID_QUANTITY", {"field": "total_quantity", "lot_size": 75}),
        (400, "INVALID_REQUEST", {"field": "start_at"}),
        (500, "INTERNAL_ERROR", {}),
    ],
)
async def test_an_error_of_pulse_passes_through(
    gateway: Any, pulse: Any, alice: Any, order: Any, status: int, code: str, details: Any
) -> None:
    error = {"error": {"code": code, "message": "as Pulse says it", "details": details}}
    pulse.script = [pulse.answer(status, error, {"X-Request-Id": "its-own", "Server": "pulse"})]

    answer = await gateway.post("/api/orders", order, headers=alice | {"X-Request-Id": "mine"})

    assert (answer.status_code, answer.json()) == (status, error)
    assert answer.headers.get_list("x-request-id") == ["mine"]
    assert "server" not in answer.headers
    assert "location" not in answer.headers


@pytest.mark.parametrize("given", [{}, {"Retry-After": "1"}])
async def test_a_503_of_pulse_carries_retry_after(
    gateway: Any, pulse: Any, alice: Any, order: Any, given: Any
) -> None:
    error = {"error": {"code": "DATABASE_ERROR", "message": "send it again", "details": {}}}
    pulse.script = [pulse.answer(503, error, given)]

    answer = await gateway.post("/api/orders", order, headers=alice)

    assert_error(answer, 503, "DATABASE_ERROR")
    assert answer.headers.get_list("retry-after") == ["1"]


async def test_a_replay_is_marked(gateway: Any, pulse: Any, alice: Any, order: Any, order_id: str) -> None:
    accepted = {"order_id": order_id, "order_unique_key": "k-1"}
    pulse.script = [pulse.answer(202, accepted, {"Idempotent-Replayed": "true"})]

    answer = await gateway.post("/api/orders", order, headers=alice)

    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.headers["location"] == f"/api/orders/{order_id}"


READS = [
    ("GET", "/api/orders", "/internal/orders?limit=50"),
    ("GET", "/api/orders?limit=7&cursor=a%2Fb%20c", "/internal/orders?limit=7&cursor=a%2Fb+c"),
    ("GET", "/api/orders/{id}", "/internal/orders/{id}"),
    ("GET", "/api/orders/{id}/slices", "/internal/orders/{id}/slices"),
    ("POST", "/api/orders/{id}/cancel", "/internal/orders/{id}/cancel"),
]


@pytest.mark.parametrize(("method", "path", "asked"), READS)
async def test_reads_and_cancels_are_for_the_client(
    gateway: Any, pulse: Any, alice: Any, admin: Any, order_id: str, method: str, path: str, asked: str
) -> None:
    path, asked = path.replace("{id}", order_id), asked.replace("{id}", order_id)

    answer = await gateway.client.request(method, path, headers=alice)
    assert answer.status_code == (202 if method == "POST" else 200)
    assert answer.json() == {"path": asked}
    assert pulse.last.headers["x-client-id"] == "alice"

    await gateway.client.request(method, path, headers=admin)
    assert (pulse.last.method, pulse.last.path) == (method, asked)
    assert "x-client-id" not in pulse.last.headers


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=", f"cursor={'x' * 257}"])
async def test_a_bad_page(gateway: Any, pulse: Any, alice: Any, query: str) -> None:
    assert_error(await gateway.get(f"/api/orders?{query}", headers=alice), 400, "INVALID_REQUEST")
    assert pulse.seen == []


@pytest.mark.parametrize(
    "bad",
    [
        "x",
        "ord_",
        "ord_01kfa8r4gve9t9m3sx6y1c0d5",
        "ord_01kfa8r4gve9t9m3sx6y1c0d5ef",
        "ORD_01KFA8R4GVE9T9M3SX6Y1C0D5E",
        "ord_01kfa8r4gve9t9m3sx6y1c0d5%0A",
        "..%2f..%2ftrading%2fhalt%3fxxxxx",
        "ord_01kfa8r4gve9t9m3sx6y1c0d%C3%A9",
    ],
)
@pytest.mark.parametrize(
    ("method", "tail"), [("GET", ""), ("GET", "/slices"), ("GET", "/events"), ("POST", "/cancel")]
)
async def test_what_is_no_order_id_is_not_found(
    gateway: Any, pulse: Any, alice: Any, bad: str, method: str, tail: str
) -> None:
    answer = await gateway.client.request(method, f"/api/orders/{bad}{tail}", headers=alice)

    assert_error(answer, 404, "NOT_FOUND")
    assert pulse.seen == []


async def test_a_preview_passes_through(gateway: Any, pulse: Any, alice: Any, order: Any) -> None:
    del order["order_unique_key"]
    body = json.dumps(order).encode()

    answer = await gateway.post("/api/orders/preview", body, headers=alice)

    assert answer.status_code == 200
    assert (pulse.last.path, pulse.last.body) == ("/internal/orders/preview", body)
    assert pulse.last.headers["x-client-id"] == "alice"


async def test_a_preview_takes_no_key(gateway: Any, alice: Any, order: Any) -> None:
    answer = await gateway.post("/api/orders/preview", order, headers=alice)

    assert_error(answer, 400, "INVALID_REQUEST", field="order_unique_key")


@pytest.mark.parametrize("command", ["halt", "resume"])
async def test_halt_and_resume_say_who(gateway: Any, pulse: Any, admin: Any, command: str) -> None:
    body = b'{"reason": "a test"}'

    answer = await gateway.post(f"/api/trading/{command}", body, headers=admin)

    assert answer.status_code == 200
    assert (pulse.last.path, pulse.last.body) == (f"/internal/trading/{command}", body)
    assert pulse.last.headers["x-client-id"] == "root"


@pytest.mark.parametrize("body", [{}, {"reason": 5}, {"reason": ""}, {"reason": "x", "by": "me"}])
async def test_a_halt_without_a_reason(gateway: Any, pulse: Any, admin: Any, body: Any) -> None:
    assert_error(await gateway.post("/api/trading/halt", body, headers=admin), 400, "INVALID_REQUEST")
    assert pulse.seen == []
