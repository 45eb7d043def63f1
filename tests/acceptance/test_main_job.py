"""The promise, over HTTP, through outages: an acknowledged order is never lost and never doubled."""

import time
from datetime import datetime
from typing import Any

import asyncpg

from pulse_adapters.embedded import EmbeddedPostgres, EmbeddedRedis
from tests.acceptance.conftest import HOOK_SECRET, JWT_SECRET, SERVICE_TOKEN, Services, wait_until

# One poll interval of the splitter and one of the broker sync, with room for a slow machine.
DELAY_S = 30


def assert_filled_on_time(services: Services, order_id: str, *, late_s: float) -> None:
    shown = services.wait_done(order_id, 60 + DELAY_S)
    slices = services.slices(order_id)
    assert (shown["state"], shown["quantities"]["filled"]) == ("FILLED", shown["total_quantity"])
    assert [s["outcome"] for s in slices] == ["FILLED"] * 6
    for each in slices:
        [execution] = each["executions"]
        [fill] = execution["fills"]
        late = datetime.fromisoformat(fill["at"]) - datetime.fromisoformat(each["scheduled_at"])
        assert 0 <= late.total_seconds() <= late_s
        # Sent once: one attempt, one order at the broker, one trade.
        assert (execution["attempt"], fill["quantity"]) == (1, each["quantity"])
    tags = [execution["tag"] for each in slices for execution in each["executions"]]
    assert len(set(tags)) == 6


def accepted(answer: Any) -> str:
    assert answer.status_code == 202, answer.text
    order_id: str = answer.json()["order_id"]
    return order_id


def test_orders_are_filled_at_their_seconds_through_outages(
    services: Services, own_redis: EmbeddedRedis
) -> None:
    """Redis is stopped, restarted and flushed; gapi and pulse_api are killed and restarted, all in the
    middle of the orders' minute. The webhook's order and a second client's run along."""
    first = accepted(services.place("main-1"))
    alert = {"apikey": HOOK_SECRET, "symbol": "RELIANCE", "action": "buy", "quantity": "10", "product": "MIS"}
    hooked = accepted(services.client.post("/api/webhooks/tradingview", json=alert))
    wait_until(lambda: services.show(first)["quantities"]["filled"] > 0, DELAY_S, "nothing was filled")

    own_redis.halt()
    without_redis = accepted(services.place("main-2"))
    time.sleep(2)
    services.kill("gapi")
    services.start("gapi")
    own_redis.resume()
    services.kill("pulse_api")
    services.start("pulse_api")
    own_redis.restart()  # it keeps nothing, so this is a flush too
    after = accepted(services.place("main-3"))

    for order_id in (first, without_redis, after):
        assert_filled_on_time(services, order_id, late_s=DELAY_S)
    shown = services.client.get(f"/api/orders/{hooked}")
    assert shown.status_code == 404, "another client's order is not shown"
    assert accepted(services.place("main-1")) == first
    listed = services.client.get("/api/orders", params={"limit": 200}).json()["orders"]
    assert [o["order_id"] for o in listed] == [after, without_redis, first]


def test_services_end_gracefully(services: Services) -> None:
    codes = services.stop()

    assert codes == {"pulse_api": 0, "gapi": 0, "pulse_background": 0}
    services.start()


async def test_no_secret_is_in_a_log_an_answer_or_the_database(
    services: Services, own_postgres: EmbeddedPostgres
) -> None:
    token = services.client.headers["Authorization"].removeprefix("Bearer ")
    password = own_postgres.dsn.partition("@")[0].rpartition(":")[2]
    secrets = [SERVICE_TOKEN, JWT_SECRET, HOOK_SECRET, token, password]
    url = "/api/webhooks/tradingview"
    answers = [
        services.client.post(url, json={"apikey": HOOK_SECRET, "symbol": "TCS", "action": "hold"}),
        services.client.post(
            url, json={"apikey": HOOK_SECRET, "symbol": "TCS", "action": "buy", "quantity": 1}
        ),
        services.client.post(f"{url}/{HOOK_SECRET}", content=b"BUY TCS"),
        services.client.post(f"{url}/{HOOK_SECRET}x", content=b"{}"),
        services.client.get("/internal/metrics", headers={"Authorization": f"Bearer {SERVICE_TOKEN}x"}),
        services.client.get("/api/orders", headers={"Authorization": f"Bearer {token}x"}),
    ]
    shown = [services.log.read_text(), *(a.text + str(a.headers) for a in answers)]
    connection = await asyncpg.connect(own_postgres.dsn)
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for table in tables:
        rows = await connection.fetch(f"SELECT to_jsonb(t)::text AS row FROM {table['tablename']} t")
        shown += [row["row"] for row in rows]
    await connection.close()

    assert [answer.status_code for answer in answers] == [400, 202, 400, 401, 401, 401]
    for secret in secrets:
        assert not any(secret in text for text in shown)
