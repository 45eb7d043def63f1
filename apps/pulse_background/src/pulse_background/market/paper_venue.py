"""Orders of a strategy on paper: matched here, by the engine and the ledger of the backtest, on the ticks as
they come. No store and no broker hears of them; what is open, held and earned is part of the checkpoint.

An order is planned as the workers would plan it. What is due blocks money and meets the next tick; without a
tick nothing can fill, so nothing else moves it. Orders are for a day of India.
"""

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from pulse_background.market.messages import Held, KnownOrder, Money, Told
from pulse_background.market.venue import STALE, Opening, refusal
from pulse_domain.account import Ledger, refusal_code
from pulse_domain.account.book import BookState, rupees
from pulse_domain.errors import AccountError, MatchingError
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.market.sessions import indian_day
from pulse_domain.matching import (
    Cancelled,
    Filled,
    MatchingEngine,
    MatchingSettings,
    Result,
    Tick,
    Triggered,
    VenueOrder,
)
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import OrderRequest, OrderType, Product, Side
from pulse_domain.orders.plan import plan_order
from pulse_domain.orders.status import OrderState
from pulse_domain.ports.event_bus import Signal
from pulse_domain.strategy import OrderUpdate
from pulse_domain.units import PRICE_UNITS, to_price, to_units

_FINEST = Decimal("0.0001")
_REMEMBERED_MAX = 50  # orders that are done
# Where nothing was filled, the gravest end names the order.
_ENDS = (
    ("REJECTED", OrderState.REJECTED),
    ("EXPIRED", OrderState.EXPIRED),
    ("CANCELLED", OrderState.CANCELLED),
)


class _Part(Struct, kw_only=True):
    """One order at the exchange. end: how it ended unfilled; price: what it blocks a unit at, in units."""

    due_at: datetime
    quantity: int
    filled: int = 0
    sent_on: date | None = None
    price: int = 0
    triggered: bool = False
    end: str | None = None

    @property
    def rest(self) -> int:
        return self.quantity - self.filled

    @property
    def is_open(self) -> bool:
        return self.end is None and self.rest > 0


class _Order(Struct, kw_only=True):
    """value: of what is filled, in units of price. seq: counts what was told of it."""

    key: str
    request: OrderRequest
    parts: list[_Part]
    value: int = 0
    seq: int = 0

    @property
    def filled(self) -> int:
        return sum(part.filled for part in self.parts)

    @property
    def is_open(self) -> bool:
        return any(part.is_open for part in self.parts)

    @property
    def state(self) -> OrderState:
        if self.is_open:
            sent = any(part.sent_on is not None for part in self.parts)
            return OrderState.WORKING if sent else OrderState.SCHEDULED
        if self.filled >= self.request.total_quantity:
            return OrderState.FILLED
        if self.filled:
            return OrderState.PARTIALLY_FILLED
        ends = {part.end for part in self.parts}
        return next(state for end, state in _ENDS if end in ends)


class _BookMemory(Struct, frozen=True, kw_only=True):
    instrument: Instrument
    product: Product
    rank: int
    state: BookState


class _Memory(Struct, frozen=True, kw_only=True):
    """untold: updates that the strategy may not know of."""

    capital: int
    money: tuple[int, int, int, int, int, int, int]
    books: tuple[_BookMemory, ...]
    orders: tuple[_Order, ...]
    untold: tuple[Told, ...]


class PaperVenue:
    """Implements `Venue`. terms: of the strategy's instruments. capital: in rupees."""

    fills_by_itself = False

    def __init__(
        self,
        terms: dict[Instrument, InstrumentTerms],
        capital: Decimal,
        market_now: Callable[[], datetime],
        on_told: Callable[[Told], None],
    ) -> None:
        self._terms = terms
        self._market_now = market_now
        self._on_told = on_told
        self._engine = MatchingEngine(
            MatchingSettings(
                tick_sizes={instrument: each.tick_size for instrument, each in terms.items()},
                lot_sizes={instrument: each.lot_size for instrument, each in terms.items()},
            )
        )
        self._ledger = Ledger()
        self._ledger.open(capital)
        self._orders: dict[str, _Order] = {}
        # What is not done, so that a tick looks at nothing else.
        self._open: dict[str, _Order] = {}
        # The order and part that the engine knows by a name.
        self._sent: dict[str, tuple[_Order, _Part]] = {}
        self._untold: deque[Told] = deque()

    async def open(self, memory: Any, orders: tuple[KnownOrder, ...]) -> Opening:
        if memory:
            self._recall(msgspec.convert(memory, _Memory))
        now = [
            KnownOrder(
                update=self._update(order), product=order.request.product or Product.CNC, seq=order.seq,
                price=order.request.limit_price or order.request.trigger_price,
            )
            for order in self._orders.values()
        ]  # fmt: skip
        return Opening(money=self._money(), orders=tuple(now), missed=tuple(self._untold))

    # --- orders in

    async def submit(self, signal: Signal) -> None:
        if signal.order_unique_key in self._orders:
            return  # the same answer to the same event
        request = signal.request
        starts_at = max(request.start_at or signal.at, signal.at)
        plan = plan_order(
            OrderId(signal.order_unique_key), request, self._terms[request.instrument], starts_at, "PA"
        )
        parts = [
            _Part(due_at=each.scheduled_at, quantity=planned.quantity)
            for each in plan
            for planned in each.executions
        ]
        order = _Order(key=signal.order_unique_key, request=request, parts=parts)
        self._orders[order.key] = self._open[order.key] = order
        self._forget_done()

    async def recall(self, signal: Signal) -> None:
        if signal.order_unique_key not in self._orders:
            self._on_told(Told(update=refusal(signal, STALE), seq=0, money=self._money()))

    async def cancel(self, order_unique_key: str) -> None:
        order = self._orders.get(order_unique_key)
        if order is not None and order.is_open:
            self._end_rest(order, "CANCELLED", "REQUESTED")

    # --- the market

    def take(self, ticks: Sequence[Tick]) -> None:
        """Let orders meet the ticks; never waits."""
        for tick in ticks:
            if self._open:
                self._meet(tick)

    def _meet(self, tick: Tick) -> None:
        instrument, today = tick.instrument, indian_day(tick.at)
        for order in [each for each in self._open.values() if each.request.instrument == instrument]:
            if any(part.sent_on is not None and part.sent_on < today for part in order.parts if part.is_open):
                self._expire(order, today)
            for number, part in enumerate(order.parts):
                if part.sent_on is None and part.is_open and part.due_at <= tick.at:
                    self._send(order, number, part, tick, today)
        with suppress(MatchingError):  # a tick that no order may meet
            self._apply(self._engine.process_tick(tick))

    def _send(self, order: _Order, number: int, part: _Part, tick: Tick, today: date) -> None:
        request = order.request
        price = to_units(request.limit_price or request.trigger_price or tick.price)
        book = self._ledger.book(request.instrument, request.product or Product.CNC)
        try:
            self._ledger.block(book, _sign(request), part.quantity, price)
        except AccountError as error:
            part.end, part.sent_on = "REJECTED", today
            self._tell(order, reason_code=refusal_code(error))
            return
        part.price, part.sent_on = price, today
        self._hand_over(order, number, part)

    def _hand_over(self, order: _Order, number: int, part: _Part) -> None:
        """Give what is left of a part to the engine."""
        request, name = order.request, f"{order.key}/{number}"
        self._sent[name] = order, part
        kind, trigger = request.order_type, request.trigger_price
        if part.triggered:  # it is past its trigger
            kind, trigger = (OrderType.LIMIT if kind.has_limit else OrderType.MARKET), None
        self._apply(
            self._engine.submit(
                VenueOrder(
                    order_id=name, instrument=request.instrument, side=request.side, quantity=part.rest,
                    order_type=kind, validity=request.validity, limit_price=request.limit_price,
                    trigger_price=trigger,
                )
            )
        )  # fmt: skip

    def _apply(self, results: Sequence[Result]) -> None:
        for result in results:
            order, part = self._sent[result.order_id]
            match result:
                case Filled(quantity=quantity, price=price):
                    self._fill(order, part, quantity, to_units(price))
                case Triggered():
                    part.triggered = True
                case Cancelled(reason_code=code):
                    self._release(order, part)
                    part.end = "CANCELLED"
                    self._tell(order, reason_code=code)
                case _:
                    pass
            if not part.is_open:
                self._sent.pop(result.order_id, None)

    def _fill(self, order: _Order, part: _Part, quantity: int, price: int) -> None:
        request = order.request
        book = self._ledger.book(request.instrument, request.product or Product.CNC)
        self._ledger.fill(book, _sign(request), quantity, price, part.price, None, None)
        part.filled += quantity
        order.value += quantity * price
        self._tell(order, last_quantity=quantity, last_price=to_price(price))

    def _release(self, order: _Order, part: _Part) -> None:
        if part.price:
            book = self._ledger.book(order.request.instrument, order.request.product or Product.CNC)
            self._ledger.release(book, _sign(order.request), part.rest, part.price)

    def _expire(self, order: _Order, today: date) -> None:
        for number, part in enumerate(order.parts):
            if part.is_open and part.sent_on is not None and part.sent_on < today:
                self._take_out(order, number, part, "EXPIRED")
        self._tell(order, reason_code="EXPIRED")

    def _end_rest(self, order: _Order, end: str, reason_code: str) -> None:
        for number, part in enumerate(order.parts):
            if part.is_open:
                self._take_out(order, number, part, end)
        self._tell(order, reason_code=reason_code)

    def _take_out(self, order: _Order, number: int, part: _Part, end: str) -> None:
        name = f"{order.key}/{number}"
        if self._sent.pop(name, None) is not None:
            self._engine.cancel(name)
        self._release(order, part)
        part.end = end

    # --- what is told

    def _tell(
        self,
        order: _Order,
        *,
        last_quantity: int = 0,
        last_price: Decimal | None = None,
        reason_code: str | None = None,
    ) -> None:
        order.seq += 1
        if not order.is_open:
            self._open.pop(order.key, None)
        update = self._update(order, last_quantity, last_price, reason_code)
        told = Told(update=update, seq=order.seq, money=self._money())
        self._untold.append(told)
        self._on_told(told)

    def _update(
        self,
        order: _Order,
        last_quantity: int = 0,
        last_price: Decimal | None = None,
        reason_code: str | None = None,
    ) -> OrderUpdate:
        filled = order.filled
        average = (Decimal(order.value) / (filled * PRICE_UNITS)).quantize(_FINEST) if filled else None
        return OrderUpdate(
            order_unique_key=order.key,
            at=self._market_now(),
            instrument=order.request.instrument,
            side=order.request.side,
            state=order.state,
            done=not order.is_open,
            total_quantity=order.request.total_quantity,
            filled_quantity=filled,
            average_price=average,
            last_quantity=last_quantity,
            last_price=last_price,
            reason_code=reason_code,
        )

    def _money(self) -> Money:
        ledger = self._ledger
        held = [
            Held(
                instrument=book.instrument, product=book.product, quantity=book.quantity,
                cost=rupees(book.cost), blocked=rupees(book.blocked_in_position),
            )
            for book in ledger.books.values()
            if book.quantity
        ]  # fmt: skip
        return Money(settled=rupees(ledger.capital + ledger.realised - ledger.charges), held=tuple(held))

    def acknowledge(self, told: Told) -> None:
        while self._untold:
            if self._untold.popleft() is told:
                return

    # --- across crashes

    def memory(self) -> Any:
        ledger = self._ledger
        books = tuple(
            _BookMemory(instrument=book.instrument, product=book.product, rank=book.rank, state=book.state)
            for book in ledger.books.values()
        )
        cash, for_orders, in_positions, earned, charges, bought, sold = ledger.state
        whole = (int(cash), for_orders, in_positions, earned, int(charges), bought, sold)  # nothing is charged
        return msgspec.to_builtins(
            _Memory(
                capital=ledger.capital,
                money=whole,
                books=books,
                orders=tuple(self._orders.values()),
                untold=tuple(self._untold),
            ),
            str_keys=True,
        )

    def _recall(self, memory: _Memory) -> None:
        ledger = self._ledger
        ledger.capital, ledger.state = memory.capital, memory.money
        for each in memory.books:
            book = ledger.book(each.instrument, each.product)
            book.rank, book.state = each.rank, each.state
        self._orders = {order.key: order for order in memory.orders}
        self._open = {key: order for key, order in self._orders.items() if order.is_open}
        self._untold = deque(memory.untold)
        for order in self._open.values():
            for number, part in enumerate(order.parts):
                if part.is_open and part.sent_on is not None:
                    self._hand_over(order, number, part)

    async def refresh(self) -> Money | None:
        return None

    def close(self) -> None:
        pass

    def _forget_done(self) -> None:
        if len(self._orders) > 2 * _REMEMBERED_MAX:
            done = [key for key, order in self._orders.items() if not order.is_open]
            for key in done[:-_REMEMBERED_MAX]:
                del self._orders[key]


def _sign(request: OrderRequest) -> int:
    return 1 if request.side is Side.BUY else -1
