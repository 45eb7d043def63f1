"""The exchange's own order book: one row per accepted order, changed only by what the engine says."""

from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal

from msgspec.structs import replace

from pulse_domain.matching import Accepted, Cancelled, Filled, Result, Triggered
from pulse_domain.orders.events import Fill
from pulse_domain.orders.execution import trading_day_start
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.ports.broker import BrokerOrder, BrokerOrderStatus, OrderTicket

WORKING = (BrokerOrderStatus.OPEN, BrokerOrderStatus.TRIGGER_PENDING, BrokerOrderStatus.PENDING)
_IST = timedelta(hours=5, minutes=30)
_IDS_PER_SECOND = 10_000
_DAY = timedelta(days=1)
# How long into a day the book shows the one before: so that whoever was not pushed an end can read it there,
# also one that midnight brought. Not all day: by then its orders may be archived, and nobody's any more.
_LAST_DAY_SHOWN = timedelta(hours=9)


class VirtualOrderBook:
    """Rows by broker order id, in the order of their acceptance; every change is published.

    It has the orders of the trading day, and for its first hours those of the last one before.
    """

    def __init__(self, publish: Callable[[BrokerOrder], None], opened_at: datetime) -> None:
        self._publish = publish
        # Every order since then is there. It begins with the process: orders of an earlier one are not in it.
        self.covers_since = opened_at
        self._day = trading_day_start(opened_at)
        self.day_ends_at = self._day + _DAY
        self._last_day_until = opened_at
        self._rows: dict[BrokerOrderId, BrokerOrder] = {}
        self._tickets: dict[BrokerOrderId, OrderTicket] = {}
        self._tags: set[str] = set()
        # How many more reads an order stays hidden from.
        self._hidden: dict[BrokerOrderId, int] = {}
        self._last_id = (date.min, 0)

    def knows_tag(self, tag: str) -> bool:
        return tag in self._tags

    def row(self, order_id: BrokerOrderId) -> BrokerOrder | None:
        return self._rows.get(order_id)

    def ticket(self, order_id: BrokerOrderId) -> OrderTicket:
        return self._tickets[order_id]

    def new_id(self, now: datetime) -> BrokerOrderId:
        """YYMMDD and nine digits that grow over the day, also when the exchange starts again within it."""
        ist = now + _IST
        day, last = self._last_id
        if day == ist.date():
            number = last + 1
        else:
            midnight = ist.replace(hour=0, minute=0, second=0, microsecond=0)
            number = int((ist - midnight).total_seconds() * _IDS_PER_SECOND)
        self._last_id = (ist.date(), number)
        return BrokerOrderId(f"{ist:%y%m%d}{number:09d}")

    def add(
        self, order_id: BrokerOrderId, ticket: OrderTicket, now: datetime, *, hidden_reads: int = 0
    ) -> None:
        self._tags.add(ticket.tag)
        self._tickets[order_id] = ticket
        if hidden_reads:
            self._hidden[order_id] = hidden_reads
        self._rows[order_id] = BrokerOrder(
            broker_order_id=order_id,
            tags=(ticket.tag,),
            instrument=ticket.instrument,
            side=ticket.side,
            quantity=ticket.quantity,
            filled_quantity=0,
            average_price=Decimal(0),
            status=BrokerOrderStatus.PENDING,
            placed_at=now,
        )

    def change(
        self,
        order_id: BrokerOrderId,
        status: BrokerOrderStatus,
        *,
        reason_code: str | None = None,
        reason: str = "",
    ) -> None:
        row = self._rows[order_id]
        self._set(replace(row, status=status, reason_code=reason_code, reason=reason or None))

    def apply(self, results: Iterable[Result], now: datetime) -> None:
        """Bring the rows to what the engine says."""
        for result in results:
            order_id = BrokerOrderId(result.order_id)
            match result:
                case Accepted():
                    waits = self._tickets[order_id].order_type.has_trigger
                    self.change(
                        order_id, BrokerOrderStatus.TRIGGER_PENDING if waits else BrokerOrderStatus.OPEN
                    )
                case Triggered():
                    self.change(order_id, BrokerOrderStatus.OPEN)
                case Filled():
                    self._fill(order_id, result, now)
                case Cancelled():
                    self.change(order_id, BrokerOrderStatus.CANCELLED, reason_code=result.reason_code)
                case _:
                    pass

    def resize(self, order_id: BrokerOrderId, quantity: int) -> None:
        self._set(replace(self._rows[order_id], quantity=quantity))

    def begin_day(self, now: datetime) -> None:
        """Begin the trading day of an instant; nothing may work any more."""
        self._forget(self._day)
        self._day = trading_day_start(now)
        self.day_ends_at = self._day + _DAY
        self._last_day_until = now + _LAST_DAY_SHOWN

    def read(self, now: datetime) -> tuple[BrokerOrder, ...]:
        if now >= self._last_day_until:
            self._forget(self._day)
        rows = []
        for row in self._rows.values():
            if left := self._hidden.get(row.broker_order_id, 0):
                self._hidden[row.broker_order_id] = left - 1
            else:
                rows.append(row)
        return tuple(rows)

    def _forget(self, before: datetime) -> None:
        """Drop the orders placed before the beginning of a day."""
        if before <= self.covers_since:
            return
        self.covers_since = before
        for row in [row for row in self._rows.values() if row.placed_at < before]:
            del self._rows[row.broker_order_id]
            self._tags.discard(self._tickets.pop(row.broker_order_id).tag)
            self._hidden.pop(row.broker_order_id, None)

    def _fill(self, order_id: BrokerOrderId, filled: Filled, now: datetime) -> None:
        row = self._rows[order_id]
        fill = Fill(
            trade_id=f"{order_id}{len(row.fills) + 1:02d}",
            broker_order_id=order_id,
            quantity=filled.quantity,
            price=filled.price,
            at=now,
        )
        fills = (*row.fills, fill)
        quantity = sum(f.quantity for f in fills)
        average = sum(f.quantity * f.price for f in fills) / quantity
        self._set(
            replace(
                row,
                fills=fills,
                filled_quantity=quantity,
                average_price=average,
                status=BrokerOrderStatus.COMPLETE if quantity == row.quantity else row.status,
            )
        )

    def _set(self, row: BrokerOrder) -> None:
        self._rows[row.broker_order_id] = row
        self._publish(row)
