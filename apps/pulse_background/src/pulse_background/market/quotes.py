"""Quotes of the desk's own feed, so that the virtual exchange fills at the prices that strategies see."""

from collections.abc import Mapping

from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_data import MarketData, Quote


class FeedQuotes:
    """Implements `MarketData`. latest: the last tick of each instrument; others have quotes of `elsewhere`."""

    def __init__(self, latest: Mapping[Instrument, Tick], elsewhere: MarketData, clock: Clock) -> None:
        self._latest = latest
        self._elsewhere = elsewhere
        self._clock = clock

    async def quote(self, instrument: Instrument) -> Quote:
        tick = self._latest.get(instrument)
        if tick is None:
            return await self._elsewhere.quote(instrument)
        return Quote(
            instrument=instrument,
            at=self._clock.now(),
            last_price=tick.price,
            bid=tick.bid or tick.price,
            ask=tick.ask or tick.price,
            volume=tick.volume,
        )
