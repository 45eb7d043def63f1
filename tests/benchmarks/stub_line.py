"""The thinnest adapter of a broker: an order over a kept connection, an id as the answer."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from pulse_adapters.clock import SystemClock
from pulse_domain.errors import BrokerOutcomeUnknown, BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import Fill
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Side
from pulse_domain.ports.broker import BookRead, BrokerOrder, BrokerOrderStatus, OrderTicket
from tests.benchmarks.stub_broker import content_length

_READ_S = 10.0


class Call(asyncio.Protocol):
    """A connection with at most one request under way."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or len(body) < content_length(head):
            return
        self._received = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(body)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError())

    async def exchange(self, request: bytes) -> bytes:
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._answer


class Lines:
    """Connections to one address, kept while nobody needs them."""

    def __init__(self, host: str, port: int, headers: str = "") -> None:
        self._host, self._port, self._headers = host, port, headers
        self._idle: deque[Call] = deque()

    async def ask(self, method: str, path: str, body: str = "") -> Any:
        """Raises OSError; a request whose connection was lost may have been received."""
        while self._idle:
            call = self._idle.pop()
            if not call.transport.is_closing():
                break
        else:
            loop = asyncio.get_running_loop()
            _, call = await loop.create_connection(Call, self._host, self._port)
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{self._headers}Content-Length: {len(body)}"
        request = f"{head}\r\n\r\n{body}"
        try:
            answer = await call.exchange(request.encode())
        except BaseException:
            call.transport.close()
            raise
        self._idle.append(call)
        return msgspec.json.decode(answer)

    def close(self) -> None:
        while self._idle:
            self._idle.pop().transport.close()


def _row(order_id: str, form: str, at: float, *, cancelled: bool) -> BrokerOrder:
    field = msgspec.json.decode(form)
    return BrokerOrder(
        broker_order_id=BrokerOrderId(order_id),
        tags=(field["tag"],),
        instrument=Instrument.parse(f"{field['exchange']}:{field['tradingsymbol']}"),
        side=Side(field["transaction_type"]),
        quantity=int(field["quantity"]),
        filled_quantity=0,
        average_price=Decimal(0),
        status=BrokerOrderStatus.CANCELLED if cancelled else BrokerOrderStatus.OPEN,
        placed_at=datetime.fromtimestamp(at, UTC),
    )


class StubLine:
    """Implements the `Broker` port, as far as the executor and the first read of the book go."""

    name = "stub"

    def __init__(self, host: str, port: int) -> None:
        self._lines = Lines(host, port)

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        body = msgspec.json.encode(
            {
                "exchange": ticket.instrument.exchange,
                "tradingsymbol": ticket.instrument.symbol,
                "transaction_type": ticket.side,
                "quantity": ticket.quantity,
                "order_type": ticket.order_type,
                "product": ticket.product,
                "tag": ticket.tag,
            }
        ).decode()
        return BrokerOrderId((await self._ask("POST", "/orders", body, timeout_s))["order_id"])

    async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
        await self._ask("DELETE", f"/orders/{broker_order_id}", "", timeout_s)

    async def _ask(self, method: str, path: str, body: str, timeout_s: float) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._lines.ask(method, path, body)
        except ConnectionRefusedError as error:
            raise BrokerUnavailable("REFUSED") from error
        except OSError as error:
            raise BrokerOutcomeUnknown(type(error).__name__, call_ended=True) from error

    async def modify(
        self, broker_order_id: BrokerOrderId, *, quantity: int, limit_price: Decimal | None, timeout_s: float
    ) -> None:
        raise BrokerUnavailable("NOT_OFFERED")

    async def order_book(self) -> BookRead:
        now = SystemClock().now()
        book = await self._ask("GET", "/orders", "", _READ_S)
        orders = tuple(
            _row(order_id, form, at, cancelled=order_id in book["cancelled"])
            for order_id, (form, at) in book["orders"].items()
        )
        return BookRead(orders=orders, began_at=now, covers_since=now - timedelta(days=1), complete=True)

    async def trades(self, broker_order_id: BrokerOrderId) -> tuple[Fill, ...]:
        return ()

    async def updates(self) -> AsyncIterator[BrokerOrder]:
        await asyncio.Event().wait()
        nothing: tuple[BrokerOrder, ...] = ()
        for update in nothing:
            yield update

    async def close(self) -> None:
        self._lines.close()
