"""Made-up prices as ticks: one of each instrument at every whole interval, for ever."""

from collections.abc import Iterable
from datetime import timedelta

from pulse_adapters.feeds.errors import FeedSpecError
from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_feed import FeedFigures, FeedSink
from pulse_domain.units import to_time, to_us

_US = timedelta(microseconds=1)
# Ticks that a stopped process has missed are made afterwards, those of the last minute at least.
_BEHIND_MAX = timedelta(minutes=1)


class SyntheticMarketFeed:
    """Implements the `MarketFeed` port.

    Two feeds of one seed give the same ticks, those of the instants at which both run.

    Raises:
        FeedSpecError: the interval is below a millisecond.
    """

    def __init__(self, clock: Clock, seed: int = 0, *, interval: timedelta = timedelta(seconds=1)) -> None:
        if interval < timedelta(milliseconds=1):
            raise FeedSpecError(f"the interval of ticks must be a millisecond or more, not {interval}")
        self._clock = clock
        self._prices = SyntheticFeed(clock, seed)
        self._interval_us = interval // _US
        self._behind_max_us = max(_BEHIND_MAX, interval) // _US
        self._subscribed: tuple[Instrument, ...] = ()
        self._ticks = self._runs_begun = 0
        self._is_running = False

    def subscribe(self, instruments: Iterable[Instrument]) -> None:
        self._subscribed = tuple(dict.fromkeys(instruments))

    async def run(self, sink: FeedSink) -> None:
        self._runs_begun += 1
        self._is_running = True
        try:
            us = self._round_up(to_us(self._clock.now()))
            while True:
                now_us = to_us(self._clock.now())
                if us > now_us:
                    await self._clock.sleep((us - now_us) / 1_000_000)
                    continue
                us = max(us, self._round_up(now_us - self._behind_max_us))
                if ticks := [self._tick(instrument, us) for instrument in self._subscribed]:
                    self._ticks += len(ticks)
                    sink.ticks(ticks)
                us += self._interval_us
                await self._clock.sleep(0)
        finally:
            self._is_running = False

    def figures(self) -> FeedFigures:
        return FeedFigures(connected=self._is_running, ticks=self._ticks, connects=self._runs_begun)

    def _round_up(self, us: int) -> int:
        return -(-us // self._interval_us) * self._interval_us

    def _tick(self, instrument: Instrument, us: int) -> Tick:
        quote = self._prices.quote_at(instrument, to_time(us))
        return Tick(instrument, quote.at, quote.last_price, quote.bid, quote.ask, quote.volume)
