"""Pulse: parents as TWAP orders, or the slices as market orders out of a strategy's callback, or that alone.

Timed is more than what is timed of the peers: taking the columns in, making the orders, the run with the full
history of every order, and the hash of all fills.
"""

import time
from collections.abc import Iterable
from decimal import Decimal

from pulse_domain.backtest import BacktestResult, BacktestSettings, CandleSeries, TimedOrder, run_backtest
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.orders.events import ExecutionAccepted, ExecutionClaimed, ExecutionFilled
from pulse_domain.orders.model import OrderRequest, Product, Side, SplitConfig
from pulse_domain.orders.status import OrderState
from pulse_domain.strategy import Strategy
from pulse_domain.units import to_time, to_units, to_us
from tests.benchmarks.peers import data, worker

BENCH = Instrument.parse("NSE:BENCH")
SETTINGS = BacktestSettings(capital=Decimal(1_000_000_000))
SPLIT = SplitConfig(
    num_splits=data.SLICES, duration_minutes=(data.SLICES - 1) * data.SLICE_EVERY, randomize=False
)


class Orders(Strategy):
    def __init__(self, due: dict[int, int]) -> None:
        self.due = due
        self.bars = 0

    def on_candle(self, candle: Candle) -> None:
        self.bars += 1
        # This bar has ended, and the next one starts now.
        quantity = self.due.get(self.bars)
        if quantity is not None:
            if quantity > 0:
                self.buy(BENCH, quantity, product=Product.MIS)
            else:
                self.sell(BENCH, -quantity, product=Product.MIS)


class Bars(Strategy):
    def __init__(self) -> None:
        self.bars = 0
        self.last = Decimal(0)

    def on_candle(self, candle: Candle) -> None:
        self.bars += 1
        self.last = candle.close


def parent_orders(bars: data.Bars, parents: int) -> list[TimedOrder]:
    return [
        TimedOrder(
            request=OrderRequest(
                instrument=BENCH,
                side=Side.BUY if side > 0 else Side.SELL,
                total_quantity=data.SLICES * data.SLICE_QUANTITY,
                split_config=SPLIT,
                product=Product.MIS,
            ),
            at=to_time(int(bars.start_us[first])),
        )
        for first, side in data.parents_at(parents)
    ]


def run(bars: data.Bars, trades: Strategy | Iterable[TimedOrder]) -> tuple[BacktestResult, str]:
    series = CandleSeries.from_columns(
        BENCH,
        start=bars.start_us,
        open=bars.open,
        high=bars.high,
        low=bars.low,
        close=bars.close,
        volume=bars.volume,
    )
    result = run_backtest(trades, series, settings=SETTINGS)
    return result, result.fills_digest()


def measure(parents: int, kind: str) -> tuple[float, BacktestResult, str, int]:
    bars = data.make_bars(parents)
    if kind == "twap":
        seconds, (result, fills) = worker.timed(lambda: run(bars, parent_orders(bars, parents)))
        return seconds, result, fills, len(bars.start_us)
    strategy = Orders(data.children_at(parents)) if kind == "orders" else Bars()
    seconds, (result, fills) = worker.timed(lambda: run(bars, strategy))
    return seconds, result, fills, strategy.bars


def check_histories(result: BacktestResult) -> str:
    """Fold every order's journal by the state machine; give the digest of the journals' fills."""
    rows = []
    for order in result.orders:
        if order.summary.state is not OrderState.FILLED:
            raise SystemExit(f"the journal of {order.order_unique_key} leads to {order.summary.state}")
        events = [entry.event for entry in order.journal]
        for kind in (ExecutionClaimed, ExecutionAccepted, ExecutionFilled):
            if sum(isinstance(event, kind) for event in events) != len(order.slices):
                raise SystemExit(f"the journal of {order.order_unique_key} lacks an {kind.__name__}")
        sign = 1 if order.request.side is Side.BUY else -1
        rows += [
            (to_us(event.fill.at), 0, sign * event.fill.quantity, to_units(event.fill.price))
            for event in events
            if isinstance(event, ExecutionFilled)
        ]
    return worker.digest(sorted(rows))


def main() -> None:
    args = worker.arguments(run=("twap", "orders", "bars"), check=None)
    measure(data.TINY, args.run)
    seconds, result, fills, bars = measure(args.parents, args.run)
    figures = {
        "seconds": seconds,
        "rss_mb": worker.peak_rss_mb(),
        "bars": bars,
        "fills": len(result.fills),
        "digest": fills,
    }
    if args.check:
        result.check()
        began = time.perf_counter()
        figures["history_digest"] = check_histories(result)
        figures["histories_seconds"] = time.perf_counter() - began
        figures["histories_rss_mb"] = worker.peak_rss_mb()
    worker.tell(**figures)


if __name__ == "__main__":
    main()
