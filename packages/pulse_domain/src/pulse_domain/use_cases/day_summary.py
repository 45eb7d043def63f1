"""What became of a day's orders, in figures."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from pulse_domain.orders.execution import trading_day_start
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import START_AHEAD_MAX, Order
from pulse_domain.orders.slices import Slice
from pulse_domain.ports.order_store import OrderStore

_PAGE = 200
# The longest window, and a weekend's holidays for one that waits for the market to open.
_REACH = START_AHEAD_MAX + timedelta(days=7)


class DayFigures(Struct, frozen=True, kw_only=True):
    """orders: of those whose window touches the day, how many are in each state.
    slices: of their slices, how many have each outcome; those without one by their stage.
    filled_value: rupees, of the day's fills, bought and sold alike."""

    orders: Mapping[str, int]
    slices: Mapping[str, int]
    fills: int
    filled_value: Decimal


class DaySummary:
    def __init__(self, store: OrderStore) -> None:
        self._store = store

    async def __call__(self, at: datetime) -> DayFigures:
        """Count the trading day that `at` lies in.

        Raises:
            StorageUnavailable: the store does not answer.
        """
        begins = trading_day_start(at)
        ends = begins + timedelta(days=1)
        orders, slices = Counter[str](), Counter[str]()
        fills, value = 0, Decimal(0)
        before: OrderId | None = None
        while True:
            views = await self._store.list_orders(None, limit=_PAGE, before=before)
            for view in views:
                if not _touches(view.order, begins, ends):
                    continue
                orders[view.summary.state] += 1
                for part in await self._store.slices(view.order.order_id):
                    slices[part.outcome or part.stage] += 1
                    for quantity, price in _fills(part, begins, ends):
                        fills += 1
                        value += quantity * price
            if len(views) < _PAGE or views[-1].order.created_at < begins - _REACH:
                return DayFigures(orders=orders, slices=slices, fills=fills, filled_value=value)
            before = views[-1].order.order_id


def _touches(order: Order, begins: datetime, ends: datetime) -> bool:
    return order.starts_at < ends and order.ends_at >= begins


def _fills(part: Slice, begins: datetime, ends: datetime) -> list[tuple[int, Decimal]]:
    return [
        (fill.quantity, fill.price)
        for execution in part.executions
        for fill in execution.fills
        if begins <= fill.at < ends
    ]
