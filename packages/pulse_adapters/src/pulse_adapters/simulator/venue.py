"""The broker and the exchange behind it, as a state machine over journal entries.

`apply` is all that changes it, and it has no clock, no chance and no prices of its own: what an entry does
not say, does not happen. An order lives like this:

- accepted: money or shares are blocked at once, or it is refused and never in the book. Its way to the
  exchange is in its history from then on, each state with the instant at which it comes about.
- at the exchange (`Arrived`) it gets its number there and meets the market; or its doom.
- a modification or cancel travels likewise; what fills meanwhile has filled.
- it ends complete, cancelled or rejected; with the day at the latest (`Rolled`), but for what waits for the
  next session.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from heapq import heappop, heappush
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from pulse_adapters.simulator.entries import (
    Arrived,
    CancelAsked,
    ChangeAsked,
    Converted,
    Entry,
    Expired,
    Opened,
    Placed,
    Rolled,
    SessionChanged,
    Ticked,
)
from pulse_adapters.simulator.money import Money
from pulse_adapters.simulator.values import (
    Ask,
    Errand,
    Record,
    RefusalCode,
    Refused,
    Snap,
    Stage,
    Status,
    Terms,
    Trade,
    Update,
)
from pulse_domain.account import Contract
from pulse_domain.errors import MatchingError
from pulse_domain.instruments import Exchange, Instrument
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
from pulse_domain.matching.values import check_order
from pulse_domain.orders.model import OrderType, Side
from pulse_domain.units import INDIA

CHANGES_MAX = 25
# The day begins when brokers end all sessions and clear the book.
DAY_BEGINS = timedelta(hours=6)

_SNOWFLAKE_EPOCH_MS = 1_288_834_974_657
_EXCHANGE_PREFIXES = {
    Exchange.NSE: 13, Exchange.BSE: 17, Exchange.NFO: 15, Exchange.BFO: 18, Exchange.MCX: 31, Exchange.CDS: 14
}  # fmt: skip


def trading_day(at: datetime) -> date:
    return (at.astimezone(INDIA) - DAY_BEGINS).date()


# The first order id of an instant, from which ids grow; later instants have higher ones.
Numbering = Callable[[datetime], int]


def snowflake(at: datetime) -> int:
    """Milliseconds, each with room for many orders."""
    return int(at.timestamp() * 1000) - _SNOWFLAKE_EPOCH_MS << 22


class Venue:
    """Orders of the day, money, and the matching engine.

    contracts: multipliers of instruments that are traded in lots.
    first_id: how orders are numbered.

    `records` holds the day's orders by their acceptance; `is_open` says whether the session is.
    """

    def __init__(self, contracts: Mapping[Instrument, Contract], first_id: Numbering = snowflake) -> None:
        self.money = Money(contracts)
        self.first_id = first_id
        self.records: dict[str, Record] = {}
        self.is_open = True
        self.day = date.min
        self.needs_every_tick = False
        self._engine = MatchingEngine()
        self._due: list[tuple[datetime, str]] = []
        self._last_id = 0
        self._last_number = 0
        self._updates: list[Update] = []

    def apply(self, entry: Entry) -> list[Update]:
        """Let an entry happen and say which orders it changed.

        Raises:
            Refused: it cannot happen; nothing has changed.
        """
        self._updates = []
        match entry:
            case Arrived():
                self._arrive(self.records[entry.order_id], entry.tick, entry.at)
            case Placed():
                self._place(entry)
            case Ticked():
                self._take(self._engine.process_tick(entry.tick), entry.at)
            case ChangeAsked():
                self._ask_change(entry)
            case CancelAsked():
                self._ask_cancel(entry)
            case Expired():
                self._expire(self.records[entry.order_id], entry.at)
            case SessionChanged():
                self._change_session(entry)
            case Rolled():
                self._roll(entry)
            case Converted():
                e = entry
                self.money.convert(e.instrument, e.side, e.quantity, e.old, e.new, e.at)
            case Opened():
                self._open(entry)
        return self._updates

    def record(self, order_id: str, now: datetime) -> Record:
        """An order that can be changed.

        Raises:
            Refused: it is unknown, under way, or has ended.
        """
        record = self.records.get(order_id)
        if record is None:
            raise Refused(RefusalCode.NOT_FOUND, f"Order {order_id} does not exist.")
        if record.errand is not None or not record.view(now).status.takes_changes:
            raise Refused(RefusalCode.NOT_OPEN, "Order cannot be changed as it is being processed. Try later.")
        return record

    def working_instruments(self) -> tuple[Instrument, ...]:
        return self._engine.instruments()

    def next_due(self) -> datetime | None:
        """When the next order has something to do, by itself."""
        self._drop_stale()
        return self._due[0][0] if self._due else None

    def take_due(self, now: datetime) -> list[tuple[datetime, Record]]:
        """Orders that have something to do by now, the earliest first; each is told once."""
        due = []
        while self._due and self._due[0][0] <= now:
            at, order_id = heappop(self._due)
            if self._is_due(at, order_id):
                due.append((at, self.records[order_id]))
        return due

    def check(self) -> None:
        """Raises OutOfBalance where the money does not add up."""
        self.money.check()

    def state(self) -> dict[str, Any]:
        """All there is to know: venues that went through the same entries have equal ones."""
        return {
            "day": self.day.isoformat(),
            "is_open": self.is_open,
            "last": [self._last_id, self._last_number],
            "records": {order_id: to_builtins(record) for order_id, record in self.records.items()},
            "engine": [
                [to_builtins(order), self._engine.open_quantity(order.order_id)]
                for order in self._engine.working_orders()
            ],
            "money": self.money.state(),
        }

    # --- acceptance

    def _open(self, entry: Opened) -> None:
        self.money.open(entry.capital, entry.holdings)
        settings = MatchingSettings(participation=entry.participation)
        self._engine = MatchingEngine(settings)
        self.needs_every_tick = settings.needs_volume
        self.day = trading_day(entry.at)

    def _place(self, entry: Placed) -> None:
        record = self._new_record(entry.ask, entry.worth, entry.at, entry.steps_ms)
        record.doom = entry.doom
        record.visible_at = entry.at + timedelta(milliseconds=entry.hidden_ms)
        self._block(record)
        self._add(record)

    def _new_record(self, ask: Ask, worth: Decimal, at: datetime, steps_ms: tuple[int, int, int]) -> Record:
        order_id = str(self._next_id(at))
        return Record(
            order_id=order_id, ask=ask, terms=ask.terms, placed_at=at, worth=worth, visible_at=at,
            status=Status.RECEIVED, snaps=[], steps_ms=steps_ms,
        )  # fmt: skip

    def _next_id(self, at: datetime) -> int:
        return max(self._last_id + 1, self.first_id(at))

    def _block(self, record: Record) -> None:
        ask = record.ask
        self.money.block(
            record.order_id, ask.instrument, ask.side, record.terms.quantity, ask.product, record.blocked_price
        )

    def _add(self, record: Record) -> None:
        at, ask = record.placed_at, record.ask
        self._last_id = int(record.order_id)
        self.records[record.order_id] = record
        if ask.variety == "amo" and not self.is_open:
            self._snap(record, at, Status.AMO_RECEIVED)
            return
        self._snap(record, at, Status.RECEIVED)
        self._send(record, at, Errand.PLACE, (Status.VALIDATING, Status.SENDING))

    def _send(self, record: Record, at: datetime, errand: Errand, ways: tuple[Status, ...]) -> None:
        """Put something on its way; the states it comes through are known already."""
        moment, steps = at, record.steps_ms
        for status, step in zip(ways, steps, strict=False):
            moment += timedelta(milliseconds=step)
            record.snaps.append(replace(record.snaps[-1], at=moment, status=status))
        record.errand = errand
        record.due = moment + timedelta(milliseconds=steps[-1])
        heappush(self._due, (record.due, record.order_id))

    # --- wishes

    def _ask_change(self, entry: ChangeAsked) -> None:
        record = self.record(entry.order_id, entry.at)
        if record.changes >= CHANGES_MAX:
            raise Refused(RefusalCode.TOO_MANY_CHANGES, "Maximum allowed order modifications exceeded.")
        if entry.terms.quantity <= record.filled:
            raise Refused(
                RefusalCode.INVALID, f"Quantity must be above the {record.filled} that have been filled."
            )
        if record.status is Status.AMO_RECEIVED:
            self.money.change(
                record.order_id,
                quantity=entry.terms.quantity,
                price=replace(record, terms=entry.terms).blocked_price,
            )
            record.terms, record.modified = entry.terms, True
            record.changes += 1
            self._snap(record, entry.at, Status.AMO_RECEIVED, partial=True)
            return
        record.changes += 1
        record.wanted, record.doom, record.steps_ms = entry.terms, entry.doom, entry.steps_ms
        self._snap(record, entry.at, Status.MODIFY_VALIDATING, quiet=True)
        self._send(record, entry.at, Errand.CHANGE, (Status.MODIFY_SENDING,))

    def _ask_cancel(self, entry: CancelAsked) -> None:
        record = self.record(entry.order_id, entry.at)
        if record.status is Status.AMO_RECEIVED:
            self._end(record, entry.at, Status.CANCELLED)
            return
        record.doom, record.steps_ms = entry.doom, entry.steps_ms
        self._snap(record, entry.at, Status.CANCEL_SENDING, quiet=True)
        self._send(record, entry.at, Errand.CANCEL, ())

    # --- at the exchange

    def _arrive(self, record: Record, tick: Tick | None, at: datetime) -> None:
        errand, doom, wanted = record.errand, record.doom, record.wanted
        record.errand = record.due = record.doom = record.wanted = None
        match errand:
            case Errand.PLACE if doom is not None:
                if doom.stage is Stage.EXCHANGE:
                    self._number(record, at)
                self._end(record, at, Status.REJECTED, doom.message, doom.raw_message)
            case Errand.PLACE:
                self._number(record, at)
                if record.ask.ttl_minutes:
                    record.expires_at = at + timedelta(minutes=record.ask.ttl_minutes)
                    heappush(self._due, (record.expires_at, record.order_id))
                self._snap(record, at, record.resting_status)
                if not record.ask.rests:
                    self._submit(record, tick, at)
            case Errand.CHANGE if doom is not None:
                self._snap(record, at, record.resting_status, doom.message, doom.raw_message, partial=True)
            case Errand.CHANGE if wanted is not None:
                self._carry_out_change(record, wanted, tick, at)
            case Errand.CANCEL if doom is not None:
                self._snap(record, at, record.resting_status, doom.message, doom.raw_message, partial=True)
            case Errand.CANCEL:
                self._engine.cancel(record.order_id)
                self._end(record, at, Status.CANCELLED)
            case _:
                pass

    def _number(self, record: Record, at: datetime) -> None:
        self._last_number += 1
        prefix = _EXCHANGE_PREFIXES[record.ask.instrument.exchange]
        record.exchange_order_id = f"{prefix}{self._last_number:014d}"
        record.exchange_at = at

    def _submit(self, record: Record, tick: Tick | None, at: datetime) -> None:
        record.engine_base = record.filled
        self._take(self._engine.submit(_venue_order(record), tick), at)

    def _carry_out_change(self, record: Record, wanted: Terms, tick: Tick | None, at: datetime) -> None:
        old = record.terms
        try:
            if wanted.quantity <= record.filled:
                raise Refused(RefusalCode.INVALID, f"{record.filled} have been filled already.")
            after = replace(record, terms=wanted)
            self.money.change(record.order_id, quantity=wanted.quantity, price=after.blocked_price)
        except Refused as no:
            raw = f"RMS:Rule: Check modification : {no.message}"
            self._snap(record, at, record.resting_status, no.message, raw, partial=True)
            return
        record.terms, record.modified, record.exchange_at = wanted, True, at
        # The values of the change appear on the last row only.
        before = record.snaps[-1]
        self._snap(record, at, Status.MODIFIED, terms=before.terms, quiet=True)
        self._snap(record, at, record.resting_status, partial=True)
        if record.ask.rests:
            return
        if (wanted.order_type, wanted.validity) == (old.order_type, old.validity):
            order = _venue_order(record)
            results = self._engine.modify(
                record.order_id, quantity=order.quantity, limit_price=order.limit_price,
                trigger_price=order.trigger_price, quote=tick,
            )  # fmt: skip
            self._take(results, at)
        else:
            self._engine.cancel(record.order_id)
            record.triggered = record.triggered and wanted.order_type.has_trigger
            self._submit(record, tick, at)

    def _expire(self, record: Record, at: datetime) -> None:
        record.expires_at = None
        self._engine.cancel(record.order_id)
        self._end(record, at, Status.CANCELLED)

    def _take(self, results: Iterable[Result], at: datetime) -> None:
        for result in results:
            record = self.records[result.order_id]
            match result:
                case Filled():
                    self._fill(record, result.quantity, result.price, at)
                case Triggered():
                    record.triggered = True
                    # What travels for it goes on travelling.
                    if record.errand is None:
                        self._snap(record, at, Status.OPEN)
                case Cancelled():
                    self._end(record, at, Status.CANCELLED)
                case _:
                    pass

    def _fill(self, record: Record, quantity: int, price: Decimal, at: datetime) -> None:
        ask = record.ask
        key = (ask.instrument, ask.label)
        self.money.fill(record.order_id, key, ask.product, ask.side, quantity, price, at)
        self._last_number += 1
        record.trades.append(Trade(trade_id=f"{self._last_number:08d}", quantity=quantity, price=price, at=at))
        record.filled += quantity
        record.value += quantity * price
        record.exchange_at = at
        if record.filled < record.terms.quantity:
            self._snap(record, at, record.view(at).status, partial=True)
            return
        self._end(record, at, Status.COMPLETE)
        if ask.iceberg is not None and ask.iceberg.remaining_quantity:
            self._next_leg(record, at)
        if ask.cover_trigger is not None:
            self._cover(record, ask.cover_trigger, at)

    def _next_leg(self, record: Record, at: datetime) -> None:
        """Send the next leg of an iceberg; without the money for it, it is in the book as rejected."""
        ask = record.ask
        iceberg = ask.iceberg
        if iceberg is None:
            return
        quantity = min(iceberg.leg_quantity, iceberg.remaining_quantity)
        following = replace(
            ask,
            iceberg=replace(iceberg, leg=iceberg.leg + 1),
            terms=replace(record.terms, quantity=quantity),
        )
        leg = self._new_record(following, record.worth, at, record.steps_ms)
        try:
            self._block(leg)
        except Refused as no:
            self._last_id = int(leg.order_id)
            self.records[leg.order_id] = leg
            self._snap(
                leg, at, Status.REJECTED, f"{no.message} Check the orderbook for open orders.", no.message
            )
            return
        self._add(leg)

    def _cover(self, record: Record, trigger: Decimal, at: datetime) -> None:
        """The second leg of a cover order: it stops the position that the first has made."""
        ask = record.ask
        second = replace(
            ask,
            side=Side.SELL if ask.side is Side.BUY else Side.BUY,
            terms=Terms(quantity=record.filled, order_type=OrderType.SL_M, trigger_price=trigger),
            parent_id=record.order_id,
            cover_trigger=None,
        )
        leg = self._new_record(second, trigger, at, record.steps_ms)
        self._block(leg)
        record.child_id = leg.order_id
        self._add(leg)

    # --- ends

    def _end(
        self, record: Record, at: datetime, status: Status, message: str | None = None, raw: str | None = None
    ) -> None:
        record.errand = record.due = record.wanted = record.doom = record.expires_at = None
        self.money.release(record.order_id)
        self._snap(record, at, status, message, raw)

    def _change_session(self, entry: SessionChanged) -> None:
        self.is_open = entry.is_open
        if not entry.is_open:
            return
        for record in list(self.records.values()):
            if record.status is Status.AMO_RECEIVED:
                self._send(record, entry.at, Errand.PLACE, (Status.VALIDATING, Status.SENDING))
                record.status = Status.RECEIVED

    def _roll(self, entry: Rolled) -> None:
        waiting = {}
        for order_id, record in self.records.items():
            if record.status is Status.AMO_RECEIVED:
                waiting[order_id] = record
            elif not record.status.is_final:
                self._engine.cancel(order_id)
                self._end(record, entry.at, Status.CANCELLED)
        self.money.roll(dict(entry.marks), entry.at)
        self.day = trading_day(entry.at)
        self.records = waiting
        self._due.clear()

    def _snap(
        self,
        record: Record,
        at: datetime,
        status: Status,
        message: str | None = None,
        raw: str | None = None,
        *,
        terms: Terms | None = None,
        partial: bool = False,
        quiet: bool = False,
    ) -> None:
        """Note a state. What has happened takes the place of what was to come."""
        while record.snaps and record.snaps[-1].at > at:
            record.snaps.pop()
        record.status = status
        ended = status is Status.CANCELLED
        snap = Snap(
            at=at, status=status, terms=terms or record.terms, filled=record.filled,
            average_price=record.average_price,
            cancelled=record.terms.quantity - record.filled if ended else 0,
            message=message, raw_message=raw,
            exchange_order_id=record.exchange_order_id, exchange_at=record.exchange_at,
        )  # fmt: skip
        record.snaps.append(snap)
        if not quiet:
            self._updates.append(Update(record, snap, partial))

    # --- what is due

    def _is_due(self, at: datetime, order_id: str) -> bool:
        record = self.records.get(order_id)
        return record is not None and at in (record.due, record.expires_at)

    def _drop_stale(self) -> None:
        while self._due and not self._is_due(*self._due[0]):
            heappop(self._due)


def _venue_order(record: Record) -> VenueOrder:
    """The order as the matching engine takes it: without what has filled or fired before it came there."""
    terms = record.terms
    order_type = terms.order_type
    if record.triggered and order_type.has_trigger:
        order_type = OrderType.LIMIT if order_type.has_limit else OrderType.MARKET
    return VenueOrder(
        order_id=record.order_id,
        instrument=record.ask.instrument,
        side=record.ask.side,
        quantity=terms.quantity - record.engine_base,
        order_type=order_type,
        validity=terms.validity,
        limit_price=terms.limit_price if order_type.has_limit else None,
        trigger_price=terms.trigger_price if order_type.has_trigger else None,
    )


def check_terms(terms: Terms, instrument: Instrument, side: Side) -> None:
    """Raises Refused for terms that no order can have."""
    order = VenueOrder(
        order_id="", instrument=instrument, side=side, quantity=terms.quantity, order_type=terms.order_type,
        validity=terms.validity, limit_price=terms.limit_price, trigger_price=terms.trigger_price,
    )  # fmt: skip
    try:
        check_order(order)
    except MatchingError as error:
        raise Refused(RefusalCode.INVALID, error.message) from error
