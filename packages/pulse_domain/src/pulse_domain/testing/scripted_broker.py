"""A broker that does as it is told, call by call, and keeps a book that a test can edit.

Left alone it accepts every order and lets it rest. What the next calls do is said beforehand:

    broker.on_place(Rejects("MARGIN"), Unknown(took=True, call_ended=False))

What happens at the exchange is told with `fill`, `end`, `edit`, `add` and `hide`. Nothing trades by itself
until `trade_at` names a price; no tag is refused: like a real broker it takes the same order twice.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.errors import BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import Fill
from pulse_domain.orders.execution import trading_day_start
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Side, Validity
from pulse_domain.ports.broker import BookRead, BrokerOrder, BrokerOrderStatus, OrderTicket
from pulse_domain.ports.clock import Clock

NOT_OPEN = "NOT_OPEN"
UNKNOWN_ORDER = "UNKNOWN_ORDER"
AGAINST_TERMS = "AGAINST_TERMS"

_OPEN = (BrokerOrderStatus.PENDING, BrokerOrderStatus.OPEN, BrokerOrderStatus.TRIGGER_PENDING)


class Accepts(Struct, frozen=True):
    """The call does what it should. `acts` false: the wish is taken, and nothing comes of it yet."""

    acts: bool = True


class Rejects(Struct, frozen=True):
    """A definite no."""

    reason_code: str = "REFUSED"
    message: str = ""


class Unavailable(Struct, frozen=True):
    """Certainly not sent, or not read."""

    reason_code: str = "REFUSED_CONNECTION"


class Unknown(Struct, frozen=True, kw_only=True):
    """No answer, after the whole timeout where `hangs`. `took`: it had its effect all the same."""

    took: bool
    call_ended: bool
    hangs: bool = False


class Partial(Struct, frozen=True):
    """A read that ended early and says so: only the first rows."""

    rows: int = 0


class OtherDay(Struct, frozen=True):
    """A read that calls itself complete and holds other rows than today's."""

    rows: tuple[BrokerOrder, ...] = ()


class NoTrades(Struct, frozen=True):
    """The trades are not there yet."""


CallOutcome = Accepts | Rejects | Unavailable | Unknown
ReadOutcome = Accepts | Partial | OtherDay | Unavailable
TradesOutcome = Accepts | NoTrades | Unavailable


class ScriptedBroker:
    """Implements the `Broker` port.

    tickets: every order that `place` was called with, sent or not.
    sent: those of them that may have left the house.
    cancels, modifies, asked_trades: the broker order ids that were asked for.
    """

    def __init__(self, clock: Clock, *, name: str = "scripted", pushes: bool = True) -> None:
        self.name = name
        self.pushes = pushes
        self.tickets: list[OrderTicket] = []
        self.sent: list[OrderTicket] = []
        self.cancels: list[BrokerOrderId] = []
        self.modifies: list[BrokerOrderId] = []
        self.asked_trades: list[BrokerOrderId] = []
        self.reads = 0
        self._clock = clock
        self._rows: dict[BrokerOrderId, BrokerOrder] = {}
        self._tickets: dict[BrokerOrderId, OrderTicket] = {}
        self._trades: dict[BrokerOrderId, list[Fill]] = {}
        self._prices: dict[Instrument, Decimal] = {}
        self._hidden: dict[BrokerOrderId, int] = {}
        self._place: deque[CallOutcome] = deque()
        self._cancel: deque[CallOutcome] = deque()
        self._modify: deque[CallOutcome] = deque()
        self._read: deque[ReadOutcome] = deque()
        self._ask_trades: deque[TradesOutcome] = deque()
        self._ids = itertools.count(1)
        self._trade_ids = itertools.count(1)
        self._subscribers: list[_Updates] = []

    # --- what the next calls do; after that they accept again

    def on_place(self, *outcomes: CallOutcome) -> None:
        self._place.extend(outcomes)

    def on_cancel(self, *outcomes: CallOutcome) -> None:
        self._cancel.extend(outcomes)

    def on_modify(self, *outcomes: CallOutcome) -> None:
        self._modify.extend(outcomes)

    def on_read(self, *outcomes: ReadOutcome) -> None:
        self._read.extend(outcomes)

    def on_trades(self, *outcomes: TradesOutcome) -> None:
        self._ask_trades.extend(outcomes)

    # --- what happens at the exchange

    def arrive(self, ticket: OrderTicket) -> BrokerOrderId:
        """Put an order into the book, as a call that was in the air does in the end."""
        row = self.foreign(
            tags=(ticket.tag,), instrument=ticket.instrument, side=ticket.side, quantity=ticket.quantity
        )
        self._tickets[row.broker_order_id] = ticket
        if ticket.order_type.has_trigger:
            self.edit(row.broker_order_id, status=BrokerOrderStatus.TRIGGER_PENDING)
        self._match(row.broker_order_id)
        priced = ticket.instrument in self._prices
        if ticket.validity is Validity.IOC and priced and self._is_open(row.broker_order_id):
            self.edit(row.broker_order_id, status=BrokerOrderStatus.CANCELLED)
        return row.broker_order_id

    def foreign(
        self,
        *,
        instrument: Instrument,
        side: Side,
        quantity: int,
        tags: Iterable[str] = (),
        placed_at: datetime | None = None,
    ) -> BrokerOrder:
        """Put an open order of any origin into the book, by default placed now."""
        row = BrokerOrder(
            broker_order_id=BrokerOrderId(f"SB-{next(self._ids):06d}"),
            tags=tuple(tags),
            instrument=instrument,
            side=side,
            quantity=quantity,
            filled_quantity=0,
            average_price=Decimal(0),
            status=BrokerOrderStatus.OPEN,
            placed_at=placed_at or self._clock.now(),
        )
        self.add(row)
        return row

    def add(self, row: BrokerOrder) -> None:
        """Put a row into the book, or replace the one with its id."""
        self._rows[row.broker_order_id] = row
        if self.pushes:
            self.push(row.broker_order_id)

    def edit(self, broker_order_id: str, **changes: Any) -> BrokerOrder:
        """Change fields of a row."""
        row = replace(self._rows[BrokerOrderId(broker_order_id)], **changes)
        self.add(row)
        return row

    def remove(self, broker_order_id: str) -> None:
        """Take a row out of the book for good."""
        del self._rows[BrokerOrderId(broker_order_id)]

    def fill(
        self, broker_order_id: str, quantity: int, price: str = "100.00", *, trade_id: str | None = None
    ) -> Fill:
        """Trade a quantity; the last one completes the order."""
        row = self._rows[BrokerOrderId(broker_order_id)]
        fill = Fill(
            trade_id=trade_id or f"ST-{next(self._trade_ids):06d}",
            broker_order_id=row.broker_order_id,
            quantity=quantity,
            price=Decimal(price),
            at=self._clock.now(),
        )
        trades = self._trades.setdefault(row.broker_order_id, [])
        trades.append(fill)
        filled = sum(trade.quantity for trade in trades)
        value = sum((trade.price * trade.quantity for trade in trades), Decimal(0))
        complete = filled >= row.quantity and row.status in _OPEN
        self.edit(
            broker_order_id,
            filled_quantity=filled,
            average_price=value / filled,
            status=BrokerOrderStatus.COMPLETE if complete else row.status,
        )
        return fill

    def trade_at(self, instrument: Instrument, price: Decimal) -> None:
        """Let the market trade at a price, bid and ask a tick around it, and fill in full what it meets."""
        self._prices[instrument] = price
        for broker_order_id in list(self._tickets):
            self._match(broker_order_id)

    def end(
        self,
        broker_order_id: str,
        status: BrokerOrderStatus,
        *,
        reason_code: str | None = None,
        reason: str | None = None,
    ) -> None:
        """End an order at the exchange: cancelled, rejected or expired."""
        self.edit(broker_order_id, status=status, reason_code=reason_code, reason=reason)

    def hide(self, broker_order_id: str, *, reads: int) -> None:
        """Leave a row out of the next reads, which call themselves complete."""
        self._hidden[BrokerOrderId(broker_order_id)] = reads

    def push(self, broker_order_id: str, *, with_fills: bool = False) -> None:
        """Push a row as it stands; may be repeated."""
        row = self._rows[BrokerOrderId(broker_order_id)]
        if with_fills:
            row = replace(row, fills=tuple(self._trades.get(row.broker_order_id, ())))
        for updates in self._subscribers:
            updates.put(row)

    # --- looking

    def times_sent(self, tag: str) -> int:
        """How often an order with the tag may have left the house."""
        return sum(ticket.tag == tag for ticket in self.sent)

    def rows(self, tag: str | None = None) -> list[BrokerOrder]:
        """The book as it truly is, or what of it carries a tag."""
        return [row for row in self._rows.values() if tag is None or tag in row.tags]

    # --- the port

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        self.tickets.append(ticket)
        outcome = await self._begin(self._place, timeout_s)
        self.sent.append(ticket)
        broker_order_id = None
        if _has_effect(outcome):
            _check_terms(ticket)
            broker_order_id = self.arrive(ticket)
        _answer(outcome)
        assert broker_order_id is not None, "what is answered with an id has arrived"
        return broker_order_id

    async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
        self.cancels.append(broker_order_id)
        outcome = await self._begin(self._cancel, timeout_s)
        if _has_effect(outcome):
            self._open_row(broker_order_id)
            if not isinstance(outcome, Accepts) or outcome.acts:
                self.edit(broker_order_id, status=BrokerOrderStatus.CANCELLED)
        _answer(outcome)

    async def modify(
        self, broker_order_id: BrokerOrderId, *, quantity: int, limit_price: Decimal | None, timeout_s: float
    ) -> None:
        self.modifies.append(broker_order_id)
        outcome = await self._begin(self._modify, timeout_s)
        if _has_effect(outcome):
            row = self._open_row(broker_order_id)
            if not isinstance(outcome, Accepts) or outcome.acts:
                amended = max(quantity, row.filled_quantity)
                complete = amended == row.filled_quantity
                self.edit(
                    broker_order_id,
                    quantity=amended,
                    status=BrokerOrderStatus.COMPLETE if complete else row.status,
                )
                ticket = self._tickets.get(broker_order_id)
                if ticket is not None:
                    self._tickets[broker_order_id] = replace(ticket, limit_price=limit_price)
                    self._match(broker_order_id)
        _answer(outcome)

    async def order_book(self) -> BookRead:
        self.reads += 1
        began_at = self._clock.now()
        await asyncio.sleep(0)
        outcome = self._read.popleft() if self._read else Accepts()
        if isinstance(outcome, Unavailable):
            raise BrokerUnavailable(outcome.reason_code)
        if isinstance(outcome, OtherDay):
            return BookRead(
                orders=outcome.rows, began_at=began_at, covers_since=trading_day_start(began_at), complete=True
            )
        shown = tuple(row for row in self._rows.values() if not self._hidden.get(row.broker_order_id))
        self._hidden = {key: reads - 1 for key, reads in self._hidden.items() if reads > 1}
        if isinstance(outcome, Partial):
            return BookRead(
                orders=shown[: outcome.rows],
                began_at=began_at,
                covers_since=trading_day_start(began_at),
                complete=False,
            )
        return BookRead(
            orders=shown, began_at=began_at, covers_since=trading_day_start(began_at), complete=True
        )

    async def trades(self, broker_order_id: BrokerOrderId) -> tuple[Fill, ...]:
        self.asked_trades.append(broker_order_id)
        await asyncio.sleep(0)
        outcome = self._ask_trades.popleft() if self._ask_trades else Accepts()
        if isinstance(outcome, Unavailable):
            raise BrokerUnavailable(outcome.reason_code)
        if isinstance(outcome, NoTrades):
            return ()
        return tuple(self._trades.get(broker_order_id, ()))

    def updates(self) -> AsyncIterator[BrokerOrder]:
        updates = _Updates()
        self._subscribers.append(updates)
        return updates

    async def close(self) -> None:
        for updates in self._subscribers:
            updates.end()

    async def _begin(self, script: deque[CallOutcome], timeout_s: float) -> CallOutcome:
        # A turn of the loop, as a call over a wire would take at least.
        await asyncio.sleep(0)
        outcome = script.popleft() if script else Accepts()
        if isinstance(outcome, Unknown) and outcome.hangs:
            await self._clock.sleep(timeout_s)
        if isinstance(outcome, Unavailable):
            raise BrokerUnavailable(outcome.reason_code)
        return outcome

    def _is_open(self, broker_order_id: BrokerOrderId) -> bool:
        return self._rows[broker_order_id].status in _OPEN

    def _match(self, broker_order_id: BrokerOrderId) -> None:
        ticket = self._tickets[broker_order_id]
        last = self._prices.get(ticket.instrument)
        if last is None or broker_order_id not in self._rows or not self._is_open(broker_order_id):
            return
        row = self._rows[broker_order_id]
        direction = 1 if ticket.side is Side.BUY else -1
        if row.status is BrokerOrderStatus.TRIGGER_PENDING:
            assert ticket.trigger_price is not None, "a stop order has a trigger"
            if direction * (last - ticket.trigger_price) < 0:
                return
            row = self.edit(broker_order_id, status=BrokerOrderStatus.OPEN)
        price = last + direction * ticket.terms.tick_size
        limit = ticket.limit_price if ticket.order_type.has_limit else None
        if limit is None or direction * (limit - price) >= 0:
            self.fill(broker_order_id, row.quantity - row.filled_quantity, str(price))

    def _open_row(self, broker_order_id: BrokerOrderId) -> BrokerOrder:
        row = self._rows.get(broker_order_id)
        if row is None:
            raise BrokerRejected(UNKNOWN_ORDER, f"no order {broker_order_id}")
        if row.status not in _OPEN:
            raise BrokerRejected(NOT_OPEN, f"order {broker_order_id} is {row.status}")
        return row


def _has_effect(outcome: CallOutcome) -> bool:
    return isinstance(outcome, Accepts) or (isinstance(outcome, Unknown) and outcome.took)


def _check_terms(ticket: OrderTicket) -> None:
    terms = ticket.terms
    off_tick = any(
        price is not None and price % terms.tick_size for price in (ticket.limit_price, ticket.trigger_price)
    )
    frozen = terms.freeze_quantity is not None and ticket.quantity > terms.freeze_quantity
    if ticket.quantity % terms.lot_size or frozen or off_tick:
        raise BrokerRejected(AGAINST_TERMS, f"{ticket.quantity} of {ticket.instrument} breaks its terms")


def _answer(outcome: CallOutcome) -> None:
    if isinstance(outcome, Rejects):
        raise BrokerRejected(outcome.reason_code, outcome.message)
    if isinstance(outcome, Unknown):
        raise BrokerOutcomeUnknown("TIMEOUT", call_ended=outcome.call_ended)


class _Updates:
    """One subscriber's updates, until the broker is closed."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[BrokerOrder | None] = asyncio.Queue()

    def put(self, row: BrokerOrder) -> None:
        self._waiting.put_nowait(row)

    def end(self) -> None:
        self._waiting.put_nowait(None)

    def __aiter__(self) -> "_Updates":
        return self

    async def __anext__(self) -> BrokerOrder:
        row = await self._waiting.get()
        if row is None:
            self.end()  # whoever asks again learns it too
            raise StopAsyncIteration
        return row
