"""The internal routes: what they answer, and that bad input stores nothing."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pulse_domain.testing.memory_queue import RecordingQueue
from tests.integration.pulse_api.conftest import Api

ORDER = {
    "order_unique_key": "k-1",
    "instrument": "NSE:TCS",
    "side": "BUY",
    "total_quantity": 120,
    "split_config": {"num_splits": 6, "duration_minutes": 1},
}
GOOD = json.dumps(ORDER).encode()
LIMIT = {"order_type": "LIMIT", "limit_price": "3500.05"}
SL = LIMIT | {"order_type": "SL"}
NIFTY = {"instrument": "NFO:NIFTY26NOVFUT", "total_quantity": 65 * 60}


async def test_accepted_order_is_stored_with_its_ids_and_hinted(api: Api) -> None:
    answer, body = await api.send(
        "POST", "/internal/orders", ORDER, {"X-Request-Id": "req-7", "X-Trace-Id": "trace-7"}
    )

    assert answer.status == 202
    stored = await api.ports.store.get(body["order_id"])
    assert stored is not None
    assert (stored.order.request_id, stored.order.trace_id) == ("req-7", "trace-7")
    assert isinstance(api.ports.queue, RecordingQueue)
    assert [job.order_id for job in api.ports.queue.jobs] == [body["order_id"]]


async def test_replay_conflict_and_other_client(api: Api) -> None:
    _, first = await api.send("POST", "/internal/orders", ORDER)
    replay, same = await api.send("POST", "/internal/orders", ORDER)
    conflict, error = await api.send("POST", "/internal/orders", ORDER | {"side": "SELL"})
    other, another = await api.send("POST", "/internal/orders", ORDER, {"X-Client-Id": "desk-2"})

    assert (replay.status, replay.headers["idempotent-replayed"], same) == (202, "true", first)
    assert conflict.status == 409
    assert error["error"]["details"] == {"existing_order_id": first["order_id"]}
    assert other.status == 202
    assert another["order_id"] != first["order_id"]


async def test_fifty_at_once_are_one_order(api: Api) -> None:
    answers = await asyncio.gather(*(api.send("POST", "/internal/orders", ORDER) for _ in range(50)))

    assert {answer.status for answer, _ in answers} == {202}
    assert len({body["order_id"] for _, body in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer, _ in answers) == 1
    assert await api.orders_stored() == 1


def split(num_splits: int, duration_minutes: int, **over: Any) -> dict[str, Any]:
    return {"split_config": {"num_splits": num_splits, "duration_minutes": duration_minutes, **over}}


FAULTS: list[tuple[str, dict[str, Any] | None, int, str, str | None]] = [
    # name, what changes (... takes the field away), status, code, field
    *[
        (f"{field} is missing", {field: ...}, 400, code, field)
        for field, code in (
            ("order_unique_key", "INVALID_REQUEST"),
            ("instrument", "INVALID_INSTRUMENT"),
            ("side", "INVALID_REQUEST"),
            ("total_quantity", "INVALID_QUANTITY"),
        )
    ],
    ("key is empty", {"order_unique_key": ""}, 400, "INVALID_REQUEST", "order_unique_key"),
    ("key is long", {"order_unique_key": "x" * 129}, 400, "INVALID_REQUEST", "order_unique_key"),
    ("key has a space", {"order_unique_key": "a b"}, 400, "INVALID_REQUEST", "order_unique_key"),
    ("key ends in a line break", {"order_unique_key": "a\n"}, 400, "INVALID_REQUEST", "order_unique_key"),
    ("key has a zero byte", {"order_unique_key": "a\0"}, 400, "INVALID_REQUEST", "order_unique_key"),
    ("instrument is a number", {"instrument": 5}, 400, "INVALID_INSTRUMENT", "instrument"),
    ("instrument has no exchange", {"instrument": "TCS"}, 400, "INVALID_INSTRUMENT", "instrument"),
    ("exchange is unknown", {"instrument": "NYSE:TCS"}, 400, "INVALID_INSTRUMENT", "instrument"),
    ("symbol has a zero byte", {"instrument": "NSE:T\0CS"}, 400, "INVALID_INSTRUMENT", "instrument"),
    ("symbol is in lower case", {"instrument": "NSE:tcs"}, 400, "INVALID_INSTRUMENT", "instrument"),
    ("symbol is long", {"instrument": "NSE:" + "A" * 100}, 400, "INVALID_INSTRUMENT", "instrument"),
    ("side is in lower case", {"side": "buy"}, 400, "INVALID_REQUEST", "side"),
    ("side is null", {"side": None}, 400, "INVALID_REQUEST", "side"),
    ("quantity is a text", {"total_quantity": "5"}, 400, "INVALID_QUANTITY", "total_quantity"),
    ("quantity is broken", {"total_quantity": 5.5}, 400, "INVALID_QUANTITY", "total_quantity"),
    ("quantity is zero", {"total_quantity": 0}, 400, "INVALID_QUANTITY", "total_quantity"),
    ("quantity is negative", {"total_quantity": -1}, 400, "INVALID_QUANTITY", "total_quantity"),
    ("quantity is huge", {"total_quantity": 10**30}, 400, "INVALID_QUANTITY", "total_quantity"),
    ("quantity is true", {"total_quantity": True}, 400, "INVALID_QUANTITY", "total_quantity"),
    ("split is a number", {"split_config": 6}, 400, "INVALID_SPLIT_CONFIG", "split_config"),
    ("split is empty", {"split_config": {}}, 400, "INVALID_SPLIT_CONFIG", None),
    ("one slice", split(1, 1), 400, "INVALID_SPLIT_CONFIG", None),
    ("101 slices", split(101, 1), 400, "INVALID_SPLIT_CONFIG", None),
    ("no minutes", split(2, 0), 400, "INVALID_SPLIT_CONFIG", None),
    ("two days", split(2, 2880), 400, "INVALID_SPLIT_CONFIG", None),
    (
        "split has a word more",
        {"split_config": {"num_splits": 2, "duration_minutes": 1, "jitter": 1}},
        400,
        "INVALID_SPLIT_CONFIG",
        None,
    ),
    ("more slices than units", {"total_quantity": 5}, 422, "INVALID_SPLIT_CONFIG", None),
    ("start without offset", {"start_at": "2030-01-01T09:15:00"}, 400, "INVALID_REQUEST", "start_at"),
    ("start is no time", {"start_at": "tomorrow"}, 400, "INVALID_REQUEST", "start_at"),
    ("start has passed", {"start_at": "2020-01-01T09:15:00+05:30"}, 400, "INVALID_REQUEST", "start_at"),
    ("start at the end of time", {"start_at": "9999-12-31T23:59:59+00:00"}, 400, "INVALID_REQUEST", "start_at"),
    ("order type is unknown", {"order_type": "STOP"}, 400, "INVALID_REQUEST", "order_type"),
    ("LIMIT without a price", {"order_type": "LIMIT"}, 400, "INVALID_PRICE", "limit_price"),
    ("MARKET with a price", {"limit_price": "5"}, 400, "INVALID_PRICE", "limit_price"),
    ("price is zero", LIMIT | {"limit_price": 0}, 400, "INVALID_PRICE", "limit_price"),
    ("price is negative", LIMIT | {"limit_price": "-5"}, 400, "INVALID_PRICE", "limit_price"),
    ("price is not a number", LIMIT | {"limit_price": "NaN"}, 400, "INVALID_PRICE", "limit_price"),
    ("price is infinite", LIMIT | {"limit_price": "Infinity"}, 400, "INVALID_PRICE", "limit_price"),
    ("price is astronomic", LIMIT | {"limit_price": "1E+999999"}, 400, "INVALID_PRICE", "limit_price"),
    ("price is microscopic", LIMIT | {"limit_price": "1E-999999"}, 400, "INVALID_PRICE", "limit_price"),
    ("price is a word", LIMIT | {"limit_price": "high"}, 400, "INVALID_PRICE", "limit_price"),
    ("price is off the tick", LIMIT | {"limit_price": "3500.03"}, 422, "INVALID_PRICE", "limit_price"),
    (
        "SL split",
        {"order_type": "SL", "limit_price": 5, "trigger_price": 5},
        400,
        "INVALID_SPLIT_CONFIG",
        "split_config",
    ),
    ("SL without a trigger", SL | {"split_config": None}, 400, "INVALID_PRICE", "trigger_price"),
    ("product is unknown", {"product": "MTF"}, 400, "INVALID_REQUEST", "product"),
    ("CNC on a future", NIFTY | {"product": "CNC"}, 400, "INVALID_REQUEST", "product"),
    ("off the lot", NIFTY | {"total_quantity": 100}, 422, "INVALID_QUANTITY", "total_quantity"),
    ("validity is unknown", {"validity": "GTC"}, 400, "INVALID_REQUEST", "validity"),
    ("tag is empty", {"strategy_tag": ""}, 400, "INVALID_REQUEST", "strategy_tag"),
    ("tag has odd characters", {"strategy_tag": "ü"}, 400, "INVALID_REQUEST", "strategy_tag"),
    ("a field is unknown", {"qty": 5}, 400, "INVALID_REQUEST", "qty"),
    (
        "more than the broker takes",
        NIFTY | {"total_quantity": 65 * 10_000_000, "split_config": None},
        422,
        "LIMITS_EXCEEDED",
        None,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status", "code", "field"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
async def test_bad_field_is_named_and_nothing_is_stored(
    api: Api, change: dict[str, Any], status: int, code: str, field: str | None
) -> None:
    body = {name: value for name, value in (ORDER | change).items() if value is not ...}

    answer, error = await api.send("POST", "/internal/orders", body)

    assert (answer.status, error["error"]["code"]) == (status, code), error
    if field is not None:
        assert error["error"]["details"]["field"] == field
    assert await api.orders_stored() == 0


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "INVALID_REQUEST"),
        (b"", {}, 400, "INVALID_REQUEST"),
        (b"[]", {}, 400, "INVALID_REQUEST"),
        (b"\xff\xfe{}", {}, 400, "INVALID_REQUEST"),
        (b'{"side": "\\ud800"}', {}, 400, "INVALID_REQUEST"),
        (b"[" * 30_000, {}, 400, "INVALID_REQUEST"),
        (b" " * 70_000, {}, 413, "PAYLOAD_TOO_LARGE"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"{}", {"Content-Type": ""}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b"{}", {"Authorization": ""}, 401, "UNAUTHORIZED"),
        (b"{}", {"Authorization": "Bearer wrong"}, 401, "UNAUTHORIZED"),
        (GOOD, {"X-Client-Id": "a b"}, 400, "INVALID_REQUEST"),
        (GOOD, {"X-Order-Source": "fax"}, 400, "INVALID_REQUEST"),
        (GOOD, {"X-Body-Digest": "abc"}, 400, "INVALID_REQUEST"),
    ],
)
async def test_unreadable_request_is_refused(
    api: Api, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    answer, error = await api.send("POST", "/internal/orders", body, headers)

    assert (answer.status, error["error"]["code"]) == (status, code), error
    assert await api.orders_stored() == 0


async def test_client_id_is_required_to_place(api: Api) -> None:
    answer, error = await api.send("POST", "/internal/orders", ORDER, {"X-Client-Id": ""})

    assert (answer.status, error["error"]["details"]["field"]) == (400, "X-Client-Id")


async def test_preview_shows_the_schedule_and_stores_nothing(api: Api) -> None:
    body = {k: v for k, v in (ORDER | NIFTY).items() if k != "order_unique_key"}

    answer, preview = await api.send("POST", "/internal/orders/preview", body)

    assert answer.status == 200
    assert (preview["lot_size"], preview["freeze_quantity"], preview["product"]) == (65, 1800, "NRML")
    assert sum(s["quantity"] for s in preview["slices"]) == 65 * 60
    assert all(sum(s["chunks"]) == s["quantity"] for s in preview["slices"])
    first, last = (datetime.fromisoformat(preview["slices"][i]["scheduled_at"]) for i in (0, -1))
    assert last - first == timedelta(minutes=1)
    assert await api.orders_stored() == 0


async def test_listing_pages_through_all_orders_of_the_client(api: Api) -> None:
    placed = []
    for number in range(7):
        _, body = await api.send("POST", "/internal/orders", ORDER | {"order_unique_key": f"k-{number}"})
        placed.append(body["order_id"])
    await api.send("POST", "/internal/orders", ORDER, {"X-Client-Id": "desk-2"})

    seen, cursor = [], ""
    while True:
        _, page = await api.send("GET", f"/internal/orders?limit=3{cursor}")
        seen += [order["order_id"] for order in page["orders"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    _, everyone = await api.send("GET", "/internal/orders", None, {"X-Client-Id": ""})

    assert seen == placed[::-1]
    assert len(everyone["orders"]) == 8


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=ord_%00"])
async def test_bad_paging_is_refused(api: Api, query: str) -> None:
    answer, error = await api.send("GET", f"/internal/orders?{query}")

    assert (answer.status, error["error"]["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("order_id", ["x", "ord_", "ord_" + "0" * 26, "ord_" + "z" * 26, "%00", "ord_%2e%2e"])
@pytest.mark.parametrize("rest", ["", "/slices", "/events"])
async def test_unknown_order_is_not_found(api: Api, order_id: str, rest: str) -> None:
    answer, error = await api.send("GET", f"/internal/orders/{order_id}{rest}")

    assert (answer.status, error["error"]["code"]) == (404, "NOT_FOUND")


async def test_order_of_another_client_is_not_found(api: Api) -> None:
    _, body = await api.send("POST", "/internal/orders", ORDER)

    for method, rest in (("GET", ""), ("GET", "/slices"), ("GET", "/events"), ("POST", "/cancel")):
        answer, _ = await api.send(
            method, f"/internal/orders/{body['order_id']}{rest}", None, {"X-Client-Id": "desk-2"}
        )
        assert answer.status == 404


async def test_cancel_before_splitting_ends_the_order_and_its_stream(api: Api) -> None:
    _, body = await api.send("POST", "/internal/orders", ORDER)
    path = f"/internal/orders/{body['order_id']}"

    answer, cancelled = await api.send("POST", f"{path}/cancel")
    again, same = await api.send("POST", f"{path}/cancel")
    stream, _ = await api.send("GET", f"{path}/events")
    resumed, _ = await api.send("GET", f"{path}/events", None, {"Last-Event-ID": "3"})

    assert (answer.status, cancelled["state"], cancelled["done"]) == (202, "CANCELLED", True)
    assert (again.status, same["state"]) == (202, "CANCELLED")
    kinds = [line[7:] for line in stream.body.decode().splitlines() if line.startswith("event: ")]
    assert kinds == ["order_accepted", "cancel_requested", "order_skipped", "order"]
    assert resumed.status == 204


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 30, "²"])
async def test_bad_last_event_id_is_refused(api: Api, last: str) -> None:
    _, body = await api.send("POST", "/internal/orders", ORDER)

    answer, error = await api.send(
        "GET", f"/internal/orders/{body['order_id']}/events", None, {"Last-Event-ID": last}
    )

    assert (answer.status, error["error"]["details"]["field"]) == (400, "Last-Event-ID")


async def test_start_in_the_future_is_kept(api: Api) -> None:
    start = (datetime.now(UTC) + timedelta(hours=1)).isoformat()

    _, body = await api.send("POST", "/internal/orders", ORDER | {"start_at": start})
    _, shown = await api.send("GET", f"/internal/orders/{body['order_id']}")

    assert datetime.fromisoformat(shown["starts_at"]) == datetime.fromisoformat(start)


async def test_halt_lists_nothing_in_flight_and_refuses_until_resumed(api: Api) -> None:
    _, halted = await api.send("POST", "/internal/trading/halt", {"reason": "a test"})
    refused, error = await api.send("POST", "/internal/orders", ORDER)
    _, resumed = await api.send("POST", "/internal/trading/resume", {"reason": "over"})
    accepted, _ = await api.send("POST", "/internal/orders", ORDER)
    empty, _ = await api.send("POST", "/internal/trading/halt", {"reason": ""})

    assert (halted["halted"], halted["changed_by"], halted["in_flight"]) == (True, "desk-1", [])
    assert (refused.status, error["error"]["code"]) == (422, "TRADING_HALTED")
    assert (resumed["halted"], accepted.status, empty.status) == (False, 202, 400)


async def test_trading_state_is_shown(api: Api) -> None:
    answer, before = await api.send("GET", "/internal/trading")
    await api.send("POST", "/internal/trading/halt", {"reason": "a test"})
    _, after = await api.send("GET", "/internal/trading")
    refused, _ = await api.send("GET", "/internal/trading", None, {"Authorization": ""})

    assert (answer.status, before["halted"], before["changed_by"]) == (200, False, None)
    assert (after["halted"], after["changed_by"], after["reason"]) == (True, "desk-1", "a test")
    assert refused.status == 401


async def test_kill_halts_and_asks_to_cancel_every_order(api: Api) -> None:
    made = [
        (await api.send("POST", "/internal/orders", ORDER | {"order_unique_key": f"kill-{number}"}))[1]
        for number in range(3)
    ]
    by = {"X-Operator": "telegram:70"}

    answer, killed = await api.send("POST", "/internal/trading/kill", {"reason": "all of it"}, by)
    _, again = await api.send("POST", "/internal/trading/kill", {"reason": "once more"}, by)
    _, shown = await api.send("GET", f"/internal/orders/{made[0]['order_id']}")
    empty, _ = await api.send("POST", "/internal/trading/kill", {"reason": ""}, by)
    unnamed, _ = await api.send("POST", "/internal/trading/kill", {"reason": "x"}, {"X-Operator": "a b"})

    assert (answer.status, killed["cancelled"], again["cancelled"]) == (200, 3, 0)
    assert (killed["trading"]["halted"], killed["trading"]["changed_by"]) == (True, "telegram:70")
    assert shown["cancel_requested_at"] is not None
    assert (empty.status, unnamed.status) == (400, 400)


async def test_pages_that_load_from_elsewhere_are_not_served(api: Api) -> None:
    for path in ("/schema", "/schema/swagger", "/schema/openapi.json"):
        answer, _ = await api.send("GET", path)
        assert answer.status == 404
    answer, document = await api.send("GET", "/openapi.json", None, {"Authorization": ""})
    assert document["openapi"].startswith("3.1")
