"""Pulse's order API, as far as commands need it: over HTTP, so that they can be taken anywhere."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar
from urllib.parse import quote

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


class StrategyRow(Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    instruments: list[str]
    parameters: dict[str, Any]
    mode: str
    capital: Decimal | None
    wanted: str
    state: str
    detail: str | None


class _Strategies(Struct, frozen=True, kw_only=True):
    strategies: list[StrategyRow]


class ResultRow(Struct, frozen=True, kw_only=True):
    """In rupees; None where a part of it is not known."""

    realised: Decimal | None
    unrealised: Decimal | None
    charges: Decimal | None
    net: Decimal | None


class StrategyResultRow(ResultRow, frozen=True, kw_only=True):
    strategy_tag: str | None


class PositionRow(StrategyResultRow, frozen=True, kw_only=True):
    instrument: str
    product: str
    quantity: int
    average_price: Decimal | None
    last_price: Decimal | None
    price_age_s: float | None
    price_stale: bool
    provisional: bool


class PositionsAnswer(Struct, frozen=True, kw_only=True):
    positions: list[PositionRow]
    strategies: list[StrategyResultRow]
    total: ResultRow
    today: ResultRow


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

    async def positions(self) -> PositionsAnswer:
        """Raises: OrderApiError."""
        return await self._read("GET", "/internal/positions", PositionsAnswer)

    async def change(self, what: Literal["halt", "resume"], who: str, reason: str) -> Trading:
        """Raises: OrderApiError."""
        return await self._read("POST", f"/internal/trading/{what}", Trading, who, _because(reason))

    async def kill(self, who: str, reason: str) -> Killed:
        """Raises: OrderApiError."""
        return await self._read("POST", "/internal/trading/kill", Killed, who, _because(reason))

    async def strategies(self) -> list[StrategyRow]:
        """By name. Raises: OrderApiError."""
        return (await self._read("GET", "/internal/strategies", _Strategies)).strategies

    async def move_strategy(self, name: str, verb: str, who: str) -> StrategyRow:
        """verb: start or stop. Raises: OrderApiError."""
        return await self._read("POST", f"{_strategy_path(name)}/{verb}", StrategyRow, who)

    async def set_strategy(self, row: StrategyRow, parameters: dict[str, Any], who: str) -> StrategyRow:
        """Keep all of it but the parameters. Raises: OrderApiError."""
        body = {
            "kind": row.kind,
            "instruments": row.instruments,
            "parameters": parameters,
            "mode": row.mode,
            "capital": None if row.capital is None else str(row.capital),
        }
        return await self._read("PUT", _strategy_path(row.name), StrategyRow, who, body)

    async def close(self) -> None:
        await self._client.aclose()

    async def _read(
        self, method: str, path: str, kind: type[S], who: str = "", body: dict[str, Any] | None = None
    ) -> S:
        answer = await self._send(method, path, who, body)
        try:
            if answer.status_code == 200:
                return msgspec.json.decode(answer.content, type=kind)
            told = msgspec.json.decode(answer.content, type=_Error).error
        except msgspec.MsgspecError:
            raise OrderApiError(
                f"the order API's answer cannot be read (status {answer.status_code})", unknown=method != "GET"
            ) from None
        raise OrderApiError(
            f"{told.code}: {told.message}", unknown=method != "GET" and answer.status_code >= 500
        )

    async def _send(
        self, method: str, path: str, who: str = "", body: dict[str, Any] | None = None
    ) -> httpx.Response:
        headers = {"X-Client-Id": who, "X-Operator": who} if who else {}
        try:
            return await self._client.request(method, path, json=body, headers=headers)
        except httpx.ConnectError:
            raise OrderApiError("the order API cannot be reached") from None
        except httpx.HTTPError:
            raise OrderApiError("the order API does not answer", unknown=method != "GET") from None


def _because(reason: str) -> dict[str, Any]:
    return {"reason": reason[:_REASON_MAX]}


def _strategy_path(name: str) -> str:
    return f"/internal/strategies/{quote(name, safe='')}"
