"""The event stream: whole, once, in order, however often the client is cut."""

import threading
from typing import Any

import httpx
from httpx_sse import EventSource

from tests.acceptance.conftest import Services, bearer

BUSY = {"num_splits": 30, "duration_minutes": 1}


def next_event(client: httpx.Client, path: str, last_id: str) -> tuple[str, dict[str, Any], str] | None:
    """One event after `last_id`, then cut the connection; None where the stream has said all."""
    headers = {"Last-Event-ID": last_id} if last_id else {}
    with client.stream("GET", path, headers=headers) as response:
        if response.status_code == 204:
            return None
        assert response.status_code == 200
        for event in EventSource(response).iter_sse():
            if event.id and event.id != last_id:
                return event.event, event.json(), event.id
    return None


def test_a_client_cut_at_every_event_sees_the_whole_journal_once_in_order(services: Services) -> None:
    order_id = services.place("stream", total_quantity=90, split_config=BUSY).json()["order_id"]
    # Others write at the same time.
    others = [services.place(f"stream-{n}", split_config=BUSY).json()["order_id"] for n in range(3)]
    seen: list[tuple[int, str]] = []
    last_id = ""
    with httpx.Client(base_url=services.url, headers=bearer(), timeout=30) as client:
        while (event := next_event(client, f"/api/orders/{order_id}/events", last_id)) is not None:
            kind, data, last_id = event
            assert (data["seq"], data["event"]["kind"]) == (int(last_id), kind)
            seen.append((data["seq"], kind))

    shown = services.show(order_id)
    assert shown["done"]
    assert [seq for seq, _ in seen] == list(range(1, shown["last_seq"] + 1))
    kinds = [kind for _, kind in seen]
    assert kinds[:3] == ["order_accepted", "split_claimed", "split_saved"]
    for kind in ("execution_claimed", "execution_accepted", "execution_filled", "execution_completed"):
        assert kinds.count(kind) == 30
    for other in others:
        services.wait_done(other, 60)


def test_a_stream_left_open_ends_with_the_order(services: Services) -> None:
    order_id = services.place("open-stream", split_config=None).json()["order_id"]
    with httpx.Client(base_url=services.url, headers=bearer(), timeout=30) as client:
        with client.stream("GET", f"/api/orders/{order_id}/events") as response:
            events = [(e.event, e.id, e.json()) for e in EventSource(response).iter_sse()]
        again = client.get(f"/api/orders/{order_id}/events", headers={"Last-Event-ID": events[-2][1]})

    kind, _, data = events[-1]
    assert (kind, data["done"], data["state"]) == ("order", True, "FILLED")
    assert [seq for k, seq, _ in events if k != "order"] == [str(n) for n in range(1, data["last_seq"] + 1)]
    assert again.status_code == 204


def test_open_streams_do_not_hold_a_stop_up(services: Services) -> None:
    order_id = services.place("stop-stream", split_config={"num_splits": 2, "duration_minutes": 60}).json()[
        "order_id"
    ]
    ended = threading.Event()

    def follow() -> None:
        try:
            with httpx.stream("GET", f"{services.url}/api/orders/{order_id}/events", headers=bearer()) as r:
                for _ in r.iter_lines():
                    pass
        except httpx.HTTPError:
            pass
        ended.set()

    thread = threading.Thread(target=follow)
    thread.start()
    codes = services.stop()
    thread.join(10)
    services.start()

    assert codes == {"pulse_api": 0, "gapi": 0, "pulse_background": 0}
    assert ended.is_set()
    assert services.client.post(f"/api/orders/{order_id}/cancel").status_code == 202
