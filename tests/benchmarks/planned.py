"""Orders that are split and wait for their instants, stored through the steps of the store."""

import asyncio
from collections.abc import Sequence

from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_domain.ports.order_store import SplitResult
from pulse_domain.testing.factories import new_order, plan

_AT_ONCE = 8


async def plan_orders(
    store: PostgresOrderStore, ids: RandomIds, orders: int, due_in_s: Sequence[float]
) -> None:
    """Store so many orders with a slice for each instant, counted from when an order is accepted.

    No worker may be splitting meanwhile.
    """
    quantities = [[10]] * len(due_in_s)
    total = 10 * len(due_in_s)
    await asyncio.gather(*(store.accept(new_order(ids, total_quantity=total)) for _ in range(orders)))
    claimed = await store.claim_orders(orders, "bench", 300)
    assert len(claimed) == orders, f"{len(claimed)} of {orders} orders were waiting"
    waiting = iter(claimed)

    async def save() -> None:
        for order in waiting:
            result = await store.save_split(order.order_id, plan(order, quantities, due_in_s=due_in_s))
            assert result is SplitResult.SAVED

    await asyncio.gather(*(save() for _ in range(_AT_ONCE)))
