"""Look at orders."""

from pulse_domain.errors import NotFound
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.slices import Slice
from pulse_domain.ports.order_store import OrderStore, OrderView


class ReadOrders:
    """client_id None sees every client's orders."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store

    async def get(self, order_id: OrderId, client_id: ClientId | None) -> OrderView:
        """One order.

        Raises:
            NotFound: there is no such order for this client.
        """
        view = await self._store.get(order_id, client_id)
        if view is None:
            raise NotFound("there is no such order", order_id=order_id)
        return view

    async def slices(self, order_id: OrderId, client_id: ClientId | None) -> list[Slice]:
        """The slices of one order; empty until it is split. Raises `NotFound` as `get` does."""
        await self.get(order_id, client_id)
        return await self._store.slices(order_id)

    async def page(
        self, client_id: ClientId | None, *, limit: int, before: OrderId | None
    ) -> tuple[list[OrderView], OrderId | None]:
        """Newest first, with the cursor of the next page; None where this is the last."""
        views = await self._store.list_orders(client_id, limit=limit + 1, before=before)
        return views[:limit], views[limit - 1].order.order_id if len(views) > limit else None
