"""What operators do through the order API, on a real Postgres."""

from datetime import UTC, datetime
from typing import Any

import pytest

from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import BrokerOrderId, OrderId
from pulse_domain.ports.order_store import BookFindings, Booking, Stranger
from pulse_domain.ports.work_queue import Job, JobKind
from pulse_domain.testing.factories import split_order
from pulse_domain.testing.memory_queue import RecordingQueue
from pulse_domain.testing.sequential_ids import SequentialIds
from tests.integration.pulse_api.conftest import Api

ORDER = {"order_unique_key": "key-1", "instrument": "NSE:TCS", "side": "BUY", "total_quantity": 10}
ASHA = {"X-Operator": "asha", "X-Client-Id": ""}
STRANGER = Stranger(
    broker_order_id="B-7", tag="T1" + 18 * "X", instrument="NSE:TCS", side="BUY", quantity=40,
    filled_quantity=5, status="OPEN", placed_at=datetime(2026, 1, 5, 4, tzinfo=UTC),
)  # fmt: skip


async def in_doubt(api: Api) -> Execution:
    """An execution that was sent, and nobody knows what came of it."""
    order = await split_order(api.ports.store, SequentialIds())
    [claim] = await api.ports.store.claim_executions(1, "executor-1", 60.0)
    event = ev.ExecutionUnanswered(seq=1, chunk=0, attempt=1, reason="TIMEOUT")
    await api.ports.store.book([Booking(order_id=order.order_id, event=event)])
    return claim.execution


async def resolve(api: Api, part: str, body: Any) -> tuple[int, Any]:
    answer, found = await api.send("POST", f"/internal/orders/{part}/resolve", body, ASHA)
    return answer.status, found


# --- pausing


async def test_order_is_paused_and_resumed_and_says_so(api: Api) -> None:
    split = {"split_config": {"num_splits": 2, "duration_minutes": 5}}
    _, placed = await api.send("POST", "/internal/orders", ORDER | split)
    path = f"/internal/orders/{placed['order_id']}"

    paused, first = await api.send("POST", f"{path}/pause", None, ASHA)
    _, again = await api.send("POST", f"{path}/pause", None, ASHA)
    assert await api.ports.store.claim_orders(10, "splitter", 60.0) == []
    resumed, after = await api.send("POST", f"{path}/resume", None, ASHA)

    assert (paused.status, first["paused"], resumed.status, after["paused"]) == (200, True, 200, False)
    assert again["last_seq"] == first["last_seq"]
    journal = await api.ports.store.journal(OrderId(placed["order_id"]), after_seq=1, limit=10)
    assert [entry.event for entry in journal] == [
        ev.OrderPaused(paused_by="asha"), ev.OrderResumed(resumed_by="asha"),
    ]  # fmt: skip


async def test_unknown_orders_bad_names_and_done_orders_are_not_paused(api: Api) -> None:
    _, placed = await api.send("POST", "/internal/orders", ORDER)
    path = f"/internal/orders/{placed['order_id']}"
    bad, error = await api.send("POST", f"{path}/pause", None, {"X-Operator": "a b"})
    await api.send("POST", f"{path}/cancel")
    done, refused = await api.send("POST", f"{path}/pause")
    for operation in ("pause", "resume"):
        for order_id in ("ord_nonsense", SequentialIds().order_id()):
            unknown, _ = await api.send("POST", f"/internal/orders/{order_id}/{operation}")
            assert unknown.status == 404

    assert (bad.status, error["error"]["details"]) == (400, {"field": "X-Operator"})
    assert (done.status, refused["error"]["code"]) == (409, "NOT_PAUSABLE")


# --- resolving


async def test_person_finds_an_execution_at_the_broker(api: Api) -> None:
    execution = await in_doubt(api)

    status, found = await resolve(
        api, execution.order_id, {"outcome": "found", "broker_order_id": "B-1", "note": "on their page"}
    )

    assert status == 200
    assert found["order_id"] == execution.order_id
    assert found["execution"]["execution_id"] == execution.execution_id
    assert (found["execution"]["status"], found["execution"]["broker_order_id"]) == ("OPEN", "B-1")
    assert found["execution"]["flags"] == ["FOUND_BY_HAND"]
    assert isinstance(api.ports.queue, RecordingQueue)
    assert api.ports.queue.jobs == [Job(JobKind.RECONCILE, execution.order_id)]
    journal = await api.ports.store.journal(execution.order_id, after_seq=0, limit=100)
    assert journal[-1].event == ev.ExecutionResolvedFound(
        seq=1, chunk=0, broker_order_id=BrokerOrderId("B-1"), resolved_by="asha", note="on their page"
    )


async def test_person_finds_an_execution_absent_once_and_again(api: Api) -> None:
    execution = await in_doubt(api)

    first = await resolve(api, execution.execution_id, {"outcome": "absent"})
    again = await resolve(api, execution.execution_id, {"outcome": "absent", "note": "the same once more"})
    nothing_left = await resolve(api, execution.order_id, {"outcome": "absent"})

    assert first == again
    assert (first[0], first[1]["execution"]["status"]) == (200, "REJECTED")
    assert first[1]["execution"]["reason"] == "absent, says asha"
    assert (nothing_left[0], nothing_left[1]["error"]["code"]) == (409, "NOT_RESOLVABLE")
    journal = await api.ports.store.journal(execution.order_id, after_seq=0, limit=100)
    assert sum(isinstance(entry.event, ev.ExecutionResolvedAbsent) for entry in journal) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"outcome": "lost"},
        {"outcome": "found"},
        {"outcome": "absent", "broker_order_id": "B-1"},
        {"outcome": "found", "broker_order_id": ""},
        {"outcome": "found", "broker_order_id": "B 1"},
        {"outcome": "found", "broker_order_id": "B" * 65},
        {"outcome": "absent", "note": "x" * 501},
        {"outcome": "absent", "sure": True},
        b"nonsense",
    ],
)
async def test_word_that_makes_no_sense_is_refused(api: Api, body: Any) -> None:
    execution = await in_doubt(api)

    status, error = await resolve(api, execution.execution_id, body)

    assert (status, error["error"]["code"]) == (400, "INVALID_REQUEST")
    assert [t.execution.phase for t in await api.ports.store.find_by_tags([execution.tag])] == ["UNKNOWN"]


@pytest.mark.parametrize("part", ["nonsense", "exe_x_1_0", "ord_" + "0" * 26, "exe_" + "0" * 26 + "_1_0"])
async def test_execution_that_does_not_exist_is_not_found(api: Api, part: str) -> None:
    status, error = await resolve(api, part, {"outcome": "absent"})

    assert (status, error["error"]["code"]) == (404, "NOT_FOUND")


# --- comparing


async def test_restored_store_is_shown_and_goes_on_only_when_it_is_confirmed(api: Api) -> None:
    store = api.ports.store
    execution = await in_doubt(api)
    await store.notice_restore("worker-1")
    await api.pool.execute("UPDATE store_identity SET identity = 'that of the server it came from'")
    assert await store.notice_restore("worker-1")

    answer, before = await api.send("GET", "/internal/trading/reconcile", None, ASHA)
    resumed, refused = await api.send("POST", "/internal/trading/resume", {"reason": "go on"})
    early, not_yet = await api.send("POST", "/internal/trading/reconcile", {"reason": "looked"}, ASHA)
    order, halted = await api.send("POST", "/internal/orders", ORDER)

    assert (answer.status, before["book"]) == (200, None)
    assert (before["trading"]["halted"], before["trading"]["needs_reconcile"]) == (True, True)
    assert before["trading"]["reason"].startswith("RESTORED: ")
    [doubt] = before["in_doubt"]
    assert (doubt["execution_id"], doubt["status"]) == (execution.execution_id, "UNKNOWN")
    assert (resumed.status, refused["error"]["code"]) == (409, "RECONCILE_REQUIRED")
    assert "pulse reconcile" in refused["error"]["message"]
    assert (early.status, not_yet["error"]["code"]) == (409, "RECONCILE_REQUIRED")
    assert (order.status, halted["error"]["code"]) == (422, "TRADING_HALTED")
    assert isinstance(api.ports.queue, RecordingQueue)
    assert Job(JobKind.RECONCILE) in api.ports.queue.jobs

    await store.note_findings(BookFindings(complete=True, strangers=(STRANGER,)))
    _, shown = await api.send("GET", "/internal/trading/reconcile", None, ASHA)
    confirmed, trading = await api.send("POST", "/internal/trading/reconcile", {"reason": "looked"}, ASHA)
    _, after = await api.send("GET", "/internal/trading/reconcile", None, ASHA)
    accepted, _ = await api.send("POST", "/internal/orders", ORDER)

    assert shown["book"]["complete"] is True
    assert shown["book"]["strangers"] == [
        {
            "broker_order_id": "B-7", "tag": "T1" + 18 * "X", "instrument": "NSE:TCS", "side": "BUY",
            "quantity": 40, "filled_quantity": 5, "status": "OPEN", "placed_at": "2026-01-05T04:00:00Z",
            "known": False,
        }
    ]  # fmt: skip
    assert (confirmed.status, trading["halted"], trading["needs_reconcile"]) == (200, False, False)
    assert (trading["changed_by"], trading["reason"]) == ("asha", "looked")
    assert after["book"]["strangers"][0]["known"] is True
    assert accepted.status == 202


async def test_operators_need_the_service_token_and_a_reason(api: Api) -> None:
    for method, path, body in (
        ("GET", "/internal/trading/reconcile", None),
        ("POST", "/internal/trading/reconcile", {"reason": "looked"}),
        ("POST", f"/internal/orders/{SequentialIds().order_id()}/pause", None),
        ("POST", f"/internal/orders/{SequentialIds().order_id()}/resolve", {"outcome": "absent"}),
    ):
        answer, _ = await api.send(method, path, body, {"Authorization": "Bearer wrong"})
        assert answer.status == 401
    for body in ({}, {"reason": ""}, {"reason": "x" * 501}):
        answer, _ = await api.send("POST", "/internal/trading/reconcile", body, ASHA)
        assert answer.status == 400
