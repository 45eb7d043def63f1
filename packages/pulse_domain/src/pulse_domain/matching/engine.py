"""The matching engine: orders in, looks at the market in, results out. It has no clock, and no chance but
the random source that it was given.

Rules:
- MARKET buys at the ask and sells at the bid; the price stands for a quote that is not known.
- A LIMIT that the quote meets fills at once, at the better of both prices. At rest it fills when the
  opposite quote meets it or a trade goes through it; a trade *at* the limit fills it only with
  `fill_on_touch`: others were in the queue before it. A tick beyond its limit fills it at the
  tick's price, as if the market had opened there: where ticks are far apart this flatters the order.
- A candle fills a buy limit above its low, a sell limit below its high: at the limit, or at the open
  where it opened beyond.
- A stop fires on a trade at or beyond its trigger, a buy on the way up, a sell on the way down; then it
  is a MARKET (SL-M) or LIMIT (SL). In a candle it meets the trigger price, or the open where it opened
  beyond. What a candle leaves open (did the price come back to the limit after the trigger?) does not
  fill, unless the settings name the path of the price through the candle.
- IOC: what does not fill at once is cancelled; for a stop, once it has fired.
- An order submitted without a quote meets the next tick, or the next candle's open. One with a time, or
  with latency, meets the first tick or open that is not before it arrives at the venue.
- With `CandleEntry.SAME_CLOSE` an order without a quote meets the close of the candle processed last. One
  with a time does so where that lies within the candle, which therefore needs an `end`.
- Orders fill in full where volume is not capped. Where it is, orders of one look share its volume: those
  that take any price by time, then buy limits, then sell limits, the best price first, equal ones by
  time; with a candle path as the price comes to them. What stops take comes after limits on ticks and
  before them at a candle's open.
- A candle without volume that may not fill is passed over: nothing fires, IOC orders wait for the next.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from random import Random

from msgspec.structs import replace

from pulse_domain.errors import MatchingError
from pulse_domain.instruments import Instrument
from pulse_domain.matching.book import NOTHING_RESTS, Reach, Working
from pulse_domain.matching.floor import Floor
from pulse_domain.matching.looks import Look, Looks
from pulse_domain.matching.settings import CandleEntry, MatchingSettings, check_settings
from pulse_domain.matching.values import (
    Accepted,
    Cancelled,
    Candle,
    Modified,
    Rejected,
    Result,
    Tick,
    VenueOrder,
    check_candle,
    check_order,
    check_tick,
    check_time,
)

_DEFAULTS = MatchingSettings()


class MatchingEngine:
    """Matches orders of any number of instruments; only those that a price reaches are looked at.

    Every method returns what it caused, in order. A MatchingError has changed nothing.

    rng: the source of latencies; needed where they vary.
    fill_on_touch: short for the setting of that name.

    Raises:
        MatchingError: the settings make no sense, or lack the random source.
    """

    def __init__(
        self,
        settings: MatchingSettings = _DEFAULTS,
        *,
        rng: Random | None = None,
        fill_on_touch: bool | None = None,
    ) -> None:
        if fill_on_touch is not None:
            settings = replace(settings, fill_on_touch=fill_on_touch)
        check_settings(settings)
        latency = settings.latency
        if latency is not None and latency.shortest < latency.longest and rng is None:
            raise MatchingError("a latency that varies needs a random source", field="rng")
        self._latency = latency
        self._rng = rng
        self._same_close = settings.candle_entry is CandleEntry.SAME_CLOSE
        self._looks = Looks(settings)
        self._floor = Floor(settings)
        # The candle processed last, by instrument, where orders may still meet its close.
        self._closes: dict[Instrument, tuple[Candle, Look]] = {}
        self._last_seq = 0

    def instruments(self) -> tuple[Instrument, ...]:
        """Those with working orders."""
        return tuple([instrument for instrument, book in self._floor.books.items() if book])

    def working_orders(self) -> tuple[VenueOrder, ...]:
        """By acceptance."""
        return tuple([working.order for working in self._floor.working.values()])

    def open_quantity(self, order_id: str) -> int:
        """What of an order is not filled; 0 where it does not work."""
        working = self._floor.working.get(order_id)
        return 0 if working is None else working.order.quantity - working.filled

    def reach(self, instrument: Instrument) -> Reach:
        """What the market must do for a working order to be looked at; ask again when anything changed."""
        book = self._floor.books.get(instrument)
        return NOTHING_RESTS if book is None else book.reach()

    def submit(
        self, order: VenueOrder, quote: Tick | None = None, *, at: datetime | None = None
    ) -> tuple[Result, ...]:
        """Accept an order and match it against the quote, or against the next price seen.

        at: when it was sent; where it is not given, the quote's time. With latency one of both is needed,
            and the order does not meet the quote but the market after its delay.

        Raises:
            MatchingError: the order, quote or time is not usable, or the order id is working already.
        """
        check_order(order)
        if order.order_id in self._floor.working:
            raise MatchingError(f"order {order.order_id} is working already", field="order_id")
        _check_quote(order, quote)
        due = self._due(at, quote)
        working = Working(order, self._next_seq())
        results: list[Result] = [Accepted(order_id=order.order_id)]
        self._floor.working[order.order_id] = working
        if quote is not None and self._latency is None:
            self._floor.enter(working, self._look(quote), results)
        elif due is None or self._is_open_at(order.instrument, due):
            self._floor.enter(working, self._close(order.instrument), results)
        else:
            self._floor.book(order.instrument).send(working, due)
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
        """Change what is given of a working order and match it again, unless it is still on its way.

        It keeps its place in time unless its price changes or its quantity grows; on its way it has none yet.
        The quantity counts what has filled. No latency applies.

        Raises:
            MatchingError: the changed order or the quote is not usable, or no more than the changed
                quantity has filled.
        """
        working = self._floor.working.get(order_id)
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
        if new.quantity <= working.filled:
            raise MatchingError(f"{working.filled} of order {order_id} have filled", field="quantity")
        _check_quote(new, quote)
        results: list[Result] = [Modified(order_id=order_id)]
        if working.travels:
            working.order = new
            return tuple(results)
        self._floor.books[old.instrument].remove(working)
        if new.quantity > old.quantity or (new.limit_price, new.trigger_price) != (
            old.limit_price, old.trigger_price,
        ):  # fmt: skip
            working.seq = self._next_seq()
        working.order = new
        look = self._close(new.instrument) if quote is None else self._look(quote)
        self._floor.enter(working, look, results)
        return tuple(results)

    def cancel(self, order_id: str) -> tuple[Result, ...]:
        """Take a working order out, or what is open of it. No latency applies."""
        working = self._floor.working.pop(order_id, None)
        if working is None:
            return (Rejected(order_id=order_id, reason_code="UNKNOWN_ORDER"),)
        self._floor.books[working.order.instrument].remove(working)
        return (Cancelled(order_id=order_id, reason_code="REQUESTED"),)

    def process_tick(self, tick: Tick) -> tuple[Result, ...]:
        """Match the working orders of the tick's instrument.

        Raises:
            MatchingError: the tick is not usable.
        """
        check_tick(tick)
        look = self._look(tick)
        self._closes.pop(tick.instrument, None)
        book = self._floor.books.get(tick.instrument)
        if look is None or book is None or book.is_idle(tick.at):
            return ()
        results: list[Result] = []
        self._let_in(tick.instrument, tick.at)
        self._floor.meet_tick(book, look, results)
        return tuple(results)

    def process_candle(self, candle: Candle) -> tuple[Result, ...]:
        """Match the working orders of the candle's instrument: first at its open, then within it.

        Raises:
            MatchingError: the candle is not usable.
        """
        check_candle(candle)
        book = self._floor.books.get(candle.instrument)
        if not self._same_close and (
            book is None or book.is_out_of_reach(candle.low, candle.high, candle.start)
        ):
            return ()
        look = self._looks.candle(candle)
        self._closes.pop(candle.instrument, None)
        results: list[Result] = []
        if look.volume.traded == 0 and look.volume.left == 0:
            return ()
        if book is not None and not book.is_idle(candle.start):
            self._let_in(candle.instrument, candle.start)
            self._floor.meet_candle(book, candle, look, results)
        if self._same_close:
            closing = Tick(instrument=candle.instrument, at=candle.end or candle.start, price=candle.close)
            look = Look(closing, look.volume, candle.low, candle.high)
            self._closes[candle.instrument] = (candle, look)
            if book is not None and candle.end is not None:
                for working in book.arrived(candle.end):
                    working.seq = self._next_seq()
                    self._floor.enter(working, look, results)
        return tuple(results)

    @contextmanager
    def set_aside(self, order_ids: Iterable[str]) -> Iterator[None]:
        """Within, these working orders meet no look at the market, the only thing to be done in it; they keep
        their places."""
        known = [self._floor.working[order_id] for order_id in order_ids if order_id in self._floor.working]
        aside = [working for working in known if not working.travels]
        for working in aside:
            self._floor.books[working.order.instrument].remove(working)
        try:
            yield
        finally:
            for working in aside:
                self._floor.rest(working)

    def _due(self, at: datetime | None, quote: Tick | None) -> datetime | None:
        """When an order is at the venue; None is at once."""
        if at is not None:
            check_time(at)
        if self._latency is None:
            return at
        if at is None:
            if quote is None:
                raise MatchingError("with latency an order needs the time at which it was sent", field="at")
            at = quote.at
        shortest, spread = self._latency.shortest, self._latency.longest - self._latency.shortest
        return at + shortest + (spread * self._rng.random() if self._rng is not None and spread else spread)

    def _let_in(self, instrument: Instrument, by: datetime) -> None:
        for working in self._floor.books[instrument].arrived(by):
            # Its place in time is that of its arrival.
            working.seq = self._next_seq()
            self._floor.rest(working)

    def _look(self, tick: Tick) -> Look | None:
        return None if _is_off_day(tick) else self._looks.tick(tick)

    def _close(self, instrument: Instrument) -> Look | None:
        closed = self._closes.get(instrument)
        return None if closed is None else closed[1]

    def _is_open_at(self, instrument: Instrument, due: datetime) -> bool:
        """Whether the candle processed last was still open."""
        closed = self._closes.get(instrument)
        return closed is not None and closed[0].end is not None and closed[0].start <= due <= closed[0].end

    def _next_seq(self) -> int:
        self._last_seq += 1
        return self._last_seq


def _check_quote(order: VenueOrder, quote: Tick | None) -> None:
    if quote is None:
        return
    check_tick(quote)
    if quote.instrument != order.instrument:
        raise MatchingError(f"a quote of {quote.instrument} for an order in {order.instrument}", field="quote")


def _is_off_day(tick: Tick) -> bool:
    """A price outside its own day range is a bad tick."""
    too_low = tick.day_low is not None and tick.price < tick.day_low
    return too_low or (tick.day_high is not None and tick.price > tick.day_high)
