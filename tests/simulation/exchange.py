"""The simulated exchange with its book, and each process's line to it.

The exchange takes whatever reaches it: it refuses no second order with a known tag, as real brokers do not, so
an order that is sent twice is there twice. What goes wrong on the line is drawn from the troubles of the
scenario; what the market does with an order, from the seed and the order.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from msgspec import Struct

from pulse_domain.errors import BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import Fill
from pulse_domain.orders.execution import trading_day_start
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType, Side, Validity
from pulse_domain.ports.broker import BookRead, BrokerOrder, BrokerOrderStatus, OrderTicket
from pulse_domain.ports.clock import Clock
from tests.simulation.loop import SimulatedLoop
from tests.simulation.process import Gone, Process, request
from tests.simulation.scenario import BrokerFault, BrokerTrouble, Stage

_OPEN = (BrokerOrderStatus.PENDING, BrokerOrderStatus.OPEN, BrokerOrderStatus.TRIGGER_PENDING)
_PRICE = Decimal("100.00")
# No order shows later than this after its call (90 s have been seen with real brokers).
SHOWN_LATE_MAX_S = 90.0
_T = BrokerTrouble
_UNTRUE_READS = {_T.READ_CUT, _T.READ_SHORT, _T.OTHER_DAY}


class Send(Struct, frozen=True, kw_only=True):
    """A placement that was written to a socket. stalled_s: between the last check of ours and the write."""

    tag: str
    sender: str
    at: float
    stalled_s: float


class Row:
    """An order at the exchange, as it truly is."""

    __slots__ = (
        "arrived_at", "broker_order_id", "fills", "placed_at", "reason", "sent", "shown_from", "status", "tags",
        "ticket", "trades_from", "view",
    )  # fmt: skip

    def __init__(
        self,
        broker_order_id: BrokerOrderId,
        ticket: OrderTicket,
        arrived_at: float,
        placed_at: datetime,
        sent: Send | None,
    ) -> None:
        self.broker_order_id = broker_order_id
        self.ticket = ticket
        self.arrived_at = arrived_at
        self.placed_at = placed_at
        self.sent = sent
        self.tags: tuple[str, ...] = (ticket.tag,)
        self.status = BrokerOrderStatus.OPEN
        self.reason: str | None = None
        self.fills: list[Fill] = []
        self.shown_from = arrived_at
        self.trades_from = arrived_at
        self.view: BrokerOrder | None = None

    @property
    def filled(self) -> int:
        return sum(fill.quantity for fill in self.fills)


class Troubles:
    """What is wrong with the line to the broker, when."""

    def __init__(self, faults: tuple[BrokerFault, ...], loop: SimulatedLoop) -> None:
        self._faults = faults
        self._loop = loop

    def now(self, rng: Random) -> frozenset[BrokerTrouble]:
        """The troubles that hit the present call."""
        if not self._faults:
            return frozenset()
        now = self._loop.time()
        return frozenset(
            fault.trouble
            for fault in self._faults
            if fault.at <= now < fault.at + fault.lasting_s and (fault.share >= 1 or rng.random() < fault.share)
        )


class Exchange:
    """known: broker order ids that have been in the store for long."""

    def __init__(
        self,
        loop: SimulatedLoop,
        clock: Clock,
        seed: int,
        troubles: Troubles,
        known: Callable[[], set[str]],
        *,
        pushes: bool = True,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._seed = seed
        self.troubles = troubles
        self.known = known
        self.rows: dict[BrokerOrderId, Row] = {}
        self.sends: list[Send] = []
        # When the reads began that told the whole truth.
        self.good_reads: list[float] = []
        self.closed = False
        self.lines: list[SimulatedBroker] = []
        self._rng = Random(seed * 7 + 3)
        self._trades = 0
        self.pushes = pushes
        self.with_fills = self._rng.random() < 0.3

    # --- what reaches it

    def place(self, ticket: OrderTicket, sent: Send, shown_late_s: float) -> BrokerOrderId:
        if self.closed:
            raise BrokerRejected("MARKET_CLOSED", "the market is closed")
        broker_order_id = self._enter(ticket, sent, shown_late_s)
        self._live(self.rows[broker_order_id])
        return broker_order_id

    def foreign(self, ticket: OrderTicket) -> None:
        """Somebody else's order, in the same book and without a tag."""
        row = self.rows[self._enter(ticket, None, 0.0)]
        row.tags = ()

    def _enter(self, ticket: OrderTicket, sent: Send | None, shown_late_s: float) -> BrokerOrderId:
        broker_order_id = BrokerOrderId(f"X{len(self.rows) + 1:05d}")
        row = self.rows[broker_order_id] = Row(
            broker_order_id, ticket, self._loop.time(), self._clock.now(), sent
        )
        row.shown_from += shown_late_s
        return broker_order_id

    def cancel(self, broker_order_id: BrokerOrderId) -> None:
        row = self.rows.get(broker_order_id)
        if row is None or row.status not in _OPEN:
            raise BrokerRejected("NOT_OPEN", "the order is not open")
        self._later(self._rng.choice((0.0, 0.2, 2.0)), self._cancelled, row)

    def _cancelled(self, row: Row) -> None:
        if row.status not in _OPEN:
            return
        row.status = BrokerOrderStatus.CANCELLED
        self._changed(row)
        if self._rng.random() < 0.2:
            # It crossed the cancel on the wire: the trade is told after the end.
            left = row.ticket.quantity - row.filled
            self._later(self._rng.choice((0.5, 5.0, 40.0)), self._trade, row, max(1, left // 2), True)

    # --- what the market does

    def _live(self, row: Row) -> None:
        rng = Random(f"{self._seed}:{row.ticket.tag}")
        quantity, chance = row.ticket.quantity, rng.random()
        at_once = row.ticket.order_type is OrderType.MARKET and rng.random() < 0.5
        if not at_once:
            self._changed(row)
        if chance < 0.03:
            self._later(rng.uniform(0.1, 2.0), self._end, row, BrokerOrderStatus.REJECTED, "RMS: margin")
        elif chance < 0.05:
            self._later(rng.uniform(1.0, 60.0), self._end, row, BrokerOrderStatus.CANCELLED, "by the exchange")
        elif row.ticket.order_type is OrderType.MARKET:
            parts = rng.choice((1, 1, 2)) if quantity > 1 else 1
            soon_s = 0.0 if at_once else rng.choice((0.3, 4.0))
            self._later(soon_s, self._trade, row, quantity // parts, False)
            if parts > 1:
                self._later(rng.uniform(4.0, 15.0), self._trade, row, quantity, False)
        elif row.ticket.validity is Validity.IOC or chance < 0.5:
            self._later(rng.uniform(0.5, 300.0), self._trade, row, quantity, False)
        elif chance < 0.75 and quantity > 1:
            self._later(rng.uniform(0.5, 100.0), self._trade, row, quantity // 2, False)

    def _trade(self, row: Row, quantity: int, crossed: bool) -> None:
        quantity = min(quantity, row.ticket.quantity - row.filled)
        if quantity <= 0 or not (crossed or row.status in _OPEN):
            return
        self._trades += 1
        row.fills.append(
            Fill(
                trade_id=f"T{self._trades:06d}",
                broker_order_id=row.broker_order_id,
                quantity=quantity,
                price=_PRICE + self._trades % 7,
                at=self._clock.now(),
            )
        )
        if _T.TRADES_LATE in self.troubles.now(self._rng):
            row.trades_from = self._loop.time() + self._rng.uniform(2.0, 60.0)
        if row.filled >= row.ticket.quantity and not crossed:
            row.status = BrokerOrderStatus.COMPLETE
        self._changed(row)

    def _end(self, row: Row, status: BrokerOrderStatus, reason: str) -> None:
        if row.status in _OPEN:
            row.status, row.reason = status, reason
            self._changed(row)

    def close(self) -> None:
        """The end of the day: nothing rests any more."""
        self.closed = True
        for row in list(self.rows.values()):
            self._end(row, BrokerOrderStatus.EXPIRED, "end of the day")

    def _later(self, delay_s: float, callback: Callable[..., object], *args: object) -> None:
        self._loop.after(delay_s, callback, *args)

    def _changed(self, row: Row) -> None:
        row.view = None
        if self.pushes:
            for line in self.lines:
                line.push(row)

    # --- what is told

    def view(self, row: Row) -> BrokerOrder:
        if row.view is None:
            filled = row.filled
            value = sum((fill.price * fill.quantity for fill in row.fills), Decimal(0))
            row.view = BrokerOrder(
                broker_order_id=row.broker_order_id,
                tags=row.tags,
                instrument=row.ticket.instrument,
                side=row.ticket.side,
                quantity=row.ticket.quantity,
                filled_quantity=filled,
                average_price=value / filled if filled else Decimal(0),
                status=row.status,
                placed_at=row.placed_at,
                reason=row.reason,
                fills=tuple(row.fills) if self.with_fills and row.trades_from <= self._loop.time() else (),
            )
        return row.view

    def book(self) -> list[Row]:
        now = self._loop.time()
        return [row for row in self.rows.values() if row.shown_from <= now]

    def trades(self, broker_order_id: BrokerOrderId) -> tuple[Fill, ...]:
        row = self.rows.get(broker_order_id)
        if row is None:
            return ()
        late = row.trades_from > self._loop.time()
        return tuple(row.fills[:-1] if late else row.fills)


class SimulatedBroker:
    """Implements the `Broker` port: one process's line to the exchange."""

    name = "simulated"

    def __init__(
        self,
        exchange: Exchange,
        process: Process,
        clock: Clock,
        struck: Callable[[str, Stage], bool],
    ) -> None:
        self._exchange = exchange
        self._process = process
        self._clock = clock
        # Whether a blow falls at this point; it has fallen then.
        self._struck = struck
        self._streams: list[_Stream] = []
        exchange.lines.append(self)

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        process, rng, exchange = self._process, self._process.rng, self._exchange
        loop, began = process.loop, self._clock.monotonic()
        # From the event loop to the thread that sends; there the deadline is looked at last.
        await process.pause(rng.uniform(0.0, 0.002))
        if self._clock.monotonic() - began > timeout_s:
            raise BrokerUnavailable("DEADLINE_PASSED")
        checked = loop.time()
        await self._blow("broker.place", Stage.ASKED)
        troubles = exchange.troubles.now(rng)
        if _T.NO_SESSION in troubles:
            raise BrokerUnavailable("NO_SESSION")
        fate = _place_fate(troubles, rng)
        if fate is _T.REFUSED:
            await process.pause(rng.uniform(0.001, 1.0))
            raise BrokerUnavailable(rng.choice(("REFUSED_CONNECTION", "429")))
        sent = Send(tag=ticket.tag, sender=process.name, at=loop.time(), stalled_s=loop.time() - checked)
        exchange.sends.append(sent)
        late_s = rng.uniform(0.0, SHOWN_LATE_MAX_S - 10.0) if _T.SHOWN_LATE in troubles else 0.0

        def arrive() -> BrokerOrderId:
            if _T.REJECTS in troubles and fate is not _T.HANGS:
                raise BrokerRejected("RMS", "not enough margin")
            return exchange.place(ticket, sent, late_s)

        def arrived() -> None:
            process.hanging -= fate is _T.HANGS
            self._struck("broker.place", Stage.ARRIVED)

        slow = 4.0 if _T.SLOW in troubles else 0.1
        there_s, back_s = rng.uniform(0.01, slow), rng.uniform(0.01, slow)
        if fate is None:
            return await request(process, arrive, there_s=there_s, back_s=back_s, on_arrival=arrived)
        if fate is _T.REQUEST_LOST:
            await process.pause(rng.uniform(0.1, timeout_s))
            raise BrokerOutcomeUnknown("CONNECTION_LOST", call_ended=True)
        if fate is _T.HANGS:
            there_s = rng.choice((5.0, 30.0, 200.0, 1000.0)) if rng.random() < 0.7 else -1.0
        if there_s >= 0:
            process.hanging += fate is _T.HANGS
            _unheard(request(process, arrive, there_s=there_s, back_s=1e9, on_arrival=arrived))
        await process.pause(timeout_s if fate is _T.HANGS else rng.uniform(there_s, timeout_s))
        raise BrokerOutcomeUnknown("TIMEOUT", call_ended=fate is not _T.HANGS)

    async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
        process, rng, exchange = self._process, self._process.rng, self._exchange
        await self._blow("broker.cancel", Stage.ASKED)
        troubles = exchange.troubles.now(rng)
        if troubles & {_T.NO_SESSION, _T.OUTAGE} or (_T.CANCEL_FAILS in troubles and rng.random() < 0.4):
            await process.pause(rng.uniform(0.001, 1.0))
            raise BrokerUnavailable("REFUSED_CONNECTION")

        def arrive() -> None:
            if _T.CANCEL_FAILS in troubles and rng.random() < 0.5:
                raise BrokerRejected("BUSY", "the order is being processed")
            exchange.cancel(broker_order_id)

        def arrived() -> None:
            self._struck("broker.cancel", Stage.ARRIVED)

        answer = request(
            process, arrive, there_s=rng.uniform(0.01, 0.1), back_s=rng.uniform(0.01, 0.1), on_arrival=arrived
        )
        if _T.ANSWER_LOST in troubles:
            _unheard(answer)
            await process.pause(timeout_s)
            raise BrokerOutcomeUnknown("TIMEOUT", call_ended=True)
        await answer

    async def modify(
        self, broker_order_id: BrokerOrderId, *, quantity: int, limit_price: Decimal | None, timeout_s: float
    ) -> None:
        raise BrokerRejected("NOT_OFFERED", "nothing is changed in a simulation")

    async def order_book(self) -> BookRead:
        process, rng, exchange = self._process, self._process.rng, self._exchange
        began_at, began = self._clock.now(), process.loop.time()
        await self._blow("broker.order_book", Stage.ASKED)
        troubles = exchange.troubles.now(rng)
        if troubles & {_T.OUTAGE, _T.NO_SESSION, _T.READ_FAILS}:
            await process.pause(rng.uniform(0.001, 3.0))
            raise BrokerUnavailable("UNREACHABLE")

        def read() -> BookRead:
            rows, complete = exchange.book(), True
            if _T.READ_CUT in troubles:
                rows, complete = rows[: rng.randint(0, len(rows))], False
            elif _T.READ_SHORT in troubles:
                rows = _shortened(rows, exchange.known(), rng)
            views = tuple([exchange.view(row) for row in rows])
            covers_since = trading_day_start(began_at)
            if not troubles & _UNTRUE_READS:
                exchange.good_reads.append(began)
            if _T.OTHER_DAY in troubles:
                views = (_of_yesterday(covers_since),)
            return BookRead(orders=views, began_at=began_at, covers_since=covers_since, complete=complete)

        def arrived() -> None:
            self._struck("broker.order_book", Stage.ARRIVED)

        slow = 3.0 if _T.SLOW in troubles else 0.1
        return await request(
            process, read, there_s=rng.uniform(0.01, slow), back_s=rng.uniform(0.01, slow), on_arrival=arrived
        )

    async def trades(self, broker_order_id: BrokerOrderId) -> tuple[Fill, ...]:
        process, rng, exchange = self._process, self._process.rng, self._exchange
        troubles = exchange.troubles.now(rng)
        if troubles & {_T.OUTAGE, _T.NO_SESSION, _T.READ_FAILS}:
            await process.pause(rng.uniform(0.001, 1.0))
            raise BrokerUnavailable("UNREACHABLE")
        return await request(
            process,
            lambda: exchange.trades(broker_order_id),
            there_s=rng.uniform(0.01, 0.05),
            back_s=rng.uniform(0.01, 0.05),
        )

    def updates(self) -> AsyncIterator[BrokerOrder]:
        stream = _Stream(self._process)
        self._streams = [each for each in self._streams if not each.ended]
        self._streams.append(stream)
        return stream

    async def is_open(self) -> bool:
        """Whether there is a session."""
        return _T.NO_SESSION not in self._exchange.troubles.now(self._process.rng)

    async def close(self) -> None:
        for stream in self._streams:
            stream.end(None)

    def push(self, row: Row) -> None:
        """Tell whoever listens on this line of a change."""
        if not self._streams or not self._process.alive:
            return
        rng, loop = self._exchange._rng, self._process.loop
        troubles = self._exchange.troubles.now(rng)
        if troubles & {_T.OUTAGE, _T.NO_SESSION}:
            for stream in self._streams:
                stream.end(BrokerUnavailable("UPDATES_BROKE_OFF"))
            self._streams = []
            return
        if _T.PUSHES_LOST in troubles:
            return
        view, mixed = self._exchange.view(row), _T.PUSHES_MIXED in troubles
        # What the book does not show yet is not told either.
        hidden_s = max(0.0, row.shown_from - loop.time())
        for stream in self._streams:
            loop.after(hidden_s + rng.uniform(0.02, 15.0 if mixed else 0.2), stream.put, view)
            if mixed:
                loop.after(hidden_s + rng.uniform(0.02, 15.0), stream.put, view)

    async def _blow(self, what: str, stage: Stage) -> None:
        if self._struck(what, stage):
            # A killed process waits for good here; a frozen one until it is woken.
            await self._process.pause(0.0)


class _Stream:
    """One subscription to the pushed updates."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._waiting: deque[BrokerOrder] = deque()
        self._error: Exception | None = None
        self.ended = False
        self._called = process.loop.create_future()

    def put(self, view: BrokerOrder) -> None:
        if not self.ended:
            self._waiting.append(view)
            self._call()

    def end(self, error: Exception | None) -> None:
        self.ended, self._error = True, error
        self._call()

    def _call(self) -> None:
        if not self._called.done():
            self._called.set_result(None)

    def __aiter__(self) -> "_Stream":
        return self

    async def __anext__(self) -> BrokerOrder:
        while not self._waiting:
            if self._process.over:
                raise Gone
            if self.ended:
                if self._error is not None:
                    raise self._error
                raise StopAsyncIteration
            self._called = self._process.loop.create_future()
            await self._called
        return self._waiting.popleft()


def _place_fate(troubles: frozenset[BrokerTrouble], rng: Random) -> BrokerTrouble | None:
    if _T.OUTAGE in troubles:
        return rng.choice((_T.REFUSED, _T.REFUSED, _T.REFUSED, _T.REQUEST_LOST, _T.ANSWER_LOST))
    for fate in (_T.REFUSED, _T.HANGS, _T.ANSWER_LOST, _T.REQUEST_LOST):
        if fate in troubles:
            return fate
    return None


def _shortened(rows: list[Row], known: set[str], rng: Random) -> list[Row]:
    """A book that was cut short without saying so. It lacks something that we know: else nobody could tell."""
    first = [place for place, row in enumerate(rows) if row.broker_order_id in known]
    return rows[: rng.choice(first)] if first else rows


def _of_yesterday(day_start: datetime) -> BrokerOrder:
    return BrokerOrder(
        broker_order_id=BrokerOrderId("Y00001"),
        tags=(),
        instrument=Instrument.parse("NSE:RELIANCE"),
        side=Side.BUY,
        quantity=1,
        filled_quantity=0,
        average_price=Decimal(0),
        status=BrokerOrderStatus.CANCELLED,
        placed_at=day_start - timedelta(hours=12),
    )


def _unheard(answer: object) -> None:
    """Nobody waits for the answer of that request any more."""
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # type: ignore[attr-defined]
