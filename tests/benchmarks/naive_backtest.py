"""The naive reference engine: what the fills of the benchmark's workload have to be. Run as a process.

Plain loops over all bars and all open orders, in whole numbers; nothing of Pulse is imported. Its one rule:
a market order that is due at some instant fills in full at the open of the first bar that starts at or after
it. Fills come by bar, then by the instant when their orders were due, then by submission.
"""

from collections.abc import Sequence

from tests.benchmarks.peers import data, worker


class Order:
    def __init__(self, number: int, due_us: int, quantity: int) -> None:
        self.number = number
        self.due_us = due_us
        self.quantity = quantity


def slices_of(number: int, start_us: int, quantity: int, slices: int, interval_us: int) -> list[Order]:
    """Cut a parent into equal market orders at equal distances."""
    part, rest = divmod(quantity, slices)
    if rest:
        raise ValueError(f"{quantity} is not a multiple of {slices}")
    return [Order(number * slices + i, start_us + i * interval_us, part) for i in range(slices)]


def make_orders(starts_us: Sequence[int], parents: int) -> list[Order]:
    orders: list[Order] = []
    for number in range(parents):
        bar = data.FIRST_PARENT + number * data.PARENT_EVERY
        quantity = data.SLICES * data.SLICE_QUANTITY
        if number % 2 == 1:
            quantity = -quantity
        interval_us = data.SLICE_EVERY * data.MINUTE_US
        orders += slices_of(number, starts_us[bar], quantity, data.SLICES, interval_us)
    return orders


def fill(starts_us: Sequence[int], opens: Sequence[int], orders: Sequence[Order]) -> list[worker.Row]:
    waiting = sorted(orders, key=lambda order: (order.due_us, order.number))
    open_orders: list[Order] = []
    rows: list[worker.Row] = []
    following = 0
    for bar in range(len(starts_us)):
        start_us, price = starts_us[bar], opens[bar]
        # Orders that are due by the start of this bar are on the market.
        while following < len(waiting) and waiting[following].due_us <= start_us:
            open_orders.append(waiting[following])
            following += 1
        still_open: list[Order] = []
        for order in open_orders:
            if order.due_us <= start_us:
                rows.append((start_us, 0, order.quantity, price))
            else:
                still_open.append(order)
        open_orders = still_open
    return rows


def main() -> None:
    args = worker.arguments()
    bars = data.make_bars(args.parents)
    starts_us = [int(start) for start in bars.start_us]
    opens = [round(float(price) * data.TICKS_PER_RUPEE) * data.UNITS_PER_TICK for price in bars.open]
    seconds, rows = worker.timed(lambda: fill(starts_us, opens, make_orders(starts_us, args.parents)))
    worker.tell(seconds=seconds, rss_mb=worker.peak_rss_mb(), fills=len(rows), digest=worker.digest(rows))


if __name__ == "__main__":
    main()
