"""A strategy: MACD 12/26/9 with the trend of an EMA of 200 and a trailing stop of two ATR.

    python examples/macd_trend.py [CANDLES.csv]
    pulse backtest run examples/macd_trend.py --candles NSE:TCS=CANDLES.csv --charges zerodha

It buys when the MACD crosses above its signal while the price is above the EMA of 200, and sells when it
crosses back or a candle closes below the stop, which only ever rises. `live.py` runs the same class against
an exchange. Without a file the candles are made up, and nothing can be earned on them.

It shows how one is written; `pulse backtest run macd` runs the one that is shipped.
"""

import sys
from datetime import timedelta
from decimal import Decimal

from pulse_domain.account import AccountSettings
from pulse_domain.backtest import (
    BacktestSettings,
    OrderUpdate,
    Strategy,
    run_backtest,
    synthetic_candles,
)
from pulse_domain.backtest.files import read_candles
from pulse_domain.charges import ZERODHA
from pulse_domain.indicators import Atr, Ema, Macd
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle

STOP_ATRS = 2.0


class Market:
    """What the strategy knows of one instrument."""

    def __init__(self, fast: int, slow: int, signal: int, trend: int) -> None:
        self.macd, self.trend, self.atr = Macd(fast, slow, signal), Ema(trend), Atr(14)
        self.crossed_up = self.crossed_down = False
        self.stop = 0.0
        self.order: str | None = None  # on its way

    def add(self, candle: Candle) -> None:
        close, before = float(candle.close), self.macd.histogram
        self.macd.add(close)
        self.trend.add(close)
        self.atr.add(float(candle.high), float(candle.low), close)
        now = self.macd.histogram
        if before is not None and now is not None:
            self.crossed_up, self.crossed_down = before <= 0 < now, before >= 0 > now


class MacdTrend(Strategy):
    """Trades every instrument that it gets candles of.

    warm_up: so many candles are looked at before the first order.
    """

    def __init__(
        self, quantity: int = 100, fast: int = 12, slow: int = 26, signal: int = 9, trend: int = 200
    ) -> None:
        self.quantity = quantity
        self.lengths = fast, slow, signal, trend
        self.warm_up = max(slow + signal, trend)
        self.markets: dict[Instrument, Market] = {}

    def on_candle(self, candle: Candle) -> None:
        instrument, close = candle.instrument, float(candle.close)
        market = self.markets.get(instrument)
        if market is None:
            market = self.markets[instrument] = Market(*self.lengths)
        market.add(candle)
        trend, atr = market.trend.value, market.atr.value
        if trend is None or atr is None or market.order:
            return
        floor = close - STOP_ATRS * atr
        if held := self.position(instrument):
            market.stop = max(market.stop, floor)
            if market.crossed_down or close < market.stop:
                market.order = self.sell(instrument, held)
        elif market.crossed_up and close > trend:
            market.stop = floor
            market.order = self.buy(instrument, self.quantity)

    def on_order_update(self, update: OrderUpdate) -> None:
        if update.done:
            self.markets[update.instrument].order = None


def main() -> None:
    tcs = Instrument.parse("NSE:TCS")
    if len(sys.argv) > 1:
        candles = read_candles(sys.argv[1], tcs)
    else:
        candles = synthetic_candles(tcs, days=240, interval=timedelta(minutes=15))
    settings = BacktestSettings(capital=Decimal(1_000_000), account=AccountSettings(charges=ZERODHA))

    result = run_backtest(MacdTrend(), candles, settings=settings)

    it = result.statistics
    print(candles)
    print(f"equity    {it.starting_equity:,} to {it.final_equity:,}, {it.total_return or 0:.2%}")
    print(f"drawdown  {it.max_drawdown:.2%}")
    print(f"charges   {it.charges:,} on a turnover of {it.turnover:,}")
    print(f"trades    {it.trades}, {it.wins} won, profit factor {it.profit_factor}")
    for order in result.orders[-4:]:
        [fill] = order.fills
        print(f"{fill.at:%Y-%m-%d %H:%M}  {fill.side:4} {fill.quantity} at {fill.price}")


if __name__ == "__main__":
    main()
