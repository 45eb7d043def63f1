"""Pulse's order API, as far as commands need it: over HTTP, so that they can be taken anywhere."""

from datetime import datetime
from typing import Any, Literal, TypeVar

import httpx
import msgspec
from msgspec import Struct

S = TypeVar("S")

_TIMEOUT_S = 10.0
_REASON_MAX = 500


class OrderApiError(Exception):
    """The text is for people. unknown: whether it may have been done all the same."""

    def __init__(self, text: str, *, unknown: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.unknown = unknown


class Trading(Struct, frozen=True, kw_only=True):
    halted: bool
    changed_by: str | None
    reason: str | None
    changed_at: datetime | None
    needs_reconcile: bool
    in_flight: list[Any]


class Killed(Struct, frozen=True, kw_only=True):
    trading: Trading
    cancelled: int


class Quantities(Struct, frozen=True, kw_only=True):
    total: int
    filled: int
    working: int
    unknown: int


class OrderRow(Struct, frozen=True, kw_only=True):
    order_id: str
    instrument: str
    side: str
    strategy_tag: str | None
    state: str
    done: bool
    quantities: Quantities


class _Orders(Struct, frozen=True, kw_only=True):
    orders: list[OrderRow]


class _Told(Struct, frozen=True, kw_only=True):
    code: str
    message: str


class _Error(Struct, frozen=True, kw_only=True):
    error: _Told


class OrderApi:
    """base_url: `http://host:port` or `unix:/path/to.sock`. Connections are made when they are first needed."""

    def __init__(self, base_url: str, service_token: str) -> None:
        socket = base_url.removeprefix("unix:") if base_url.startswith("unix:") else None
        self._client = httpx.AsyncClient(
            base_url="http://pulse" if socket else base_url,
            transport=httpx.AsyncHTTPTransport(uds=socket),
            headers={"Authorization": f"Bearer {service_token}"},
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return "OrderApi()"

    async def is_ready(self) -> bool:
        """Whether it can serve. Raises: OrderApiError: it does not answer."""
        return (await self._send("GET", "/ready")).status_code == 200

    async def trading(self) -> Trading:
        """Raises: OrderApiError."""
        return await self._read("GET", "/internal/trading", Trading)

    async def newest_orders(self, limit: int) -> list[OrderRow]:
        """Newest first. Raises: OrderApiError."""
        return (await self._read("GET", f"/internal/orders?limit={limit}", _Orders)).orders

    async def change(self, what: Literal["halt", "resume"], who: str, reason: str) -> Trading:
        """Raises: OrderApiError."""
        return await self._read("POST", f"/internal/trading/{what}", Trading, who, reason)

    async def kill(self, who: str, reason: str) -> Killed:
        """Raises: OrderApiError."""
        return await self._read("POST", "/internal/trading/kill", Killed, who, reason)

    async def close(self) -> None:
        await self._client.aclose()

    async def _read(self, method: str, path: str, kind: type[S], who: str = "", reason: str = "") -> S:
        answer = await self._send(method, path, who, reason)
        try:
            if answer.status_code == 200:
                return msgspec.json.decode(answer.content, type=kind)
            told = msgspec.json.decode(answer.content, type=_Error).error
        except msgspec.MsgspecError:
            raise OrderApiError(
                f"the order API's answer cannot be read (status {answer.status_code})", unknown=method == "POST"
            ) from None
        raise OrderApiError(
            f"{told.code}: {told.message}", unknown=method == "POST" and answer.status_code >= 500
        )

    async def _send(self, method: str, path: str, who: str = "", reason: str = "") -> httpx.Response:
        try:
            if method == "GET":
                return await self._client.get(path)
            headers = {"X-Client-Id": who, "X-Operator": who}
            return await self._client.post(path, json={"reason": reason[:_REASON_MAX]}, headers=headers)
        except httpx.ConnectError:
            raise OrderApiError("the order API cannot be reached") from None
        except httpx.HTTPError:
            raise OrderApiError("the order API does not answer", unknown=method == "POST") from None
