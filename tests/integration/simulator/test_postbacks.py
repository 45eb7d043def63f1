"""Postbacks: what is posted to the app, and that its checksum holds."""

import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.simulator.process import API_SECRET, KiteProcess, eventually
from tests.integration.simulator.test_orders import placed


class Inbox:
    """An app's address, where postbacks come in."""

    def __init__(self) -> None:
        bodies: list[bytes] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.bodies = bodies
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/postback"

    def __enter__(self) -> "Inbox":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_ends_and_changes_are_posted_with_a_checksum(start_kite: Callable[..., KiteProcess]) -> None:
    with Inbox() as inbox:
        process = start_kite("--postback-url", inbox.url)
        process.pin("NSE:INFY", "1500", "1499.90", "1500")
        kite = process.client()
        done, cancelled = placed(kite, price=1501.0), placed(kite)
        eventually(lambda: kite.order_history(cancelled)[-1]["status"] == "OPEN")
        kite.modify_order("regular", cancelled, price=1300.0)
        eventually(lambda: kite.order_history(cancelled)[-1]["price"] == 1300)
        kite.cancel_order("regular", cancelled)
        eventually(lambda: len(inbox.bodies) == 3)

    posted = [json.loads(body) for body in inbox.bodies]
    assert [(body["order_id"], body["status"]) for body in posted] == [
        (done, "COMPLETE"), (cancelled, "UPDATE"), (cancelled, "CANCELLED"),
    ]  # fmt: skip
    for body in posted:
        signed = body["order_id"] + body["order_timestamp"] + API_SECRET
        assert body["checksum"] == hashlib.sha256(signed.encode()).hexdigest()
    assert posted[0]["unfilled_quantity"] == 0


def test_an_app_that_is_not_there_disturbs_nobody(start_kite: Callable[..., KiteProcess]) -> None:
    process = start_kite("--postback-url", "http://127.0.0.1:9/")
    process.pin("NSE:INFY", "1500", "1499.90", "1500")
    kite = process.client()

    order_id = placed(kite, price=1501.0)

    eventually(lambda: kite.order_history(order_id)[-1]["status"] == "COMPLETE")
