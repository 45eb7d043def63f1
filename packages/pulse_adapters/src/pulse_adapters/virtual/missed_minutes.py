"""Which orders a minute's candle may still fill: prices that ticks have shown are not met a second time.

- Ticks come first: orders meet each one when it comes. A minute of which any tick was seen is the ticks' own,
  from its beginning to its end, and its candle fills nothing.
- A candle of any other minute fills, by the engine's rule for candles, the orders that were at the exchange
  with their present terms before it began. Of a later order nobody knows which of the prices came after it.
- It does so once: a candle that is told again fills nothing.
- A stop that a tick fires has new terms from then on; one that a candle fires from the end of its minute.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.units import to_us

_MINUTE = timedelta(minutes=1)
_MINUTE_US = 60_000_000
_KEPT_MAX = 2 * 24 * 60


class MissedMinutes:
    """What one exchange has seen. Candles are of a minute that begins with one of the clock, as sessions do."""

    def __init__(self) -> None:
        # Minutes since the epoch, by instrument: those that are not to be met any more.
        self._met: dict[Instrument, dict[int, None]] = {}
        # Since when an order has had its terms.
        self._since: dict[str, datetime] = {}

    def saw(self, tick: Tick) -> None:
        self._meet(tick.instrument, to_us(tick.at) // _MINUTE_US)

    def is_left(self, candle: Candle) -> bool:
        """Whether the candle is of a minute that nobody has met; asked again, it has been."""
        minute = to_us(candle.start) // _MINUTE_US
        if minute in self._met.get(candle.instrument, ()):
            return False
        self._meet(candle.instrument, minute)
        return True

    def changed(self, order_id: str, at: datetime) -> None:
        """An order came, or has other terms now."""
        self._since[order_id] = at

    def changed_in(self, order_id: str, candle: Candle) -> None:
        self._since[order_id] = candle.start + _MINUTE

    def ended(self, order_id: str) -> None:
        self._since.pop(order_id, None)

    def too_late_for(self, candle: Candle, order_ids: Iterable[str]) -> list[str]:
        """Those that were not there when the candle began."""
        return [order_id for order_id in order_ids if self._since[order_id] > candle.start]

    def _meet(self, instrument: Instrument, minute: int) -> None:
        met = self._met.setdefault(instrument, {})
        if minute not in met:
            met[minute] = None
            if len(met) > _KEPT_MAX:
                del met[next(iter(met))]
