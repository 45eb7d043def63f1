"""The virtual exchange: the Broker port on the matching engine and a price feed.

An order travels to the exchange and its answer back, and both take time. MARKET orders fill on arrival;
what rests meets ticks and candles that it is told of (`on_ticks`, `on_candles`), and is looked at by `run`
where there are none. Unlike real brokers, it refuses a second order with a known tag.

Orders are for a day: at midnight in India what still works has expired. It is always open, and never before.

Reason codes, in the order in which they are looked for: TICK_SIZE, LOT_SIZE, FREEZE_QUANTITY,
DUPLICATE_TAG, INVALID_ORDER (all refused at once); NO_MARKET_DATA, and with an account INSUFFICIENT_FUNDS,
INSUFFICIENT_HOLDINGS, CHARGES_UNKNOWN or REFUSED (a REJECTED row in the book; the same refuse a modification
at once). For cancel and modify: ORDER_NOT_FOUND, ORDER_NOT_OPEN. An answer that does not come: TIMEOUT. After
`close`: CLOSED. Where prices cannot be read at all, nothing is taken: NO_QUOTES.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from decimal import Decimal
from random import Random

from pulse_adapters.updates import Subscriptions
from pulse_adapters.virtual.faults import Call, Truncate
from pulse_adapters.virtual.line import Line
from pulse_adapters.virtual.missed_minutes import MissedMinutes
from pulse_adapters.virtual.money import Money
from pulse_adapters.virtual.order_book import WORKING, VirtualOrderBook
from pulse_domain.account import Account
from pulse_domain.candles import ClosedCandle
from pulse_domain.errors import BrokerRejected, BrokerUnavailable, MarketDataUnavailable, MatchingError
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import (
    Accepted,
    Candle,
    MatchingEngine,
    Result,
    Tick,
    Triggered,
    VenueOrder,
)
from pulse_domain.matching.values import check_order, check_tick
from pulse_domain.orders.events import Fill
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import PRICE_MAX
from pulse_domain.ports.broker import BookRead, BrokerOrder, BrokerOrderStatus, OrderTicket
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_data import MarketData


class VirtualExchange:
    """A Broker that is its own exchange.

    rng: the source of latencies.
    latency_ms: the shortest and the longest round trip.
    poll_interval_s: how often `run` looks at the prices of resting orders.
    fill_on_touch: whether a trade at its limit fills a resting order.
    updates_max: how many updates wait for a slow subscriber before it loses the oldest.
    account: whose money and shares orders need, opened; without one nothing is counted.
    """

    name = "virtual"

    def __init__(
        self,
        market: MarketData,
        clock: Clock,
        rng: Random,
        *,
        latency_ms: tuple[float, float] = (20.0, 60.0),
        poll_interval_s: float = 0.25,
        fill_on_touch: bool = False,
        updates_max: int = 10_000,
        account: Account | None = None,
    ) -> None:
        self._line = Line(clock, rng, latency_ms)
        self.faults = self._line.faults
        self._market = market
        self._clock = clock
        self._poll_interval_s = poll_interval_s
        self._engine = MatchingEngine(fill_on_touch=fill_on_touch)
        self._updates = Subscriptions(updates_max)
        self._book = VirtualOrderBook(self._publish, clock.now())
        self._money = Money(account)
        self._minutes = MissedMinutes()
        # What ticks have come of since the last poll.
        self._ticked: set[Instrument] = set()
        self._cancels: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Match resting orders against the market until cancelled; the host process runs this as a task."""
        while True:
            await self._clock.sleep(self._poll_interval_s)
            await self.match_resting()

    async def match_resting(self) -> None:
        """Look at the market once for every instrument with working orders of which no tick came meanwhile."""
        self._turn_day()
        ticked, self._ticked = self._ticked, set()
        for instrument in self._engine.instruments():
            if instrument in ticked:
                continue
            try:
                tick = await self._look(instrument)
            except BrokerUnavailable:
                return  # nothing is known, so nothing fills
            self._turn_day()
            # A tick that has come meanwhile is newer.
            if tick is not None and instrument not in self._ticked:
                self._apply(self._engine.process_tick(tick))

    def on_ticks(self, ticks: Sequence[Tick]) -> None:
        """Let working orders meet ticks as they come; never waits and never raises."""
        self._turn_day()
        for tick in ticks:
            self._ticked.add(tick.instrument)
            self._minutes.saw(tick)
            if self._engine.reach(tick.instrument) and self._money.can_count(tick.price, tick.bid, tick.ask):
                with suppress(MatchingError):  # a tick that no order may meet
                    self._apply(self._engine.process_tick(tick))

    def on_candles(self, closed: Sequence[ClosedCandle]) -> None:
        """Let working orders meet what ticks did not show, by the rule of `missed_minutes`; as `on_ticks`."""
        self._turn_day()
        for each in closed:
            candle = each.candle
            if each.minutes == 1 and candle is not None and self._minutes.is_left(candle):
                self._meet_candle(candle)

    def _meet_candle(self, candle: Candle) -> None:
        orders = self._engine.working_orders()
        there = [order.order_id for order in orders if order.instrument == candle.instrument]
        if not there or not self._money.can_count(candle.open):
            return
        with suppress(MatchingError), self._engine.set_aside(self._minutes.too_late_for(candle, there)):
            self._apply(self._engine.process_candle(candle), candle)

    def _turn_day(self) -> None:
        """Where another trading day has begun, end what still works; every step asks first."""
        now = self._clock.now()
        if now < self._book.day_ends_at:
            return
        for order in self._engine.working_orders():
            self._money.settle(self._engine.cancel(order.order_id), now)
            self._minutes.ended(order.order_id)
            self._book.change(BrokerOrderId(order.order_id), BrokerOrderStatus.EXPIRED)
        self._book.begin_day(now)

    def _apply(self, results: Sequence[Result], candle: Candle | None = None) -> None:
        """Bring money and book to what the engine says; candle: what made it say so, where it was one."""
        now = self._clock.now()
        self._money.settle(results, now)
        for result in results:
            match result:
                case Accepted():
                    self._minutes.changed(result.order_id, now)
                case Triggered() if candle is not None:
                    self._minutes.changed_in(result.order_id, candle)
                case Triggered():
                    self._minutes.changed(result.order_id, now)
                case _:
                    pass
            if not self._engine.open_quantity(result.order_id):
                self._minutes.ended(result.order_id)
        self._book.apply(results, now)

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        async with self._line.round_trip(Call.PLACE, timeout_s):
            _check_prices(ticket.terms, ticket.limit_price, ticket.trigger_price)
            _check_quantity(ticket.terms, ticket.quantity)
            tick = await self._look_within(ticket.instrument, timeout_s / 2)
            # Nothing below waits: two orders with one tag cannot pass each other.
            return self._accept(ticket, tick)

    def _accept(self, ticket: OrderTicket, tick: Tick | None) -> BrokerOrderId:
        self._turn_day()
        if self._book.knows_tag(ticket.tag):
            raise BrokerRejected("DUPLICATE_TAG", f"there is an order with the tag {ticket.tag}")
        now = self._clock.now()
        order_id = self._book.new_id(now)
        order = VenueOrder(
            order_id=order_id,
            instrument=ticket.instrument,
            side=ticket.side,
            quantity=ticket.quantity,
            order_type=ticket.order_type,
            validity=ticket.validity,
            limit_price=ticket.limit_price,
            trigger_price=ticket.trigger_price,
        )
        try:
            check_order(order)
        except MatchingError as e:
            raise BrokerRejected("INVALID_ORDER", e.message) from e
        self._book.add(order_id, ticket, now, hidden_reads=self.faults.hidden_reads)
        self.faults.hidden_reads = 0
        try:
            if tick is None:
                raise BrokerRejected("NO_MARKET_DATA", f"there is no price for {ticket.instrument}")
            self._money.block(order_id, ticket, tick.price, now)
        except BrokerRejected as refused:
            self._book.change(
                order_id, BrokerOrderStatus.REJECTED, reason_code=refused.reason_code, reason=refused.message
            )
        else:
            self._apply(self._engine.submit(order, tick))
        return order_id

    async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
        async with self._line.round_trip(Call.CANCEL, timeout_s):
            row = self._working_row(broker_order_id)
            if row.status is not BrokerOrderStatus.PENDING:
                self._book.change(broker_order_id, BrokerOrderStatus.PENDING)
                task = asyncio.create_task(self._carry_out_cancel(broker_order_id))
                self._cancels.add(task)
                task.add_done_callback(self._cancels.discard)

    async def _carry_out_cancel(self, order_id: BrokerOrderId) -> None:
        # The wish reaches the matching later than the broker; the order may fill in between.
        await self._clock.sleep(self._line.latency_s())
        self._turn_day()
        self._apply(self._engine.cancel(order_id))

    async def modify(
        self, broker_order_id: BrokerOrderId, *, quantity: int, limit_price: Decimal | None, timeout_s: float
    ) -> None:
        """A `limit_price` of None leaves the price as it is."""
        async with self._line.round_trip(Call.MODIFY, timeout_s):
            row = self._working_row(broker_order_id)
            terms = self._book.ticket(broker_order_id).terms
            _check_prices(terms, limit_price)
            _check_quantity(terms, quantity)
            tick = await self._look_within(row.instrument, timeout_s / 2)
            self._turn_day()
            if not self._engine.open_quantity(broker_order_id):
                raise BrokerRejected("ORDER_NOT_OPEN", "the order has just ended")
            try:
                with self._money.changed(broker_order_id, quantity, limit_price):
                    results = self._engine.modify(
                        broker_order_id, quantity=quantity, limit_price=limit_price, quote=tick
                    )
            except MatchingError as e:
                raise BrokerRejected("INVALID_ORDER", e.message) from e
            self._minutes.changed(broker_order_id, self._clock.now())
            self._book.resize(broker_order_id, quantity)
            self._apply(results)

    async def order_book(self) -> BookRead:
        began_at = self._clock.now()
        async with self._line.round_trip(Call.ORDER_BOOK) as fault:
            self._turn_day()
            orders, since = self._book.read(self._clock.now()), self._book.covers_since
            if isinstance(fault, Truncate):
                return BookRead(orders=orders[:-1], began_at=began_at, covers_since=since, complete=False)
            return BookRead(orders=orders, began_at=began_at, covers_since=since, complete=True)

    async def trades(self, broker_order_id: BrokerOrderId) -> tuple[Fill, ...]:
        async with self._line.round_trip(Call.TRADES):
            row = self._book.row(broker_order_id)
            return row.fills if row is not None else ()

    def updates(self) -> AsyncIterator[BrokerOrder]:
        return self._updates.add()

    async def close(self) -> None:
        self._line.close()
        self._updates.close()
        for task in tuple(self._cancels):
            task.cancel()
        await asyncio.gather(*self._cancels, return_exceptions=True)

    def _working_row(self, order_id: BrokerOrderId) -> BrokerOrder:
        self._turn_day()
        row = self._book.row(order_id)
        if row is None:
            raise BrokerRejected("ORDER_NOT_FOUND", f"there is no order {order_id}")
        if row.status not in WORKING:
            raise BrokerRejected("ORDER_NOT_OPEN", f"order {order_id} is {row.status}")
        return row

    async def _look_within(self, instrument: Instrument, seconds: float) -> Tick | None:
        """As `_look`, for a call that has to be answered in time."""
        try:
            async with asyncio.timeout(seconds):
                return await self._look(instrument)
        except TimeoutError as late:
            raise BrokerUnavailable("NO_QUOTES", "the quotes were not read in time") from late

    async def _look(self, instrument: Instrument) -> Tick | None:
        """The market as the engine sees it; None where there is no usable price.

        Raises:
            BrokerUnavailable: whoever has the prices gives no answer.
        """
        try:
            quote = await self._market.quote(instrument)
            tick = Tick(
                instrument=instrument,
                at=quote.at,
                price=quote.last_price,
                bid=quote.bid,
                ask=quote.ask,
                volume=quote.volume,
            )
            check_tick(tick)
        except (MarketDataUnavailable, MatchingError):
            return None
        return tick if self._money.can_count(tick.price, tick.bid, tick.ask) else None

    def _publish(self, row: BrokerOrder) -> None:
        for _ in range(self.faults.copies_of_update()):
            self._updates.publish(row)


def _check_prices(terms: InstrumentTerms, *prices: Decimal | None) -> None:
    for price in prices:
        # What is no price at all is left to the engine to name.
        if price is not None and price.is_finite() and price < PRICE_MAX and price % terms.tick_size:
            raise BrokerRejected("TICK_SIZE", f"{price} is not a multiple of the tick size {terms.tick_size}")


def _check_quantity(terms: InstrumentTerms, quantity: int) -> None:
    if quantity % terms.lot_size:
        raise BrokerRejected("LOT_SIZE", f"{quantity} is not a multiple of the lot size {terms.lot_size}")
    if terms.freeze_quantity is not None and quantity > terms.freeze_quantity:
        raise BrokerRejected(
            "FREEZE_QUANTITY", f"{quantity} is above the freeze quantity {terms.freeze_quantity}"
        )
