"""Where orders meet looks at the market. The rules are those of the engine."""

from decimal import Decimal
from itertools import pairwise

from pulse_domain.instruments import Instrument
from pulse_domain.matching.book import Book, Working
from pulse_domain.matching.looks import Look, fill_price, offer
from pulse_domain.matching.settings import CandlePath, MatchingSettings
from pulse_domain.matching.values import Cancelled, Candle, Filled, Result, Tick, Triggered, VenueOrder
from pulse_domain.orders.model import Side, Validity


class Floor:
    """The books, and what happens between their orders and a look at the market."""

    def __init__(self, settings: MatchingSettings) -> None:
        self._settings = settings
        self._touch = settings.fill_on_touch
        self.books: dict[Instrument, Book] = {}
        self.working: dict[str, Working] = {}

    def book(self, instrument: Instrument) -> Book:
        book = self.books.get(instrument)
        if book is None:
            book = self.books[instrument] = Book()
        return book

    def rest(self, working: Working) -> None:
        self.book(working.order.instrument).add(working)

    def enter(self, working: Working, look: Look | None, results: list[Result]) -> None:
        """Let an order that has just come, changed or fired meet the market; what cannot fill rests."""
        order = working.order
        if look is None:
            self.rest(working)
        elif working.awaits_trigger:
            if _fires(order, look.tick.price):
                self._fire(working, look, results)
            else:
                self.rest(working)
        elif self._is_marketable(order, look.tick):
            self._fill(working, look, results)
        elif order.validity is Validity.IOC:
            self._end(working, results)
        else:
            self.rest(working)

    def meet_tick(self, book: Book, look: Look, results: list[Result]) -> None:
        tick = look.tick
        self._meet_arrivals(book, look, results)
        for side, quoted in ((Side.BUY, tick.ask), (Side.SELL, tick.bid)):
            self._sweep_limits(book, side, tick.price, look, results, touch=self._touch)
            if quoted is not None:
                self._sweep_limits(book, side, quoted, look, results, touch=True)
        for side in Side:
            self._sweep_stops(book, side, tick.price, look, results)

    def meet_candle(self, book: Book, candle: Candle, look: Look, results: list[Result]) -> None:
        """`look` is the one at the candle's open."""
        self._meet_arrivals(book, look, results)
        for side in Side:
            self._sweep_stops(book, side, candle.open, look, results)
        if self._settings.candle_path is CandlePath.UNKNOWN:
            for side, furthest in ((Side.BUY, candle.low), (Side.SELL, candle.high)):
                self._sweep_limits(book, side, furthest, look, results, touch=self._touch)
            for side, furthest in ((Side.BUY, candle.high), (Side.SELL, candle.low)):
                self._sweep_stops(book, side, furthest, look, results, at_trigger=True)
        else:
            for side in Side:
                self._sweep_limits(book, side, candle.open, look, results, touch=self._touch)
            self._walk(book, _way(candle, self._settings.candle_path), look, results)

    def _meet_arrivals(self, book: Book, look: Look, results: list[Result]) -> None:
        while (working := book.pop_arrival(volume_left=look.volume.left != 0)) is not None:
            self.enter(working, look, results)

    def _sweep_limits(
        self, book: Book, side: Side, reach: Decimal, look: Look, results: list[Result], *, touch: bool
    ) -> None:
        ladder = book.limits[side]
        while look.volume.left != 0 and ladder.reaches(reach, touch=touch):
            self._fill(ladder.pop(), look, results)

    def _sweep_stops(
        self,
        book: Book,
        side: Side,
        reach: Decimal,
        look: Look,
        results: list[Result],
        *,
        at_trigger: bool = False,
    ) -> None:
        ladder = book.stops[side]
        while ladder.reaches(reach, touch=True):
            met = look.at_price(ladder.next_level) if at_trigger else look
            self._fire(ladder.pop(), met, results)

    def _walk(self, book: Book, way: list[Decimal], look: Look, results: list[Result]) -> None:
        """Take the price from point to point. On its way up it meets sell limits and buy stops, on its way
        down the others; at one price the stop is first, as a touch is enough for it."""
        for start, end in pairwise(way):
            rises = end > start
            limits = book.limits[Side.SELL if rises else Side.BUY]
            stops = book.stops[Side.BUY if rises else Side.SELL]
            while True:
                fires = stops.reaches(end, touch=True)
                fills = look.volume.left != 0 and limits.reaches(end, touch=self._touch)
                if fires and fills:
                    nearest, next_limit = stops.next_level, limits.next_level
                    fires = nearest <= next_limit if rises else nearest >= next_limit
                if fires:
                    met = look.at_price(stops.next_level)
                    self._fire(stops.pop(), met, results)
                elif fills:
                    met = look.at_price(limits.next_level)
                    self._fill(limits.pop(), met, results)
                else:
                    break

    def _fire(self, working: Working, look: Look, results: list[Result]) -> None:
        working.triggered = True
        tick = look.tick
        results.append(Triggered(order_id=working.order.order_id, price=tick.price, at=tick.at))
        self.enter(working, look, results)

    def _is_marketable(self, order: VenueOrder, tick: Tick) -> bool:
        limit, offered = order.limit_price, offer(order.side, tick)
        if limit is None:
            return True
        if limit == offered:
            # A quote at the limit is on offer; a trade at the limit may have taken the last of it.
            return self._touch or (tick.ask if order.side is Side.BUY else tick.bid) is not None
        return offered < limit if order.side is Side.BUY else offered > limit

    def _fill(self, working: Working, look: Look, results: list[Result]) -> None:
        """Fill what the volume allows; the rest works on, an IOC's ends."""
        order = working.order
        quantity = look.volume.take(order.quantity - working.filled)
        if quantity:
            price = fill_price(order, quantity, look, self._settings)
            working.filled += quantity
            results.append(Filled(order_id=order.order_id, quantity=quantity, price=price, at=look.tick.at))
        if working.filled == order.quantity:
            del self.working[order.order_id]
        elif order.validity is Validity.IOC:
            self._end(working, results)
        else:
            self.rest(working)

    def _end(self, working: Working, results: list[Result]) -> None:
        order_id = working.order.order_id
        del self.working[order_id]
        results.append(Cancelled(order_id=order_id, reason_code="IOC"))


def _way(candle: Candle, path: CandlePath) -> list[Decimal]:
    low_first = candle.open - candle.low < candle.high - candle.open
    if path is CandlePath.NEAREST_EXTREME_FIRST and low_first:
        return [candle.open, candle.low, candle.high, candle.close]
    return [candle.open, candle.high, candle.low, candle.close]


def _fires(order: VenueOrder, price: Decimal) -> bool:
    trigger = order.trigger_price
    if trigger is None:
        return False
    return price >= trigger if order.side is Side.BUY else price <= trigger
