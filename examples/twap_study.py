"""What slicing saves: the same order on many days, at once, as TWAP and as VWAP.

    python examples/twap_study.py [CANDLES.csv]
    pulse backtest run examples/twap_study.py --candles NSE:TCS=CANDLES.csv --slippage-bps 2

Each day 20,000 units are bought from 09:30 to 15:00. A fill moves the price against itself by 7 basis points
times the square root of its share of the candle's volume. The volume curve of the VWAP comes from the first
20 days, on which nothing is bought, so no order knows the volume of its own day. Without a file the candles
are made up.
"""

import sys
from collections.abc import Sequence
from datetime import datetime, time
from decimal import Decimal
from math import sqrt
from statistics import fmean, stdev

from pulse_domain.backtest import (
    BacktestSettings,
    CandleSeries,
    TickSeries,
    TimedOrder,
    run_backtest,
    synthetic_candles,
)
from pulse_domain.backtest.files import read_candles
from pulse_domain.instruments import Instrument
from pulse_domain.matching import MatchingSettings, VolumeImpact
from pulse_domain.orders.model import OrderRequest, Side
from pulse_domain.splitting import INDIA, Schedule, Twap, VolumeCurve, Vwap, Weighted

QUANTITY, SLICES = 20_000, 24
BEGIN, END = time(9, 30), time(15, 0)
HISTORY_DAYS = 20
IMPACT = MatchingSettings(slippage=VolumeImpact(Decimal("0.0007")), slip_beyond_candle=True)
# Capital for all the days, since nothing is sold again.
SETTINGS = BacktestSettings(matching=IMPACT, capital=Decimal(100_000_000_000))


def orders(data: Sequence[CandleSeries | TickSeries]) -> list[TimedOrder]:
    """What `pulse backtest run` executes: the study's TWAP orders."""
    return one_a_day(data[0], Twap(SLICES))


def one_a_day(series: CandleSeries | TickSeries, schedule: Schedule) -> list[TimedOrder]:
    request = OrderRequest(instrument=series.instrument, side=Side.BUY, total_quantity=QUANTITY)
    return [
        TimedOrder(
            request=request,
            schedule=schedule,
            at=datetime.combine(day, BEGIN, INDIA),
            ends_at=datetime.combine(day, END, INDIA),
        )
        for day in series.days()[HISTORY_DAYS:]
    ]


def history(candles: CandleSeries) -> VolumeCurve:
    last_day = candles.days()[HISTORY_DAYS]
    return VolumeCurve.from_candles(candle for candle in candles if candle.start.date() < last_day)


def main() -> None:
    tcs = Instrument.parse("NSE:TCS")
    candles = read_candles(sys.argv[1], tcs) if len(sys.argv) > 1 else synthetic_candles(tcs, days=250)
    if len(candles.days()) < HISTORY_DAYS + 2:
        sys.exit(f"there must be more than {HISTORY_DAYS + 1} days of candles")
    schedules: dict[str, Schedule] = {
        "at once": Weighted([1]),
        f"TWAP, {SLICES} slices": Twap(SLICES),
        f"VWAP, {SLICES} slices": Vwap(SLICES, history(candles)),
    }
    print(
        f"{QUANTITY:,} {tcs} a day from {BEGIN:%H:%M} to {END:%H:%M}, {len(candles.days()) - HISTORY_DAYS} days"
    )
    print("costs in basis points   to the price at arrival    to the VWAP of its time     share of")
    print("                        mean ± error   spread      mean ± error   spread     the volume")
    for name, schedule in schedules.items():
        result = run_backtest(one_a_day(candles, schedule), candles, settings=SETTINGS)
        qualities = [order.quality for order in result.orders]
        arrival = spread([it.slippage_vs_arrival_bps for it in qualities])
        vwap = spread([it.slippage_vs_vwap_bps for it in qualities])
        share = fmean(float(it.participation or 0) for it in qualities)
        print(f"{name:20} {arrival} {vwap} {share:14.1%}")


def spread(costs: Sequence[Decimal | None]) -> str:
    known = [float(cost) for cost in costs if cost is not None]
    return f"{fmean(known):8.1f} ± {stdev(known) / sqrt(len(known)):4.1f} {stdev(known):9.1f}  "


if __name__ == "__main__":
    main()
