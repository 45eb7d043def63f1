"""A large order of a future: 9,000 NIFTY in lots of 75, where one order may have 1,800 at most.

    python examples/nifty_freeze.py [CANDLES.csv]
    pulse backtest run examples/nifty_freeze.py --candles NFO:NIFTY25NOVFUT=CANDLES.csv \\
        --lot 75 --tick 0.10 --freeze 1800 --capital 300000000 --charges zerodha

It is bought in four slices in half an hour and sold in the afternoon. A slice of 2,250 units is above the
freeze quantity, so it goes out as 1,800 and 450. Lot, freeze quantity and margin are those of November 2025,
roughly; a broker's files have the true ones. The command blocks the full value, having no option for margins.
"""

import sys
from collections.abc import Sequence
from datetime import date, datetime, time
from decimal import Decimal

from pulse_domain.account import AccountSettings, Margin
from pulse_domain.backtest import (
    BacktestSettings,
    CandleSeries,
    TickSeries,
    TimedOrder,
    run_backtest,
    synthetic_candles,
)
from pulse_domain.backtest.files import read_candles
from pulse_domain.charges import ZERODHA, Segment
from pulse_domain.errors import MissingExtra
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.model import OrderRequest, Product, Side, SplitConfig
from pulse_domain.splitting import INDIA

NIFTY = Instrument.parse("NFO:NIFTY25NOVFUT")
TERMS = InstrumentTerms(lot_size=75, tick_size=Decimal("0.10"), freeze_quantity=1_800)
MARGIN = Margin(long=Decimal("0.12"), short=Decimal("0.12"))
SETTINGS = BacktestSettings(
    capital=Decimal(40_000_000),
    account=AccountSettings(margins={(Product.NRML, Segment.FUTURES): MARGIN}, charges=ZERODHA),
    terms={NIFTY: TERMS},
)


def orders(data: Sequence[CandleSeries | TickSeries]) -> list[TimedOrder]:
    day = data[0].days()[0]
    return [
        TimedOrder(
            at=datetime.combine(day, at, INDIA),
            order_unique_key=key,
            request=OrderRequest(
                instrument=data[0].instrument,
                side=side,
                total_quantity=9_000,
                split_config=SplitConfig(num_splits=4, duration_minutes=30, randomize=False),
            ),
        )
        for key, side, at in (("in", Side.BUY, time(9, 30)), ("out", Side.SELL, time(14, 30)))
    ]


def main() -> None:
    if len(sys.argv) > 1:
        candles = read_candles(sys.argv[1], NIFTY)
    else:
        candles = synthetic_candles(
            NIFTY, days=1, price=Decimal(25_500), tick_size=TERMS.tick_size, first_day=date(2025, 11, 3)
        )

    result = run_backtest(orders([candles]), candles, settings=SETTINGS)

    for order in result.orders:
        quality = order.quality
        print(f"{order.order_unique_key}: {order.request.side} {order.request.total_quantity:,} {NIFTY}")
        for fill in order.fills:
            print(f"  {fill.at:%H:%M}  slice {fill.seq}.{fill.chunk}  {fill.quantity:5,} at {fill.price}")
        print(f"  average {quality.average_price}, {quality.slippage_vs_arrival_bps} bp against the arrival")
    statistics = result.statistics
    bought = run_backtest(orders([candles])[:1], candles, settings=SETTINGS)
    print(f"margin    {bought.funds.blocked:,} of {SETTINGS.capital:,} while it is held")
    print(f"charges   {statistics.charges:,}")
    print(f"result    {statistics.realised - statistics.charges:,}")
    result.check()
    try:
        print(f"report    {result.report('nifty_freeze.html', title='9,000 NIFTY')}")
    except MissingExtra as missing:
        print(f"no report: {missing}")


if __name__ == "__main__":
    main()
