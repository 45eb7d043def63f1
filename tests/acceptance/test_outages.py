"""Postgres goes down: acceptance says so at once, and recovers by itself."""

import time

from pulse_adapters.embedded import EmbeddedPostgres
from tests.acceptance.conftest import Services, wait_until


def test_accept_answers_503_while_postgres_is_down_and_recovers(
    services: Services, own_postgres: EmbeddedPostgres
) -> None:
    before = services.place("before-outage", split_config=None)
    assert before.status_code == 202

    own_postgres.halt("immediate")
    began = time.monotonic()
    answers = [services.place(f"outage-{n}") for n in range(3)]
    took_s = time.monotonic() - began
    ready = services.client.get("/ready").status_code
    own_postgres.resume()

    assert {a.status_code for a in answers} == {503}
    assert {a.json()["error"]["code"] for a in answers} == {"DATABASE_ERROR"}
    assert {a.headers["Retry-After"] for a in answers} == {"1"}
    assert took_s < 10
    assert ready == 200, "the gateway itself can serve; the store behind the order API is that one's to tell"
    wait_until(lambda: services.place("after-outage").status_code == 202, 15, "acceptance did not recover")
    # What was answered with 503 was not stored; sent again, it is.
    again = services.place("outage-0")
    assert again.status_code == 202
    assert "Idempotent-Replayed" not in again.headers
    for order_id in (before.json()["order_id"], services.place("late", split_config=None).json()["order_id"]):
        assert services.wait_done(order_id, 60)["state"] == "FILLED"
