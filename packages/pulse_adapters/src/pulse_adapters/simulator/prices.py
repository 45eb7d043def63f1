"""The market as the venue shows it: quotes of the feed, day figures, depth, candles."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from pulse_adapters.simulator.values import ZERO
from pulse_domain.errors import MarketDataUnavailable, MatchingError
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.matching.values import check_tick
from pulse_domain.ports.market_data import MarketData, Quote

_DEPTH = 5


class PriceHistory(Protocol):
    """A feed that knows the past."""

    def quote_at(self, instrument: Instrument, at: datetime) -> Quote:
        """The quote of an instant."""
        ...


class Level(Struct, frozen=True, gc=False):
    price: Decimal
    quantity: int
    orders: int


class Market(Struct, frozen=True, kw_only=True, gc=False):
    """One look at an instrument. `close` is the day's before."""

    at: datetime
    traded_at: datetime
    last_price: Decimal
    last_quantity: int
    volume: int
    average_price: Decimal
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    buys: tuple[Level, ...]
    sells: tuple[Level, ...]
    oi: int = 0
    oi_day_high: int = 0
    oi_day_low: int = 0

    @property
    def buy_quantity(self) -> int:
        return sum(level.quantity for level in self.buys)

    @property
    def sell_quantity(self) -> int:
        return sum(level.quantity for level in self.sells)


class Bar(Struct, frozen=True, kw_only=True, gc=False):
    """`oi` is 0 where the feed has none."""

    start: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: int
    oi: int = 0


class Pinned(Struct, frozen=True, kw_only=True):
    """A price that was set by hand, in place of the feed's."""

    last_price: Decimal
    bid: Decimal | None = None
    ask: Decimal | None = None
    volume: int = 0


class _Day(Struct, kw_only=True):
    day: date
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    last: Decimal
    volume: int
    traded_at: datetime
    last_quantity: int = 1
    value: Decimal = ZERO


class Prices:
    """Quotes of a feed, or of hand; every look adds to the day's figures.

    tick_of: the tick size, the step between levels of depth.
    history: the feed's past, where it has one.
    feed_name: what the feed calls an instrument.
    """

    def __init__(
        self,
        market: MarketData,
        now: Callable[[], datetime],
        tick_of: Callable[[Instrument], Decimal],
        day_of: Callable[[datetime], date],
        history: PriceHistory | None = None,
        feed_name: Callable[[Instrument], Instrument] = lambda instrument: instrument,
    ) -> None:
        self._market = market
        self._feed_name = feed_name
        self._now = now
        self._tick_of = tick_of
        self._day_of = day_of
        self._history = history
        self._pinned: dict[Instrument, Pinned] = {}
        self._markets: dict[Instrument, Market] = {}
        self._days: dict[Instrument, _Day] = {}

    def pin(self, instrument: Instrument, pinned: Pinned | None) -> None:
        """Set a price by hand, or give it back to the feed."""
        if pinned is None:
            self._pinned.pop(instrument, None)
            self._markets.pop(instrument, None)
        else:
            self._pinned[instrument] = pinned

    def show(self, instrument: Instrument, market: Market) -> None:
        """Show exactly this from now on, for what only looks and does not trade."""
        self._markets[instrument] = market

    async def tick(self, instrument: Instrument) -> Tick | None:
        """The market as orders meet it; None where there is no usable price."""
        try:
            quote = await self._quote(instrument)
            tick = Tick(
                instrument=instrument, at=quote.at, price=quote.last_price, bid=quote.bid, ask=quote.ask,
                volume=quote.volume,
            )  # fmt: skip
            check_tick(tick)
        except (MarketDataUnavailable, MatchingError):
            return None
        self._note(instrument, quote)
        return tick

    async def last_price(self, instrument: Instrument) -> Decimal:
        tick = await self.tick(instrument)
        return ZERO if tick is None else tick.price

    async def look(self, instrument: Instrument) -> Market | None:
        """Everything that is shown of an instrument; None where there is no price."""
        if shown := self._markets.get(instrument):
            return replace(shown, at=self._now())
        tick = await self.tick(instrument)
        if tick is None:
            return None
        day = self._days[instrument]
        return Market(
            at=tick.at, traded_at=day.traded_at, last_price=tick.price, last_quantity=day.last_quantity,
            volume=tick.volume, average_price=((day.open + day.high + day.low + day.last) / 4),
            open=day.open, high=day.high, low=day.low, close=day.close,
            buys=self._levels(instrument, tick.bid, tick.at, -1),
            sells=self._levels(instrument, tick.ask, tick.at, 1),
        )  # fmt: skip

    def candles(
        self, instrument: Instrument, start: datetime, end: datetime, minutes: int, looks: int
    ) -> list[Bar]:
        """Candles within session hours, from so many looks each; empty where the feed has no past."""
        if self._history is None:
            return []
        bars, name = [], self._feed_name(instrument)
        for begin in _starts(start, min(end, self._now()), minutes):
            length = timedelta(minutes=minutes) if minutes < _SESSION_MINUTES else _SESSION
            quotes = [
                self._history.quote_at(name, begin + length * index / looks) for index in range(looks + 1)
            ]
            prices = [quote.last_price for quote in quotes]
            volume = quotes[-1].volume - quotes[0].volume
            bars.append(
                Bar(
                    start=begin,
                    open=prices[0],
                    high=max(prices),
                    low=min(prices),
                    close=prices[-1],
                    volume=volume if volume >= 0 else quotes[-1].volume,
                )
            )
        return bars

    async def _quote(self, instrument: Instrument) -> Quote:
        pinned = self._pinned.get(instrument)
        if pinned is None:
            return replace(await self._market.quote(self._feed_name(instrument)), at=self._now())
        return Quote(
            instrument=instrument,
            at=self._now(),
            last_price=pinned.last_price,
            bid=pinned.bid or pinned.last_price,
            ask=pinned.ask or pinned.last_price,
            volume=pinned.volume,
        )

    def _note(self, instrument: Instrument, quote: Quote) -> None:
        price, today = quote.last_price, self._day_of(quote.at)
        day = self._days.get(instrument)
        if day is None or day.day != today:
            close = self._close_before(instrument, quote) if day is None else day.last
            self._days[instrument] = _Day(
                day=today, open=price, high=price, low=price, close=close, last=price, volume=quote.volume,
                traded_at=quote.at,
            )  # fmt: skip
            return
        if price != day.last or quote.volume != day.volume:
            day.last_quantity = max(1, quote.volume - day.volume)
            day.traded_at = quote.at
        day.high, day.low = max(day.high, price), min(day.low, price)
        day.last, day.volume = price, quote.volume

    def _close_before(self, instrument: Instrument, quote: Quote) -> Decimal:
        if self._history is None or instrument in self._pinned:
            return quote.last_price
        yesterday = datetime.combine(
            self._day_of(quote.at) - timedelta(days=1), datetime.min.time(), quote.at.tzinfo
        )
        return self._history.quote_at(self._feed_name(instrument), yesterday + _CLOSE_AT).last_price

    def _levels(
        self, instrument: Instrument, best: Decimal | None, at: datetime, direction: int
    ) -> tuple[Level, ...]:
        """Depth that the feed does not have: made up, the same for everybody who looks within a second."""
        if best is None:
            return ()
        step = self._tick_of(instrument) * direction
        seed = f"{instrument}/{int(at.timestamp())}/{direction}".encode()
        dice = blake2b(seed, digest_size=2 * _DEPTH).digest()
        levels = []
        for index in range(_DEPTH):
            price = best + step * index
            if price <= 0:
                break
            quantity = (dice[2 * index] + 1) * (index + 2)
            levels.append(Level(price, quantity, 1 + dice[2 * index + 1] % 12))
        return tuple(levels)


_OPEN_AT = timedelta(hours=3, minutes=45)  # 09:15 in India, in UTC
_CLOSE_AT = timedelta(hours=10)  # 15:30
_SESSION_MINUTES = 375
_SESSION = timedelta(minutes=_SESSION_MINUTES)


def _starts(start: datetime, end: datetime, minutes: int) -> list[datetime]:
    """Where candles of session hours begin, on weekdays."""
    starts = []
    # Whatever the offset it is asked in: the session's beginning is told in UTC.
    midnight = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while midnight <= end:
        if midnight.weekday() < 5:
            for offset in range(0, _SESSION_MINUTES, minutes):
                begin = midnight + _OPEN_AT + timedelta(minutes=offset)
                if start <= begin <= end:
                    starts.append(begin)
        midnight += timedelta(days=1)
    return starts
