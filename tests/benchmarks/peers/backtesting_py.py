"""backtesting.py: the slices as 10,000 market orders out of its callback, or the callback on every bar alone.

Favoured by what is not timed: making its data frame. It shows no progress bar where TQDM_DISABLE is set.
"""

from typing import Any

import pandas as pd
from backtesting import Backtest, Strategy

from tests.benchmarks.peers import data, worker


class Counting(Strategy):  # type: ignore[misc]  # it publishes no types
    bar = 0

    def init(self) -> None:
        pass


class Orders(Counting):
    due: dict[int, int] = {}  # noqa: RUF012  # a parameter, as this library knows them

    def next(self) -> None:
        self.bar += 1
        # An order that is sent at the end of this bar meets the next one's open.
        quantity = self.due.get(self.bar + 1)
        if quantity is not None:
            if quantity > 0:
                self.buy(size=quantity)
            else:
                self.sell(size=-quantity)


class Bars(Counting):
    last = 0.0

    def next(self) -> None:
        self.bar += 1
        self.last = self.data.Close[-1]


def make_test(parents: int, strategy: type[Strategy]) -> Backtest:
    bars = data.make_bars(parents)
    columns = {name.capitalize(): getattr(bars, name) for name in ("open", "high", "low", "close", "volume")}
    index = pd.to_datetime(bars.start_us, unit="us")
    return Backtest(pd.DataFrame(columns, index=index), strategy, cash=1_000_000_000)


def rows(result: Any) -> list[worker.Row]:
    """Its trades are pairs of fills: the order that opened each, and the one that closed it."""
    found = []
    for trade in result["_trades"].itertuples():
        for at, price, quantity in (
            (trade.EntryTime, trade.EntryPrice, trade.Size),
            (trade.ExitTime, trade.ExitPrice, -trade.Size),
        ):
            units = round(price * data.TICKS_PER_RUPEE) * data.UNITS_PER_TICK
            found.append((at.value // 1000, 0, int(quantity), units))
    return sorted(found)


def main() -> None:
    args = worker.arguments(run=("orders", "bars"))
    strategy = Orders if args.run == "orders" else Bars
    Orders.due = data.children_at(data.TINY)
    make_test(data.TINY, strategy).run()
    Orders.due = data.children_at(args.parents)
    test = make_test(args.parents, strategy)
    seconds, result = worker.timed(test.run)
    rss = worker.peak_rss_mb()
    fills = rows(result)
    bars = result["_strategy"].bar + 1  # it is called from the second bar on
    worker.tell(seconds=seconds, rss_mb=rss, bars=bars, fills=len(fills), digest=worker.digest(fills))


if __name__ == "__main__":
    main()
