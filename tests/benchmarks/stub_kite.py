"""The stub of a broker on the wire of Zerodha, for the adapter that places real orders there.

Run as `python -m tests.benchmarks.stub_kite PORT`. Orders, book and receipts are as in `stub_broker`.
"""

import sys
import time
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import uvloop

from pulse_domain.units import INDIA
from tests.benchmarks.stub_broker import Desk, serve


class KiteDesk(Desk):
    def answer(self, method: bytes, path: bytes, body: bytes) -> Any:
        if method == b"POST" and path == b"/orders/regular":
            return _success(self._place(body, time.time()))
        if method == b"GET" and path == b"/orders":
            self.reads += 1
            return _success([_row(order_id, form, at) for order_id, (form, at) in self.book.items()])
        return super().answer(method, path, body)

    def _place(self, body: bytes, now: float) -> dict[str, str]:
        form = body.decode()
        order_id = self.next_id()
        self.receipts.append(("place", parse_qs(form)["tag"][0], now))
        self.book[order_id] = form, now
        return {"order_id": order_id}


def _success(data: Any) -> dict[str, Any]:
    return {"status": "success", "data": data}


def _row(order_id: str, form: str, at: float) -> dict[str, Any]:
    fields = {name: values[0] for name, values in parse_qs(form).items()}
    return {
        **{name: fields[name] for name in ("exchange", "tradingsymbol", "transaction_type", "product", "tag")},
        "order_type": fields["order_type"],
        "order_id": order_id,
        # An order that is filled at once or not at all is not filled here.
        "status": "CANCELLED" if fields["validity"] == "IOC" else "OPEN",
        "order_timestamp": f"{datetime.fromtimestamp(at, INDIA):%Y-%m-%d %H:%M:%S}",
        "quantity": int(fields["quantity"]),
        "filled_quantity": 0,
        "average_price": 0,
        "variety": "regular",
    }


if __name__ == "__main__":
    uvloop.run(serve(KiteDesk(), int(sys.argv[1])))
