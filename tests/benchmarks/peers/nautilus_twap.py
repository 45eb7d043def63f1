"""NautilusTrader: parents through its own TWAP algorithm, a Python callback on every bar.

Favoured by what is not timed or not done: making its bars and engine, logging, and the analysis after the run.
"""

from decimal import Decimal

import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.examples.algorithms.twap import TWAPExecAlgorithm
from nautilus_trader.model.currencies import INR
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide, OrderStatus
from nautilus_trader.model.identifiers import ExecAlgorithmId, InstrumentId, Symbol, TraderId, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

from tests.benchmarks.peers import data, worker

VENUE = Venue("NSE")
BENCH = InstrumentId(Symbol("BENCH"), VENUE)
BAR_TYPE = BarType.from_str(f"{BENCH}-1-MINUTE-LAST-EXTERNAL")
TWAP = {"horizon_secs": data.SLICES * data.SLICE_EVERY * 60, "interval_secs": data.SLICE_EVERY * 60}


class Parents(Strategy):  # type: ignore[misc]  # it publishes no types
    def __init__(self, due: dict[int, int]) -> None:
        super().__init__()
        self.due = due
        self.seen = 0

    def on_start(self) -> None:
        self.subscribe_bars(BAR_TYPE)

    def on_bar(self, bar: Bar) -> None:
        self.seen += 1
        # This bar has ended, and the next one starts now.
        side = self.due.get(self.seen)
        if side is not None:
            self.submit_order(
                self.order_factory.market(
                    instrument_id=BENCH,
                    order_side=OrderSide.BUY if side > 0 else OrderSide.SELL,
                    quantity=Quantity.from_int(data.SLICES * data.SLICE_QUANTITY),
                    exec_algorithm_id=ExecAlgorithmId("TWAP"),
                    exec_algorithm_params=TWAP,
                )
            )


def make_engine(parents: int) -> tuple[BacktestEngine, Parents]:
    instrument = Equity(
        instrument_id=BENCH,
        raw_symbol=Symbol("BENCH"),
        currency=INR,
        price_precision=2,
        price_increment=Price.from_str("0.05"),
        lot_size=Quantity.from_int(1),
        ts_event=0,
        ts_init=0,
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
    )
    config = BacktestEngineConfig(
        trader_id=TraderId("BENCH-001"), logging=LoggingConfig(bypass_logging=True), run_analysis=False
    )
    engine = BacktestEngine(config)
    engine.add_venue(
        venue=VENUE,
        oms_type=OmsType.NETTING,
        account_type=AccountType.CASH,
        base_currency=INR,
        starting_balances=[Money(1_000_000_000, INR)],
    )
    engine.add_instrument(instrument)
    bars = data.make_bars(parents)
    columns = {name: getattr(bars, name) for name in ("open", "high", "low", "close")}
    columns["volume"] = bars.volume.astype("float64")
    ends = pd.to_datetime(bars.start_us + data.MINUTE_US, unit="us", utc=True)
    engine.add_data(BarDataWrangler(BAR_TYPE, instrument).process(pd.DataFrame(columns, index=ends)))
    strategy = Parents(dict(data.parents_at(parents)))
    engine.add_strategy(strategy)
    engine.add_exec_algorithm(TWAPExecAlgorithm())
    return engine, strategy


def rows(engine: BacktestEngine) -> list[worker.Row]:
    found = []
    for order in engine.cache.orders():
        if order.status != OrderStatus.FILLED:
            raise SystemExit(f"an order is {order.status_string()}")
        sign = 1 if order.side == OrderSide.BUY else -1
        price = round(order.avg_px * data.TICKS_PER_RUPEE) * data.UNITS_PER_TICK
        found.append((order.ts_last // 1000, 0, sign * int(order.filled_qty), price))
    return sorted(found)


def main() -> None:
    args = worker.arguments()
    warm, _ = make_engine(data.TINY)
    warm.run()
    warm.dispose()
    engine, strategy = make_engine(args.parents)
    seconds, _ = worker.timed(engine.run)
    rss = worker.peak_rss_mb()
    fills = rows(engine)
    worker.tell(seconds=seconds, rss_mb=rss, bars=strategy.seen, fills=len(fills), digest=worker.digest(fills))


if __name__ == "__main__":
    main()
