"""Made-up candles, for trying things out before there is data.

A price wanders over whole ticks, faster near the open and the close than at noon, with a jump over night; the
volume has the same shape over the day. Nothing in it can be predicted, so no strategy earns on it but by luck.

Only sums, products and square roots of what `Random.random` draws decide: the same arguments give the same
candles on every machine and every version of Python.
"""

from array import array
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import sqrt
from random import Random

from pulse_domain.backtest.series import CandleSeries
from pulse_domain.instruments import Instrument
from pulse_domain.units import INDIA, to_units, to_us

FIRST_DAY = date(2026, 1, 5)

_OPEN = time(9, 15)
_SESSION = timedelta(hours=6, minutes=15)
_WEEK = 5
# What a price commonly moves in a day, as a fraction, and the part of it that happens over night.
_DAY_MOVE = 0.014
_NIGHT_SHARE = 0.25
_STEPS = 6  # of the price within one candle
_SQRT_3 = sqrt(3)
_U_DEPTH = 3.0  # how much busier the ends of a session are than its middle


def synthetic_candles(
    instrument: Instrument | str,
    *,
    days: int = 5,
    seed: int = 0,
    interval: timedelta = timedelta(minutes=1),
    price: Decimal = Decimal(1000),
    tick_size: Decimal = Decimal("0.05"),
    daily_volume: int = 1_000_000,
    first_day: date = FIRST_DAY,
) -> CandleSeries:
    """Make up the candles of an instrument, 09:15 to 15:30 Indian time on weekdays.

    instrument: or its text, such as `NSE:TCS`. Equal seeds give equal paths, whatever the instrument.
    days: of trading, from `first_day` or the Monday after it on.
    price: where it begins, in rupees.
    daily_volume: about how many units trade in a day.
    """
    if isinstance(instrument, str):
        instrument = Instrument.parse(instrument)
    tick = to_units(tick_size)
    level = to_units(price) / tick if tick > 0 else 0.0
    if days < 1 or interval <= timedelta() or daily_volume < 0 or level < 1:
        raise ValueError("days, interval, price and tick_size must be above 0, and daily_volume not below it")
    interval_us = interval // timedelta.resolution
    session_us = _SESSION // timedelta.resolution
    offsets = range(0, session_us, interval_us)
    shape = [_busy((offset + min(interval_us, session_us - offset) / 2) / session_us) for offset in offsets]
    calm = sum(shape)
    # By the square root: moves add up by their squares.
    reach = [_DAY_MOVE * sqrt((1 - _NIGHT_SHARE) * busy / calm / _STEPS) for busy in shape]
    night = _DAY_MOVE * sqrt(_NIGHT_SHARE)

    rng = Random(seed)  # noqa: S311 (prices for trying things out)
    columns = tuple(array("q") for _ in range(6))
    starts, opens, highs, lows, closes, volumes = columns
    for number, day in enumerate(_weekdays(first_day, days)):
        begins_us = to_us(datetime.combine(day, _OPEN, INDIA))
        if number:
            level = max(1.0, level * (1 + night * _normal(rng)))
        traded = daily_volume * (0.5 + rng.random()) / calm
        for offset, busy, move in zip(offsets, shape, reach, strict=True):
            seen = [round(level)]
            for _ in range(_STEPS):
                level = max(1.0, level * (1 + move * _normal(rng)))
                seen.append(round(level))
            starts.append(begins_us + offset)
            opens.append(seen[0] * tick)
            highs.append(max(seen) * tick)
            lows.append(min(seen) * tick)
            closes.append(seen[-1] * tick)
            volumes.append(int(traded * busy * (0.5 + rng.random())))
    return CandleSeries(instrument, columns, interval_us=interval_us)


def _busy(part: float) -> float:
    """How much goes on at a part of the session, from 0 to 1, as against its middle."""
    return 1 + _U_DEPTH * (2 * part - 1) ** 2


def _normal(rng: Random) -> float:
    """Of mean 0 and spread 1, and near enough to normal: a sum of even draws."""
    return (rng.random() + rng.random() + rng.random() + rng.random() - 2) * _SQRT_3


def _weekdays(first: date, count: int) -> list[date]:
    days: list[date] = []
    while len(days) < count:
        if first.weekday() < _WEEK:
            days.append(first)
        first += timedelta(days=1)
    return days
