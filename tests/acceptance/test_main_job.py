"""The promise, over HTTP, through outages: an acknowledged order is never lost and never doubled."""

import time
from datetime import datetime
from typing import Any

from pulse_adapters.embedded import EmbeddedRedis
from tests.acceptance.conftest import HOOK_SECRET, Services, wait_until

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
