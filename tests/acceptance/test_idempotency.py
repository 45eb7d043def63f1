"""One key is one order, however often and from however many connections it is sent."""

import asyncio

import httpx

from tests.acceptance.conftest import HOOK_SECRET, Services, bearer, order


async def test_fifty_equal_posts_at_once_make_one_order(services: Services) -> None:
    body = order("fifty")
    async with httpx.AsyncClient(base_url=services.url, headers=bearer(), timeout=30) as client:
        answers = await asyncio.gather(*(client.post("/api/orders", json=body) for _ in range(50)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert [a.headers.get("Idempotent-Replayed") for a in answers].count(None) == 1
    orders = services.client.get("/api/orders").json()["orders"]
    assert [o["order_unique_key"] for o in orders].count("fifty") == 1


def test_one_changed_field_is_a_conflict(services: Services) -> None:
    first = services.place("changed").json()["order_id"]

    for over in ({"side": "SELL"}, {"total_quantity": 66}, {"product": "MIS"}, {"strategy_tag": "x"}):
        answer = services.place("changed", **over)
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "DUPLICATE_ORDER_UNIQUE_KEY"
        assert answer.json()["error"]["details"]["existing_order_id"] == first


def test_spelled_out_defaults_are_the_same_request(services: Services) -> None:
    first = services.place("defaults")

    again = services.place("defaults", product="CNC", validity="DAY", order_type="MARKET", start_at=None)

    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"


def test_another_clients_same_key_is_its_own_order(services: Services) -> None:
    first = services.place("shared").json()["order_id"]

    other = httpx.post(f"{services.url}/api/orders", json=order("shared"), headers=bearer("desk-2"))

    assert other.status_code == 202
    assert other.json()["order_id"] != first
    assert "Idempotent-Replayed" not in other.headers
    assert services.client.get(f"/api/orders/{other.json()['order_id']}").status_code == 404


def test_the_header_may_stand_in_for_the_key(services: Services) -> None:
    body = order("unused")
    del body["order_unique_key"]

    answers = [
        services.client.post("/api/orders", json=body, headers={"Idempotency-Key": "by-header"})
        for _ in range(2)
    ]

    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["order_unique_key"] == "by-header"


def test_a_resent_alert_is_the_same_order(services: Services) -> None:
    alert = b'{"symbol": "TCS", "action": "buy", "quantity": "7"}'
    url, plain = f"/api/webhooks/tradingview/{HOOK_SECRET}", {"Content-Type": "text/plain"}

    answers = [services.client.post(url, content=alert, headers=plain) for _ in range(3)]

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["order_id"] for answer in answers}) == 1
