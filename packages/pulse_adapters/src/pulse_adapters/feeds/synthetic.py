"""Made-up prices: a pure function of (seed, instrument, instant), so that everybody who asks, however
often, sees the same continuous path.

The path is a sum of waves of random height, each twice as long as the one before: the sum wanders
like a random walk, yet any instant of it can be computed alone. It runs on a clock of its own that is
fast near the open and the close and slow at noon, as trading is.
"""

import struct
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from hashlib import blake2b
from math import floor

from pulse_adapters.feeds.levels import level_of, tick_of
from pulse_domain.instruments import Instrument
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.market_data import Quote

SESSION_S = 22_500  # 09:15 to 15:30
_IST = timezone(timedelta(hours=5, minutes=30))
_FIRST_OPEN = datetime(2020, 1, 1, 9, 15, tzinfo=_IST)
_DAY_S = 86_400

# How much busier the open and the close are than an even pace, in units of the noon's pace.
_U_DEPTH = 3.0
# Waves of 4 s to about six sessions. Long waves keep the price near its level for good.
_WAVES = 16
_SHORTEST_WAVE_S = 4.0
# Half of what a price commonly moves from one session to the next.
_SESSION_RETURN = 0.007
_HEIGHTS = [_SESSION_RETURN * (_SHORTEST_WAVE_S * 2**k / SESSION_S) ** 0.5 for k in range(_WAVES)]


class SyntheticFeed:
    """Quotes for any instrument, at any time: outside the session's hours the session starts again.

    `volume` counts from the start of the session, which is 09:15 or one of its repetitions.
    """

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self._clock = clock
        self._seed = seed

    def tick_size(self, instrument: Instrument) -> Decimal:
        """The instrument's tick: that of its price band, which does not change while the price wanders."""
        return tick_of(instrument, level_of(instrument, self._seed))

    async def quote(self, instrument: Instrument) -> Quote:
        """Never raises."""
        return self.quote_at(instrument, self._clock.now())

    def quote_at(self, instrument: Instrument, at: datetime) -> Quote:
        """The quote of any instant, past or future."""
        level = level_of(instrument, self._seed)
        tick = tick_of(instrument, level)
        dice = _Dice(self._seed, instrument)
        elapsed_s = (at - _FIRST_OPEN).total_seconds()
        day, day_s = divmod(elapsed_s, _DAY_S)
        lap, session_s = divmod(day_s, SESSION_S)
        pace_s = (day * _day_pace_s() + lap * SESSION_S) + _pace(session_s / SESSION_S) * SESSION_S
        middle = level * (1 + _wander(dice, pace_s)) / float(tick)
        second = floor(elapsed_s)
        spread = (1, 1, 1, 2, 2, 3)[int(6 * dice.share(_SPREAD, second // 5))]
        bid = max(1, floor(middle - (spread - 1) / 2))
        ask = bid + spread
        last = ask if dice.share(_TAKER, second) < 0.5 else bid
        turnover = 2_000_000_000 * (0.5 + dice.share(_TURNOVER, int(day * 8 + lap)))
        return Quote(
            instrument=instrument,
            at=at,
            last_price=last * tick,
            bid=bid * tick,
            ask=ask * tick,
            volume=int(turnover / level * _pace(session_s / SESSION_S)),
        )


_SPREAD, _TAKER, _TURNOVER = 100, 101, 102  # streams of the dice; the waves use 0 to _WAVES


class _Dice:
    """Random numbers that are looked up, not drawn: by stream and index."""

    def __init__(self, seed: int, instrument: Instrument) -> None:
        self._key = blake2b(f"{seed}/{instrument}".encode(), digest_size=16).digest()

    def share(self, stream: int, index: int) -> float:
        """Even between 0 and 1."""
        digest = blake2b(struct.pack(">Bq", stream, index), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest) / 2**64


def _wander(dice: _Dice, pace_s: float) -> float:
    """The relative distance from the level."""
    total = 0.0
    length = _SHORTEST_WAVE_S
    for wave, height in enumerate(_HEIGHTS):
        index, along = divmod(pace_s / length, 1.0)
        before, after = dice.share(wave, int(index)), dice.share(wave, int(index) + 1)
        total += height * (2 * (before + (after - before) * along) - 1)
        length *= 2
    return total


def _pace(x: float) -> float:
    """The part of a session's trading done by its part `x`: the integral of a U-shaped curve."""
    return (x + _U_DEPTH * ((2 * x - 1) ** 3 + 1) / 6) / (1 + _U_DEPTH / 3)


def _day_pace_s() -> float:
    """Sessions and the part of one that fit between one 09:15 and the next."""
    laps, rest_s = divmod(_DAY_S, SESSION_S)
    return laps * SESSION_S + _pace(rest_s / SESSION_S) * SESSION_S
