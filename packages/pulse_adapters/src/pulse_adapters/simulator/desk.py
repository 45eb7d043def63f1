"""The venue at work: it gets time, prices and a journal, and orders from a face.

Whatever changes the venue becomes an entry: applied first, as that may refuse it, then appended to the
journal. A face awaits `durable` before any answer leaves, so nobody ever hears of what a crash would undo;
updates too are pushed only from then on.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

import structlog

from pulse_adapters.simulator.calls import CallLog
from pulse_adapters.simulator.catalog import Catalog, Listing
from pulse_adapters.simulator.clock import VenueClock
from pulse_adapters.simulator.entries import (
    Arrived,
    CancelAsked,
    ChangeAsked,
    Codec,
    Converted,
    Entry,
    Expired,
    Opened,
    Placed,
    Rolled,
    SessionChanged,
    Ticked,
)
from pulse_adapters.simulator.faults import LATE_S, Call, FaultKind, Faults, Strike
from pulse_adapters.simulator.journal import CLOCK, VENUE, Journal
from pulse_adapters.simulator.pace import Pace
from pulse_adapters.simulator.prices import Prices
from pulse_adapters.simulator.values import Ask, Doom, Record, RefusalCode, Refused, Terms, Update
from pulse_adapters.simulator.venue import (
    DAY_BEGINS,
    Numbering,
    Venue,
    check_terms,
    snowflake,
    trading_day,
)
from pulse_domain.account import Holding
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Product, Side
from pulse_domain.units import INDIA

CAPITAL = Decimal(10_000_000)
_LOOK_INTERVAL_S = 0.25
_WAIT_MAX_S = 1.0

log = structlog.get_logger(__name__)


class DeskError(Exception):
    """The venue failed half-way; what the journal holds is the truth, and only a new start goes back to it."""


Listener = Callable[[Update], None]


class Desk:
    """What faces talk to. `start` brings back what the journal holds; `run` keeps things moving."""

    def __init__(
        self,
        journal: Journal,
        catalog: Catalog,
        prices: Prices,
        clock: VenueClock,
        rng: Random,
        pace: Pace,
        faults: Faults,
        first_id: Numbering = snowflake,
    ) -> None:
        self.catalog = catalog
        self.prices = prices
        self.clock = clock
        self.pace = pace
        self.faults = faults
        self.venue = Venue(catalog.contracts, first_id)
        self.calls = CallLog(clock.now)
        self._journal = journal
        self._rng = rng
        self._listeners: list[Listener] = []
        self._outbox: asyncio.Queue[tuple[int, list[Update]]] = asyncio.Queue()
        self._delayed: Update | None = None
        self._wake = asyncio.Event()
        self._failure: DeskError | None = None

    async def start(
        self,
        *,
        capital: Decimal = CAPITAL,
        holdings: tuple[Holding, ...] = (),
        participation: Decimal | None = None,
    ) -> list[tuple[str, bytes]]:
        """Rebuild the venue, or open a new one; gives the entries of other streams, which are the face's.

        capital, holdings, participation: of a new venue; an old one keeps what it has.
        """
        others, count = [], 0
        for stream, body in self._journal.read():
            if stream == CLOCK:
                self.clock.advance(float(body))
            if stream != VENUE:
                others.append((stream, body))
                continue
            count += 1
            with suppress(Refused):  # a refused conversion is in the journal too
                self.venue.apply(Codec.decode(body))
        if count:
            log.info("the venue is back", entries=count, orders=len(self.venue.records))
        else:
            self._commit(
                Opened(at=self.clock.now(), capital=capital, holdings=holdings, participation=participation)
            )
        await self._roll_if_due()
        await self.durable()
        return others

    async def run(self) -> None:
        """Carry orders to the exchange, match what rests, begin new days; until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._carry(), name="carry")
            tasks.create_task(self._look(), name="look")
            tasks.create_task(self._publish(), name="publish")

    def subscribe(self, listener: Listener) -> None:
        """Hear of every change once it is on disk, but for what faults do to updates."""
        self._listeners.append(listener)

    async def durable(self) -> None:
        """Wait until all that has happened is on disk.

        Raises:
            JournalError, DeskError: it will never be; the process has to start again.
        """
        if self._failure is not None:
            raise self._failure
        await self._journal.durable()

    def append(self, stream: str, body: bytes) -> None:
        """Add a face's own entry."""
        self._journal.append(stream, body)

    # --- what a face asks for

    async def place(
        self, ask: Ask, *, hidden_s: float = 0.0, stalled_s: float = 0.0, doom: Doom | None = None
    ) -> Record:
        """Accept an order; it is not durable yet.

        hidden_s: how long the order book does not show it. stalled_s: how long it stays as it is at first.

        Raises:
            Refused: a definite no.
        """
        listing = self.listing(ask.instrument)
        if not self.venue.is_open and ask.variety != "amo":
            raise Refused(RefusalCode.MARKET_CLOSED, "Markets are closed right now.")
        if self.venue.is_open and ask.variety == "amo":
            raise Refused(RefusalCode.MARKET_CLOSED, "After market orders are taken outside market hours only.")
        self._check(ask.terms, listing, ask.side)
        worth = ask.terms.limit_price
        if worth is None:
            worth = ask.terms.trigger_price or await self.prices.last_price(ask.instrument)
            if not worth:
                raise Refused(RefusalCode.NO_PRICE, f"There is no price for {ask.instrument}.")
        first, second, third = self.pace.steps_ms(self._rng)
        updates = self._commit(
            Placed(
                at=self.clock.now(),
                ask=ask,
                worth=worth,
                steps_ms=(first + round(stalled_s * 1000), second, third),
                hidden_ms=round(hidden_s * 1000),
                doom=doom,
            )
        )
        return updates[0].record

    async def place_struck(self, ask: Ask, strike: Strike, doom: Doom | None = None) -> Record:
        """Accept an order, with what faults do to it besides its answer.

        doom: what is to come of it without a fault.

        Raises:
            Refused: a definite no.
        """
        hidden_s, stalled_s = (
            0.0 if rule is None else self.pace.scaled_s(self.faults.seconds(rule, LATE_S))
            for rule in (strike.besides_of(FaultKind.HIDE), strike.besides_of(FaultKind.STALL))
        )
        return await self.place(ask, hidden_s=hidden_s, stalled_s=stalled_s, doom=strike.doom or doom)

    async def change(self, order_id: str, terms: Terms, *, doom: Doom | None = None) -> Record:
        """Send a modification on its way.

        Raises:
            Refused: a definite no.
        """
        record = self.find(order_id)
        if record is None:
            raise Refused(RefusalCode.NOT_FOUND, f"Order {order_id} does not exist.")
        self._check(terms, self.listing(record.ask.instrument), record.ask.side)
        self._commit(
            ChangeAsked(
                at=self.clock.now(),
                order_id=order_id,
                terms=terms,
                steps_ms=self.pace.steps_ms(self._rng),
                doom=doom,
            )
        )
        return record

    async def cancel(self, order_id: str, *, doom: Doom | None = None) -> Record:
        """Send a cancellation on its way.

        Raises:
            Refused: a definite no.
        """
        record = self.find(order_id)
        if record is None:
            raise Refused(RefusalCode.NOT_FOUND, f"Order {order_id} does not exist.")
        steps = self.pace.steps_ms(self._rng)
        self._commit(CancelAsked(at=self.clock.now(), order_id=order_id, steps_ms=steps, doom=doom))
        return record

    async def convert(
        self,
        instrument: Instrument,
        side: Side,
        quantity: int,
        old: tuple[str, Product],
        new: tuple[str, Product],
    ) -> None:
        """Move a position to another product.

        Raises:
            Refused: there is no such position, or not the money.
        """
        entry = Converted(
            at=self.clock.now(), instrument=instrument, side=side, quantity=quantity, old=old, new=new
        )
        try:
            self._apply(entry)
        finally:
            if self._failure is None:
                self._journal.append(VENUE, Codec.encode(entry))

    def change_session(self, *, is_open: bool) -> None:
        """Open or close the market; opening sends what was placed after hours."""
        self._commit(SessionChanged(at=self.clock.now(), is_open=is_open))

    async def advance(self, seconds: float) -> None:
        """Move the clock on and do what is due by then.

        Raises:
            ValueError: `seconds` is negative.
        """
        self._move_clock(seconds)
        await self._roll_if_due()
        await self.deliver()
        self._wake.set()

    async def roll(self) -> None:
        """Begin the next trading day now, if need be by moving the clock."""
        now = self.clock.now().astimezone(INDIA)
        midnight = datetime.combine(trading_day(now) + timedelta(days=1), datetime.min.time(), INDIA)
        self._move_clock((midnight + DAY_BEGINS - now).total_seconds())
        await self._roll_if_due()

    def _move_clock(self, seconds: float) -> None:
        self.clock.advance(seconds)
        # A later process must not live before its own past.
        self._journal.append(CLOCK, repr(seconds).encode())

    def find(self, order_id: str) -> Record | None:
        """An order that is visible by now."""
        record = self.venue.records.get(order_id)
        return record if record is not None and record.visible_at <= self.clock.now() else None

    def orders(self) -> list[Record]:
        """The day's orders that are visible by now, by acceptance."""
        now = self.clock.now()
        return [record for record in self.venue.records.values() if record.visible_at <= now]

    def listing(self, instrument: Instrument) -> Listing:
        """Raises Refused for what cannot be traded."""
        listing = self.catalog.find(instrument)
        if listing is None or listing.is_index:
            raise Refused(
                RefusalCode.UNKNOWN_INSTRUMENT,
                "The instrument you are placing an order for has either expired or does not exist.",
            )
        return listing

    def _check(self, terms: Terms, listing: Listing, side: Side) -> None:
        check_terms(terms, listing.instrument, side)
        if terms.quantity % listing.lot_size:
            raise Refused(
                RefusalCode.LOT_SIZE, f"Quantity should be multiples of the lot size {listing.lot_size}."
            )
        freeze = listing.freeze_quantity
        if freeze is not None and terms.quantity > freeze:
            raise Refused(
                RefusalCode.FREEZE_QUANTITY,
                f"Quantity {terms.quantity} is higher than the maximum allowed by the exchange: {freeze}.",
            )
        for price in (terms.limit_price, terms.trigger_price):
            if price is not None and price % listing.tick_size:
                raise Refused(
                    RefusalCode.TICK_SIZE, f"Tick size for this script is {listing.tick_size}: price {price}."
                )

    # --- what moves by itself

    async def deliver(self) -> None:
        """Carry to the exchange what is due by now."""
        for at, record in self.venue.take_due(self.clock.now()):
            tick = await self.prices.tick(record.ask.instrument)
            now = max(at, self.clock.now())
            if record.due == at:
                self._commit(Arrived(at=now, order_id=record.order_id, tick=tick))
            elif record.expires_at == at and not record.status.is_final:
                self._commit(Expired(at=now, order_id=record.order_id))

    async def match_resting(self) -> None:
        """Look at the market once for every instrument with working orders."""
        for instrument in self.venue.working_instruments():
            tick = await self.prices.tick(instrument)
            if tick is None:
                continue
            entry = Ticked(at=self.clock.now(), tick=tick)
            updates = self._apply(entry)
            if updates or self.venue.needs_every_tick:
                self._note(entry, updates)

    async def _roll_if_due(self) -> None:
        now = self.clock.now()
        if trading_day(now) <= self.venue.day:
            return
        marks = []
        for (instrument, _), tally in self.venue.money.tallies.items():
            if tally.product is Product.MIS and tally.quantity:
                marks.append((instrument, await self.prices.last_price(instrument)))
        self._commit(Rolled(at=now, marks=tuple((name, price) for name, price in marks if price)))
        log.info("a trading day begins", day=self.venue.day.isoformat())

    async def _carry(self) -> None:
        while True:
            self._wake.clear()
            if self._failure is not None:
                raise self._failure
            await self._roll_if_due()
            await self.deliver()
            due = self.venue.next_due()
            wait_s = _WAIT_MAX_S if due is None else (due - self.clock.now()).total_seconds()
            if wait_s > 0:
                await self._sleep_or_wake(min(wait_s, _WAIT_MAX_S))

    async def _sleep_or_wake(self, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self.clock.sleep(seconds))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    async def _look(self) -> None:
        while True:
            await self.clock.sleep(self.pace.scaled_s(_LOOK_INTERVAL_S))
            await self.match_resting()

    async def _publish(self) -> None:
        while True:
            seq, updates = await self._outbox.get()
            await self._journal.durable(seq)
            for update in updates:
                self._push(update)

    def _push(self, update: Update) -> None:
        kind = self.faults.strike(Call.UPDATE, update.record.ask.instrument.symbol).kind
        if kind is FaultKind.LOSE_UPDATE:
            return
        if kind is FaultKind.DELAY_UPDATE and self._delayed is None:
            self._delayed = update
            return
        self._tell(update)
        if kind is FaultKind.DOUBLE_UPDATE:
            self._tell(update)
        if self._delayed is not None:
            late, self._delayed = self._delayed, None
            self._tell(late)

    def _tell(self, update: Update) -> None:
        for listener in self._listeners:
            listener(update)

    def _commit(self, entry: Entry) -> list[Update]:
        updates = self._apply(entry)
        self._note(entry, updates)
        return updates

    def _apply(self, entry: Entry) -> list[Update]:
        if self._failure is not None:
            raise self._failure
        try:
            return self.venue.apply(entry)
        except Refused:
            raise
        except Exception as error:
            self._failure = DeskError(f"the venue failed: {type(error).__name__}: {error}")
            self._wake.set()
            raise self._failure from error

    def _note(self, entry: Entry, updates: list[Update]) -> None:
        seq = self._journal.append(VENUE, Codec.encode(entry))
        if updates:
            self._outbox.put_nowait((seq, updates))
        self._wake.set()
