"""The rules of the shipped strategies once more, over whole columns of a kept library, and slowly.

Orders fill at the next open of the day, in full, and after its last candle not at all. Quantities are those of
`max_quantity`.
"""

from typing import Any

import numpy
import talib

from pulse_domain.backtest import CandleSeries
from pulse_domain.units import INDIA, PRICE_UNITS, to_time
from tests.unit.strategies.make import Order

LONG, SHORT = 1, -1


def expected_orders(kind: str, series: CandleSeries, p: dict[str, Any]) -> list[Order] | None:
    """None where a signal hangs on the last bits of a float."""
    high, low, close = (
        numpy.array(it, dtype=float) / PRICE_UNITS for it in (series.high, series.low, series.close)
    )
    volume = numpy.array(series.volume, dtype=float)
    trend = talib.EMA(close, p["trend"])
    atr = talib.ATR(high, low, close, p["atr_length"])
    if kind == "macd":
        line = talib.MACD(close, p["fast"], p["slow"], p["signal"])[2]
        average = talib.SMA(volume, p["volume_length"])
        levels = {LONG: (0.0, 0.0), SHORT: (0.0, 0.0)}
    else:
        line = talib.RSI(close, p["rsi_length"])
        levels = {LONG: (p["enter"], p["leave"]), SHORT: (100 - p["enter"], 100 - p["leave"])}
    if any(abs(value - level) < 1e-9 for value in line for both in levels.values() for level in both):
        return None

    orders: list[Order] = []
    side, stop, held, leaving = 0, 0.0, 0, False
    for i in range(len(close)):
        ends_at = to_time(series.start_us[i] + series.interval_us).astimezone(INDIA)
        day_is_over = (
            i + 1 < len(close) and to_time(series.start_us[i + 1]).astimezone(INDIA).date() != ends_at.date()
        )
        late = p["flat_at"] != "never" and f"{ends_at:%H:%M}" >= p["flat_at"]
        if side:
            held += 1
            beyond = (line[i] - levels[side][1]) * side < 0
            stopped = (close[i] - stop) * side <= 0
            too_long = kind == "rsi" and p["hold_candles"] and held >= p["hold_candles"]
            if leaving or beyond or stopped or late or too_long:
                orders.append((i, "SELL" if side == LONG else "BUY", p["max_quantity"]))
                leaving = True
                if not day_is_over:
                    side, leaving = 0, False
        elif i and not late:
            for way in (LONG, SHORT) if p["short"] else (LONG,):
                level = levels[way][0]
                crossed = (line[i - 1] - level) * way <= 0 < (line[i] - level) * way
                with_trend = (close[i] - trend[i]) * way > 0
                enough = kind == "rsi" or not p["use_volume"] or volume[i] > p["volume_factor"] * average[i]
                if crossed and with_trend and enough and not numpy.isnan(atr[i]):
                    orders.append((i, "BUY" if way == LONG else "SELL", p["max_quantity"]))
                    if not day_is_over:
                        side, stop, held = way, close[i] - way * p["stop_atrs"] * atr[i], 0
    return orders
