"""Kotak Neo's trade API (the third generation) on the loopback interface, by its documents.

Behind it is the virtual exchange, so orders live as at a real one. It misbehaves as it is told, request by
request, and keeps what it was sent, so that a test can say that nothing was.
"""

import asyncio
import itertools
import json
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any

import pyotp
from aiohttp import WSMsgType, web
from msgspec import Struct

from pulse_adapters.clock import SystemClock
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_domain.errors import BrokerRejected
from pulse_domain.instruments import Exchange, Instrument, InstrumentTerms
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType, Product, Side, Validity
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus, OrderTicket
from tests.unit.kotak.make import ACCESS_TOKEN, MOBILE_NUMBER, MPIN, SID, TOKEN, TOTP_SEED, UCC
from tests.unit.virtual.fixed_market import FixedMarket

_IST = timezone(timedelta(hours=5, minutes=30))
_TYPES = {"MKT": OrderType.MARKET, "L": OrderType.LIMIT, "SL": OrderType.SL}
_SEGMENTS = {"nse_cm": Exchange.NSE, "nse_fo": Exchange.NFO, "mcx_fo": Exchange.MCX}
_STATUSES = {
    BrokerOrderStatus.PENDING: "open pending",
    BrokerOrderStatus.OPEN: "open",
    BrokerOrderStatus.TRIGGER_PENDING: "trigger pending",
    BrokerOrderStatus.COMPLETE: "complete",
    BrokerOrderStatus.CANCELLED: "cancelled",
    BrokerOrderStatus.REJECTED: "rejected",
}
NO_DATA = {"stCode": 5203, "errMsg": "No Data", "desc": "data not found", "stat": "Not_Ok"}


class Reply(Struct, frozen=True, kw_only=True):
    """An answer in place of the right one."""

    body: Any = None
    status: int = 200
    text: str | None = None


class Hang(Struct, frozen=True):
    """Read the request and say nothing."""


class Drop(Struct, frozen=True):
    """Read the request and close."""


class Trickle(Struct, frozen=True):
    """Begin an answer and send a byte of it now and then, for ever."""


class CutShort(Struct, frozen=True):
    """Send half of an answer and close."""


class Lose(Struct, frozen=True):
    """Do what was asked for, and close without a word."""


Behaviour = Reply | Hang | Drop | Trickle | CutShort | Lose


class Request(Struct, frozen=True, kw_only=True):
    method: str
    path: str
    headers: Mapping[str, str]
    fields: Mapping[str, Any]


class Traded(Struct, frozen=True, kw_only=True):
    instrument: Instrument
    terms: InstrumentTerms


class KotakServer:
    """listed: by trading symbol.
    greeting: which one of the order feed's is acknowledged: `raw`, `json`, or none.
    base_url_told: what a login answers with, where that is not where this is."""

    def __init__(self, market: FixedMarket, listed: Mapping[str, Traded]) -> None:
        self.requests: list[Request] = []
        self.greetings: list[str] = []
        self.greeting = "raw"
        self.base_url = ""
        self.exchange = VirtualExchange(market, SystemClock(), Random(1), latency_ms=(0, 0))
        self.base_url_told: str | None = None
        self._listed = listed
        self._placed: dict[str, dict[str, str]] = {}
        self._script: deque[Behaviour] = deque()
        self._feeds: set[web.WebSocketResponse] = set()
        self._numbers = itertools.count(1)
        self._stopped = asyncio.Event()

    def then(self, *behaviours: Behaviour) -> None:
        """What the next requests meet, one each."""
        self._script.extend(behaviours)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._misbehave])
        app.router.add_post("/login/1.0/tradeApiLogin", self._login)
        app.router.add_post("/login/1.0/tradeApiValidate", self._validate)
        app.router.add_post("/quick/order/rule/ms/place", self._place)
        app.router.add_post("/quick/order/vr/modify", self._modify)
        app.router.add_post("/quick/order/cancel", self._cancel)
        app.router.add_get("/quick/user/orders", self._orders)
        app.router.add_get("/quick/user/trades", self._trades)
        app.router.add_get("/realtime", self._feed)
        return app

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == "/realtime":
            return await handler(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append(
            Request(method=request.method, path=request.path, headers=headers, fields=await _fields(request))
        )
        behaviour = self._script.popleft() if self._script else None
        match behaviour:
            case None:
                return await handler(request)
            case Reply(body=body, status=status, text=None):
                return web.json_response(body, status=status)
            case Reply(text=text, status=status):
                return web.Response(text=text, status=status, content_type="text/html")
            case Hang():
                await self._stopped.wait()
            case Lose():
                await handler(request)
            case Trickle() | CutShort():
                answer = web.StreamResponse(headers={"Content-Length": "1000"})
                await answer.prepare(request)
                await answer.write(b"{")
                while isinstance(behaviour, Trickle) and not self._stopped.is_set():
                    await asyncio.sleep(0.05)
                    await answer.write(b" ")
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    # --- login

    async def _login(self, request: web.Request) -> web.Response:
        given = await request.json()
        if request.headers.get("neo-fin-key") != "neotradeapi":
            return web.json_response({"status": "error", "message": "no key", "errorCode": "401"}, status=401)
        right = {"mobileNumber": MOBILE_NUMBER, "ucc": UCC}
        code = pyotp.TOTP(TOTP_SEED).verify(given.get("totp", ""), valid_window=1)
        if (
            request.headers.get("Authorization") != ACCESS_TOKEN
            or not code
            or not right.items() <= given.items()
        ):
            # Errors come under 2xx too.
            return web.json_response({"error": [{"code": "400", "message": f"Invalid TOTP {given}"}]})
        return _data(token="planted.view.token", sid="planted-view-sid", kType="View", ucc=UCC)

    async def _validate(self, request: web.Request) -> web.Response:
        given = await request.json()
        headers = request.headers
        if (headers.get("Auth"), headers.get("sid")) != ("planted.view.token", "planted-view-sid"):
            return web.json_response({"status": "error", "message": "no", "errorCode": "403"}, status=403)
        if given.get("mpin") != MPIN:
            body = {"status": "error", "message": f"mpin {given.get('mpin')}", "errorCode": "401"}
            return web.json_response(body, status=401)
        base_url = self.base_url_told or self.base_url
        return _data(token=TOKEN, sid=SID, kType="Trade", ucc=UCC, baseUrl=base_url, dataCenter="E21")

    # --- orders

    async def _place(self, request: web.Request) -> web.Response:
        if refusal := _check_session(request):
            return refusal
        fields = await _fields(request)
        listed = self._listed.get(fields.get("ts", ""))
        if not all(isinstance(value, str) for value in fields.values()) or listed is None:
            return _no(1009, "Invalid quantity or symbol")
        if _SEGMENTS.get(fields["es"]) is not listed.instrument.exchange or fields["pt"] not in _TYPES:
            return _no(1009, "Market order with Algo Id not allowed")
        order_type = _TYPES[fields["pt"]]
        units = listed.terms.units_per_broker_quantity
        ticket = OrderTicket(
            # The exchange behind would refuse a second order with a tag; the broker takes it.
            tag=f"KS{next(self._numbers):018d}",
            instrument=listed.instrument,
            side=Side.BUY if fields["tt"] == "B" else Side.SELL,
            quantity=int(fields["qt"]) * units,
            order_type=order_type,
            product=Product(fields["pc"]),
            validity=Validity(fields["rt"]),
            limit_price=Decimal(fields["pr"]) if order_type.has_limit else None,
            trigger_price=Decimal(fields["tp"]) if order_type.has_trigger else None,
            terms=listed.terms,
        )
        try:
            order_id = await self.exchange.place(ticket, timeout_s=5)
        except BrokerRejected as refused:
            return _no(1004, refused.message)
        self._placed[order_id] = fields
        return _yes(order_id)

    async def _modify(self, request: web.Request) -> web.Response:
        if refusal := _check_session(request):
            return refusal
        fields = await _fields(request)
        order_id = BrokerOrderId(fields["no"])
        if order_id not in self._placed:
            return _no(1006, "order not found")
        placed = self._placed[order_id]
        units = self._listed[placed["ts"]].terms.units_per_broker_quantity
        limit = Decimal(fields["pr"]) if _TYPES[fields["pt"]].has_limit else None
        try:
            quantity = int(fields["qt"]) * units
            await self.exchange.modify(order_id, quantity=quantity, limit_price=limit, timeout_s=5)
        except BrokerRejected as refused:
            return _no(1006, refused.message)
        placed.update(pr=fields["pr"], qt=fields["qt"])
        return _yes(order_id)

    async def _cancel(self, request: web.Request) -> web.Response:
        if refusal := _check_session(request):
            return refusal
        order_id = BrokerOrderId((await _fields(request))["on"])
        if order_id not in self._placed:
            return _no(1006, "order not found")
        try:
            await self.exchange.cancel(order_id, timeout_s=5)
        except BrokerRejected:
            # As seen live: a sentence where the status belongs.
            body = {"stCode": 1021, "errMsg": "order is completed", "stat": "please provide valid order number"}
            return web.json_response(body)
        return _yes(order_id)

    # --- reports

    async def _orders(self, request: web.Request) -> web.Response:
        if refusal := _check_session(request):
            return refusal
        rows = [self._row(order) for order in (await self.exchange.order_book()).orders]
        return web.json_response({"stat": "Ok", "stCode": 200, "data": rows} if rows else NO_DATA)

    async def _trades(self, request: web.Request) -> web.Response:
        if refusal := _check_session(request):
            return refusal
        rows = [
            {
                "nOrdNo": order.broker_order_id,
                "flId": fill.trade_id,
                "fldQty": fill.quantity // self._units(order),
                "qty": 0,
                "avgPrc": str(fill.price),
                "flDt": f"{fill.at.astimezone(_IST):%d-%b-%Y}",
                "flTm": f"{fill.at.astimezone(_IST):%H:%M:%S}",
                "trdSym": self._placed[order.broker_order_id]["ts"],
                "exSeg": self._placed[order.broker_order_id]["es"],
                "GuiOrdId": self._placed[order.broker_order_id]["ig"],
            }
            for order in (await self.exchange.order_book()).orders
            for fill in await self.exchange.trades(order.broker_order_id)
        ]
        # As in the documents' sample: lower case here.
        return web.json_response({"stat": "ok", "stCode": 200, "data": rows} if rows else NO_DATA)

    def _units(self, order: BrokerOrder) -> int:
        placed = self._placed[order.broker_order_id]
        return self._listed[placed["ts"]].terms.units_per_broker_quantity

    def _row(self, order: BrokerOrder) -> dict[str, Any]:
        placed, units = self._placed[order.broker_order_id], self._units(order)
        return {
            "nOrdNo": order.broker_order_id,
            "ordSt": _STATUSES[order.status],
            "trdSym": placed["ts"],
            "sym": order.instrument.symbol,
            "exSeg": placed["es"],
            "trnsTp": placed["tt"],
            "prcTp": placed["pt"],
            "prod": placed["pc"],
            "vldt": placed["rt"],
            "qty": order.quantity // units,
            "fldQty": order.filled_quantity // units,
            "unFldSz": (order.quantity - order.filled_quantity) // units,
            "prc": placed["pr"],
            "trgPrc": placed["tp"],
            "avgPrc": str(order.average_price) if order.filled_quantity else "0.00",
            "rejRsn": order.reason or "--",
            "ordDtTm": f"{order.placed_at.astimezone(_IST):%d-%b-%Y %H:%M:%S}",
            "exCfmTm": "--",
            "updRecvTm": int(datetime.now(UTC).timestamp()) * 1_000_000_000,
            "GuiOrdId": placed["ig"],
        }

    # --- the order feed

    async def _feed(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                break
            self.greetings.append(message.data)
            raw = f"{{type:cn,Authorization:{TOKEN},Sid:{SID},src:WEB}}"
            right = {"raw": raw, "json": _json_greeting()}.get(self.greeting)
            if message.data == right:
                await socket.send_json({"ak": "ok", "type": "cn", "msg": "connected"})
                self._feeds.add(socket)
        self._feeds.discard(socket)
        return socket

    async def push(self, text: str) -> None:
        for socket in tuple(self._feeds):
            await socket.send_str(text)

    async def push_updates(self) -> None:
        """Tell every feed what happens, until cancelled."""
        async for order in self.exchange.updates():
            # The number is known to the asker only after the answer.
            while True:
                if order.broker_order_id in self._placed:
                    break
                await asyncio.sleep(0)
            row = self._row(order)
            del row["GuiOrdId"]  # it is not said to be in there
            await self.push(json.dumps({"type": "order", "data": row}))

    @property
    def feeds(self) -> int:
        return len(self._feeds)

    async def drop_feeds(self) -> None:
        for socket in tuple(self._feeds):
            await socket.close()

    async def stop(self) -> None:
        self._stopped.set()
        await self.drop_feeds()
        await self.exchange.close()


def _json_greeting() -> str:
    fields = {"type": "cn", "Authorization": TOKEN, "Sid": SID, "src": "WEB"}
    return json.dumps(fields, separators=(",", ":"))


async def _fields(request: web.Request) -> dict[str, Any]:
    if request.method == "GET":
        return {}
    if request.content_type == "application/json":
        return dict(await request.json())
    return dict(json.loads(str((await request.post())["jData"])))


def _check_session(request: web.Request) -> web.Response | None:
    headers = request.headers
    if (headers.get("Auth"), headers.get("Sid"), headers.get("neo-fin-key")) == (TOKEN, SID, "neotradeapi"):
        return None
    return web.json_response({"stat": "Not_Ok", "errMsg": "invalid session", "stCode": 403}, status=403)


def _data(**fields: str) -> web.Response:
    return web.json_response({"data": {"status": "success", "rid": "r", **fields}})


def _yes(order_id: str) -> web.Response:
    return web.json_response({"stat": "Ok", "nOrdNo": order_id, "stCode": 200})


def _no(code: int, text: str) -> web.Response:
    return web.json_response({"stat": "Not_Ok", "emsg": text, "stCode": code})


@asynccontextmanager
async def kotak_server(
    market: FixedMarket | None = None, listed: Mapping[str, Traded] | None = None
) -> AsyncIterator[KotakServer]:
    server = KotakServer(market or FixedMarket(SystemClock()), listed or {})
    runner = web.AppRunner(server.app(), shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.base_url = f"http://{host}:{port}"
    pushing = asyncio.create_task(server.push_updates())
    try:
        yield server
    finally:
        pushing.cancel()
        await asyncio.gather(pushing, return_exceptions=True)
        await server.stop()
        await runner.cleanup()
