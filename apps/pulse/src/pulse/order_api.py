"""A client of the order API, for operators: doc/contract/pulse.md."""

from collections.abc import Callable
from urllib.parse import quote

import msgspec

from pulse.client import Service
from pulse.views import Json


class OrderApi(Service):
    """operator: who does it, for the record."""

    option = "--pulse-url"

    def __init__(self, base_url: str, token: Callable[[], str], operator: str) -> None:
        super().__init__(base_url, token)
        self._operator = operator

    def pause(self, order_id: str) -> Json:
        return self._json(self._send("POST", f"{_path(order_id)}/pause"))

    def resume(self, order_id: str) -> Json:
        return self._json(self._send("POST", f"{_path(order_id)}/resume"))

    def resolve(self, part_id: str, *, found: str | None, note: str) -> Json:
        word = {"outcome": "absent"} if found is None else {"outcome": "found", "broker_order_id": found}
        content = msgspec.json.encode(word | {"note": note})
        return self._json(self._send("POST", f"{_path(part_id)}/resolve", content=content))

    def review(self) -> Json:
        return self._json(self._send("GET", "/internal/trading/reconcile"))

    def confirm(self, reason: str) -> Json:
        content = msgspec.json.encode({"reason": reason})
        return self._json(self._send("POST", "/internal/trading/reconcile", content=content))

    def strategies(self) -> Json:
        return self._json(self._send("GET", "/internal/strategies"))

    def put_strategy(self, name: str, ask: Json) -> Json:
        content = msgspec.json.encode(ask)
        return self._json(self._send("PUT", _strategy_path(name), content=content))

    def start_strategy(self, name: str) -> Json:
        return self._json(self._send("POST", f"{_strategy_path(name)}/start"))

    def stop_strategy(self, name: str) -> Json:
        return self._json(self._send("POST", f"{_strategy_path(name)}/stop"))

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        return super()._headers(headers) | {"X-Operator": self._operator}


def _path(part_id: str) -> str:
    return f"/internal/orders/{quote(part_id, safe='')}"


def _strategy_path(name: str) -> str:
    return f"/internal/strategies/{quote(name, safe='')}"
