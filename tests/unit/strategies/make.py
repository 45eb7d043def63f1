"""Candles made up of closes, and hosts of strategies: backtests, whose every fill is at the next open."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pulse_domain.backtest import (
    BacktestResult,
    BacktestSettings,
    CandleSeries,
    Strategy,
    TickSeries,
    run_backtest,
)
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.orders.model import Side
from pulse_domain.strategies import make_strategy
from pulse_domain.units import INDIA

TCS, INFY = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:INFY")
OPENS_AT = datetime(2026, 1, 5, 9, 15, tzinfo=INDIA)

# Short ones: a few candles say all. The stop is out of the way.
MACD = {
    "fast": 2, "slow": 4, "signal": 3, "trend": 8, "volume_length": 3, "atr_length": 2, "stop_atrs": 100,
}  # fmt: skip
RSI = {"rsi_length": 3, "trend": 4, "atr_length": 2, "stop_atrs": 100}

Order = tuple[int, str, int]  # after which candle, counted from 0; side; units


def candles(
    closes: Sequence[float],
    volumes: Sequence[int] | None = None,
    *,
    instrument: Instrument = TCS,
    reach: float = 0.5,
    minutes: int = 1,
    opens_at: datetime = OPENS_AT,
) -> CandleSeries:
    """Each opens where the one before closed, and reaches so many rupees beyond both."""
    made, before = [], closes[0]
    for number, close in enumerate(closes):
        start = opens_at + number * timedelta(minutes=minutes)
        prices = (before, max(before, close) + reach, min(before, close) - reach, close)
        volume = 1000 if volumes is None else volumes[number]
        open_, high, low, close_ = (Decimal(f"{price:.2f}") for price in prices)
        made.append(Candle(instrument, start, open_, high, low, close_, volume))
        before = close
    return CandleSeries.from_candles(made, interval=timedelta(minutes=minutes))


def run(
    kind: str | Strategy,
    series: CandleSeries | Sequence[CandleSeries | TickSeries],
    parameters: Mapping[str, Any] | None = None,
    **settings: Any,
) -> BacktestResult:
    strategy = make_strategy(kind, (), parameters or {}) if isinstance(kind, str) else kind
    return run_backtest(strategy, series, settings=BacktestSettings(**settings))


def orders(result: BacktestResult, instrument: Instrument = TCS, minutes: int = 1) -> list[Order]:
    """What was ordered, and at the close of which candle."""
    made = []
    for order in result.orders:
        if order.request.instrument == instrument:
            number, rest = divmod(order.journal[0].at - OPENS_AT, timedelta(minutes=minutes))
            assert not rest, "an order within a candle"
            made.append((number - 1, order.request.side.value, order.request.total_quantity))
    return made


def sides(result: BacktestResult) -> list[tuple[int, str]]:
    return [(number, side) for number, side, _ in orders(result)]


class Interrupted(Strategy):
    """Hosts another strategy; after so many candles that one is written down, and a new one goes on."""

    def __init__(self, kind: str, parameters: Mapping[str, Any], cut: int) -> None:
        self.kind, self.chosen, self.cut = kind, parameters, cut
        self.seen = 0

    def new(self) -> Strategy:
        made = make_strategy(self.kind, self.instruments, self.chosen)
        made.desk = self.desk
        return made

    def on_start(self) -> None:
        self.inner = self.new()
        self.inner.on_start()
        self.maybe_cut()

    def maybe_cut(self) -> None:
        if self.seen == self.cut:
            state = json.loads(json.dumps(self.inner.snapshot()))
            self.inner = self.new()
            self.inner.restore(state)
            assert self.inner.snapshot() == state

    def on_candle(self, candle: Candle) -> None:
        self.inner.on_candle(candle)
        self.seen += 1
        self.maybe_cut()


def told(strategy: Strategy, past: Iterable[Candle]) -> None:
    for candle in past:
        strategy.on_past_candle(candle)


def opposite(side: str) -> str:
    return Side.SELL.value if side == Side.BUY else Side.BUY.value
