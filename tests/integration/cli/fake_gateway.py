"""A small gateway on a real socket that plays doc/contract/gapi.md, and its faults on demand."""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import jwt
import uvicorn

SECRET = "0123456789abcdef0123456789abcdef"
NINE = datetime.fromisoformat("2026-01-05T09:15:00+05:30")
Json = dict[str, Any]
CUT = "cut"  # an order that was never answered, though it was stored


class Cut(Exception):
    """Breaks the connection off where it stands."""


def at(seconds: float) -> str:
    return (NINE + timedelta(seconds=seconds)).isoformat()


def order_json(order_id: str, request: Json, *, filled: int, state: str, done: bool) -> Json:
    total = request["total_quantity"]
    rest = total - filled
    return {
        "order_id": order_id,
        "order_unique_key": request["order_unique_key"],
        "instrument": request["instrument"],
        "side": request["side"],
        "total_quantity": total,
        "order_type": request.get("order_type", "MARKET"),
        "limit_price": request.get("limit_price"),
        "trigger_price": request.get("trigger_price"),
        "product": request.get("product", "CNC"),
        "validity": request.get("validity", "DAY"),
        "strategy_tag": request.get("strategy_tag"),
        "source": "api",
        "split_config": request.get("split_config"),
        "state": state,
        "done": done,
        "quantities": {
            "total": total, "filled": filled, "working": 0, "unknown": 0,
            "unsent": 0 if done else rest, "cancelled": rest if done else 0, "failed": 0, "overfilled": 0,
        },
        "average_price": "3787.0500" if filled else None,
        "order_queue_status": "DONE",
        "order_queue_skip_reason": None,
        "failure": None,
        "created_at": at(0),
        "starts_at": at(0),
        "ends_at": at(60),
        "cancel_requested_at": None,
        "paused": False,
        "last_seq": 9,
    }  # fmt: skip


def slices_json(quantities: list[int], *, filled_slices: int) -> list[Json]:
    slices = []
    for seq, quantity in enumerate(quantities, start=1):
        filled = seq <= filled_slices
        slices.append(
            {
                "slice_id": f"slc_{seq}",
                "seq": seq,
                "quantity": quantity,
                "scheduled_at": at(60 * (seq - 1)),
                "stage": "PROCESSED" if filled else "SCHEDULED",
                "outcome": "FILLED" if filled else None,
                "executions": [
                    {
                        "execution_id": f"exe_{seq}",
                        "chunk": 0,
                        "tag": f"PU{seq}",
                        "status": "FILLED" if filled else "PLANNED",
                        "quantity": quantity,
                        "filled_quantity": quantity if filled else 0,
                        "average_price": "3787.05" if filled else None,
                        "attempt": 1,
                        "due_at": at(0),
                        "expires_at": at(120),
                        "broker_order_id": None,
                        "reason_code": None,
                        "reason": None,
                        "flags": [],
                        "fills": [],
                    }
                ],
            }
        )
    return slices


def journal_of(quantities: list[int]) -> list[Json]:
    """The journal of an order whose slices are all filled, each placed 0.25 s late."""
    events: list[tuple[float, Json]] = [
        (0, {"kind": "order_accepted", "side": "BUY", "source": "api"}),
        (0, {"kind": "split_saved", "attempt": 1, "slices": [[q, at(0), []] for q in quantities]}),
    ]
    for seq, quantity in enumerate(quantities, start=1):
        due = 60 * (seq - 1)
        where = {"seq": seq, "chunk": 0}
        fill = {"trade_id": f"T{seq}", "quantity": quantity, "price": "3787.05"}
        events += [
            (due + 0.01, {"kind": "execution_claimed", **where, "attempt": 1}),
            (due + 0.25, {"kind": "execution_accepted", **where, "broker_order_id": f"B{seq}"}),
            (due + 0.30, {"kind": "execution_filled", **where, "fill": fill}),
        ]
    return [
        {"seq": row, "at": at(seconds), "event": event} for row, (seconds, event) in enumerate(events, start=1)
    ]


class FakeGateway:
    """One order id per key. `faults` are taken first, one for each request."""

    def __init__(self) -> None:
        self.requests: list[Json] = []
        self.orders: dict[str, Json] = {}
        self.journal = journal_of([60, 60])
        self.filled_slices = 2
        self.final_state = "FILLED"
        # What the next requests get: a status of an error, CUT, or an answer of another kind.
        self.faults: deque[int | str | bytes] = deque()
        # After how many rows the next streams are cut; those after them run to their end.
        self.cuts: deque[int] = deque()
        self.holds = False
        self.streams: list[str | None] = []  # the Last-Event-ID of each
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        config = uvicorn.Config(
            self._app,
            log_config=None,
            ws="none",
            lifespan="off",
            interface="asgi3",
            http="h11",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def add(self, order_id: str, **request: Any) -> Json:
        given = {"order_unique_key": order_id, "instrument": "NSE:TCS", "side": "BUY", "total_quantity": 120}
        self.orders[order_id] = given | request
        return self.order(order_id)

    def order(self, order_id: str, *, done: bool = True) -> Json:
        request = self.orders[order_id]
        filled = min(60 * self.filled_slices, request["total_quantity"])
        state = self.final_state if done else "WORKING"
        return order_json(order_id, request, filled=filled, state=state, done=done)

    def paths(self) -> list[str]:
        return [f"{request['method']} {request['path']}" for request in self.requests]

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append(
            {
                "method": scope["method"],
                "path": scope["path"],
                "query": scope["query_string"].decode(),
                "headers": headers,
                "body": body.decode(),
            }
        )
        call = Call(send, receive)
        if self.faults:
            fault = self.faults.popleft()
            if isinstance(fault, bytes):
                await call.send(200, fault, {"content-type": "text/html"})
                return
            if isinstance(fault, int):
                code = {503: "UPSTREAM_UNAVAILABLE", 500: "INTERNAL_ERROR"}.get(fault, "INVALID_REQUEST")
                await call.refuse(fault, code, "not now", {"X-Request-Id": "r-1"})
                return
            if scope["method"] == "POST":
                self._accept(json.loads(body))
            await call.break_off()
        if not self._knows(headers.get("authorization", "")):
            await call.refuse(401, "UNAUTHORIZED", "the token is not valid")
            return
        await self._route(scope, headers, body, call)

    def _knows(self, authorization: str) -> bool:
        try:
            claims = jwt.decode(authorization.removeprefix("Bearer "), SECRET, algorithms=["HS256"])
        except jwt.PyJWTError:
            return False
        return bool(claims["sub"] == "demo")

    async def _route(self, scope: Any, headers: dict[str, str], body: bytes, call: "Call") -> None:
        method, parts = scope["method"], scope["path"].strip("/").split("/")[2:]
        if not parts:
            if method == "POST":
                await self._place(json.loads(body), call)
            else:
                limit = int(parse_qs(scope["query_string"].decode())["limit"][0])
                found = [self.order(order_id) for order_id in reversed(self.orders)]
                more = found[limit - 1]["order_id"] if len(found) > limit else None
                await call.answer(200, {"orders": found[:limit], "next_cursor": more})
        elif parts[0] not in self.orders:
            await call.refuse(404, "NOT_FOUND", "there is no such order")
        elif parts[1:] == []:
            await call.answer(200, self.order(parts[0]))
        elif parts[1:] == ["slices"]:
            slices = slices_json([60, 60], filled_slices=self.filled_slices)
            await call.answer(200, {"order_id": parts[0], "slices": slices})
        elif parts[1:] == ["cancel"]:
            await call.answer(202, self.order(parts[0], done=False))
        elif parts[1:] == ["events"]:
            await self._stream(parts[0], headers.get("last-event-id"), call)

    def _accept(self, request: Json) -> tuple[str, bool]:
        for order_id, known in self.orders.items():
            if known["order_unique_key"] == request["order_unique_key"]:
                return order_id, True
        order_id = f"ord_{len(self.orders) + 1:026d}"
        self.orders[order_id] = request
        return order_id, False

    async def _place(self, request: Json, call: "Call") -> None:
        order_id, known = self._accept(request)
        if known and self.orders[order_id] != request:
            await call.refuse(
                409, "DUPLICATE_ORDER_UNIQUE_KEY", "another order has this key", existing_order_id=order_id
            )
            return
        replayed = {"Idempotent-Replayed": "true"} if known else {}
        key = request["order_unique_key"]
        await call.answer(202, {"order_id": order_id, "order_unique_key": key}, replayed)

    async def _stream(self, order_id: str, last: str | None, call: "Call") -> None:
        self.streams.append(last)
        rows = [row for row in self.journal if row["seq"] > int(last or 0)]
        if last and not rows:
            await call.send(204, b"", {})
            return
        await call.start(200, {"content-type": "text/event-stream"})
        cut = self.cuts.popleft() if self.cuts else None
        for row in rows[:cut]:
            await call.write(
                f"id: {row['seq']}\nevent: {row['event']['kind']}\ndata: {json.dumps(row)}\n\n: alive\n\n"
            )
        if cut is not None:
            await call.write('id: 999\nevent: execution_filled\ndata: {"seq": 9')
            raise Cut
        done = not self.holds
        await call.write(f"event: order\ndata: {json.dumps(self.order(order_id, done=done))}\n\n")
        if self.holds:
            await call.wait_for_the_end()
        await call.finish()


class Call:
    def __init__(self, send: Callable[..., Any], receive: Callable[..., Any]) -> None:
        self._send = send
        self._receive = receive

    async def start(self, status: int, headers: dict[str, str]) -> None:
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def write(self, text: str) -> None:
        await self._send({"type": "http.response.body", "body": text.encode(), "more_body": True})

    async def finish(self, body: bytes = b"") -> None:
        await self._send({"type": "http.response.body", "body": body})

    async def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        await self.start(status, headers)
        await self.finish(body)

    async def answer(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        await self.send(
            status, json.dumps(value).encode(), {"content-type": "application/json"} | (headers or {})
        )

    async def refuse(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None, **details: Any
    ) -> None:
        await self.answer(status, {"error": {"code": code, "message": message, "details": details}}, headers)

    async def break_off(self) -> None:
        await self.start(202, {"content-length": "100"})
        await self.write("{")
        raise Cut

    async def wait_for_the_end(self) -> None:
        assert (await self._receive())["type"] == "http.disconnect"
