"""The matching engine: orders in, looks at the market in, results out. It has no clock and no chance.

Rules:
- MARKET buys at the ask and sells at the bid; the price stands for a quote that is not known.
- A LIMIT that the quote meets fills at once, at the better of both prices. At rest it fills when the
  opposite quote meets it or a trade goes through it; a trade *at* the limit fills it only with
  `fill_on_touch`: others were in the queue before it.
- A candle fills a buy limit above its low, a sell limit below its high: at the limit, or at the open
  where it opened beyond.
- A stop fires on a trade at or beyond its trigger, a buy on the way up, a sell on the way down; then it
  is a MARKET (SL-M) or LIMIT (SL). In a candle it meets the trigger price, or the open where it opened
  beyond. What a candle leaves open (did the price come back to the limit after the trigger?) does not fill.
- IOC: what does not fill at once is cancelled; for a stop, once it has fired.
- An order submitted without a quote meets the next tick, or the next candle's open.
- Orders fill in full: nobody else's order is in the way.
"""

from decimal import Decimal

from msgspec.structs import replace

from pulse_domain.errors import MatchingError
from pulse_domain.instruments import Instrument
from pulse_domain.matching.book import Book, Working
from pulse_domain.matching.values import (
    Accepted,
    Cancelled,
    Candle,
    Filled,
    Modified,
    Rejected,
    Result,
    Tick,
    Triggered,
    VenueOrder,
    check_candle,
    check_order,
    check_tick,
)
from pulse_domain.orders.model import Side, Validity


class MatchingEngine:
    """Matches orders of any number of instruments; only those that a price reaches are looked at.

    Every method returns what it caused, in order. A MatchingError has changed nothing.
    """

    def __init__(self, *, fill_on_touch: bool = False) -> None:
        self._fill_on_touch = fill_on_touch
        self._books: dict[Instrument, Book] = {}
        self._working: dict[str, Working] = {}
        self._last_seq = 0

    def instruments(self) -> tuple[Instrument, ...]:
        """Those with working orders."""
        return tuple([instrument for instrument, book in self._books.items() if book])

    def working_orders(self) -> tuple[VenueOrder, ...]:
        """By acceptance."""
        return tuple([working.order for working in self._working.values()])

    def submit(self, order: VenueOrder, quote: Tick | None = None) -> tuple[Result, ...]:
        """Accept an order and match it against the quote, or against the next price seen.

        Raises:
            MatchingError: the order or quote is not usable, or the order id is working already.
        """
        check_order(order)
        if order.order_id in self._working:
            raise MatchingError(f"order {order.order_id} is working already", field="order_id")
        _check_quote(order, quote)
        working = Working(order, self._next_seq())
        results: list[Result] = [Accepted(order_id=order.order_id)]
        self._working[order.order_id] = working
        self._enter(working, quote, results)
        return tuple(results)

    def modify(
        self,
        order_id: str,
        *,
        quantity: int | None = None,
        limit_price: Decimal | None = None,
        trigger_price: Decimal | None = None,
        quote: Tick | None = None,
    ) -> tuple[Result, ...]:
        """Change what is given of a working order and match it again.

        It keeps its place in time unless its price changes or its quantity grows.

        Raises:
            MatchingError: the changed order or the quote is not usable.
        """
        working = self._working.get(order_id)
        if working is None:
            return (Rejected(order_id=order_id, reason_code="UNKNOWN_ORDER"),)
        old = working.order
        new = replace(
            old,
            quantity=old.quantity if quantity is None else quantity,
            limit_price=old.limit_price if limit_price is None else limit_price,
            trigger_price=old.trigger_price if trigger_price is None else trigger_price,
        )
        check_order(new)
        _check_quote(new, quote)
        self._books[old.instrument].remove(working)
        if new.quantity > old.quantity or (new.limit_price, new.trigger_price) != (
            old.limit_price, old.trigger_price,
        ):  # fmt: skip
            working.seq = self._next_seq()
        working.order = new
        results: list[Result] = [Modified(order_id=order_id)]
        self._enter(working, quote, results)
        return tuple(results)

    def cancel(self, order_id: str) -> tuple[Result, ...]:
        """Take a working order out."""
        working = self._working.get(order_id)
        if working is None:
            return (Rejected(order_id=order_id, reason_code="UNKNOWN_ORDER"),)
        self._books[working.order.instrument].remove(working)
        del self._working[order_id]
        return (Cancelled(order_id=order_id, reason_code="REQUESTED"),)

    def process_tick(self, tick: Tick) -> tuple[Result, ...]:
        """Match the working orders of the tick's instrument.

        Raises:
            MatchingError: the tick is not usable.
        """
        check_tick(tick)
        book = self._books.get(tick.instrument)
        if not book or _is_off_day(tick):
            return ()
        results: list[Result] = []
        for working in book.take_arrivals():
            self._enter(working, tick, results)
        for side, quoted in ((Side.BUY, tick.ask), (Side.SELL, tick.bid)):
            reached = book.limits[side].take(tick.price, touch=self._fill_on_touch)
            if quoted is not None:
                reached += book.limits[side].take(quoted, touch=True)
            for working in reached:
                self._fill(working, tick, results)
        for side in Side:
            for working in book.stops[side].take(tick.price, touch=True):
                self._fire(working, tick, results)
        return tuple(results)

    def process_candle(self, candle: Candle) -> tuple[Result, ...]:
        """Match the working orders of the candle's instrument: first at its open, then within it.

        Raises:
            MatchingError: the candle is not usable.
        """
        check_candle(candle)
        book = self._books.get(candle.instrument)
        if not book:
            return ()
        opening = Tick(instrument=candle.instrument, at=candle.start, price=candle.open)
        results: list[Result] = []
        for working in book.take_arrivals():
            self._enter(working, opening, results)
        for side in Side:
            for working in book.stops[side].take(candle.open, touch=True):
                self._fire(working, opening, results)
        for side, furthest in ((Side.BUY, candle.low), (Side.SELL, candle.high)):
            for working in book.limits[side].take(furthest, touch=self._fill_on_touch):
                self._fill(working, opening, results)
        for side, furthest in ((Side.BUY, candle.high), (Side.SELL, candle.low)):
            for working in book.stops[side].take(furthest, touch=True):
                self._fire(working, replace(opening, price=working.order.trigger_price), results)
        return tuple(results)

    def _enter(self, working: Working, tick: Tick | None, results: list[Result]) -> None:
        """Let an order that has just come, changed or fired meet the market; what cannot fill rests."""
        order = working.order
        if tick is None or _is_off_day(tick):
            self._rest(working)
        elif working.awaits_trigger:
            if _fires(order, tick.price):
                self._fire(working, tick, results)
            else:
                self._rest(working)
        elif self._is_marketable(order, tick):
            self._fill(working, tick, results)
        elif order.validity is Validity.IOC:
            del self._working[order.order_id]
            results.append(Cancelled(order_id=order.order_id, reason_code="IOC"))
        else:
            self._rest(working)

    def _fire(self, working: Working, tick: Tick, results: list[Result]) -> None:
        working.triggered = True
        results.append(Triggered(order_id=working.order.order_id, price=tick.price, at=tick.at))
        self._enter(working, tick, results)

    def _is_marketable(self, order: VenueOrder, tick: Tick) -> bool:
        limit, offer = order.limit_price, _offer(order.side, tick)
        if limit is None:
            return True
        if limit == offer:
            # A quote at the limit is on offer; a trade at the limit may have taken the last of it.
            return self._fill_on_touch or (tick.ask if order.side is Side.BUY else tick.bid) is not None
        return offer < limit if order.side is Side.BUY else offer > limit

    def _fill(self, working: Working, tick: Tick, results: list[Result]) -> None:
        order, price = working.order, _offer(working.order.side, tick)
        if order.limit_price is not None:
            price = (min if order.side is Side.BUY else max)(price, order.limit_price)
        del self._working[order.order_id]
        results.append(Filled(order_id=order.order_id, quantity=order.quantity, price=price, at=tick.at))

    def _rest(self, working: Working) -> None:
        self._books.setdefault(working.order.instrument, Book()).add(working)

    def _next_seq(self) -> int:
        self._last_seq += 1
        return self._last_seq


def _check_quote(order: VenueOrder, quote: Tick | None) -> None:
    if quote is None:
        return
    check_tick(quote)
    if quote.instrument != order.instrument:
        raise MatchingError(f"a quote of {quote.instrument} for an order in {order.instrument}", field="quote")


def _offer(side: Side, tick: Tick) -> Decimal:
    """What the other side of the market asks or bids."""
    quoted = tick.ask if side is Side.BUY else tick.bid
    return tick.price if quoted is None else quoted


def _fires(order: VenueOrder, price: Decimal) -> bool:
    trigger = order.trigger_price
    if trigger is None:
        return False
    return price >= trigger if order.side is Side.BUY else price <= trigger


def _is_off_day(tick: Tick) -> bool:
    """A price outside its own day range is a bad tick."""
    too_low = tick.day_low is not None and tick.price < tick.day_low
    return too_low or (tick.day_high is not None and tick.price > tick.day_high)
