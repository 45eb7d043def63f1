"""Hold an order back for a while, and let it go on."""

from pulse_domain.errors import NotFound, NotPausable
from pulse_domain.orders.ids import OrderId
from pulse_domain.ports.order_store import OrderStore, OrderView, PauseResult
from pulse_domain.ports.work_queue import Job, JobKind, WorkQueue


class PauseOrder:
    """While an order is paused nothing of it is sent. What is at the broker stays there, and what its window
    leaves behind lapses, as always."""

    def __init__(self, store: OrderStore, queue: WorkQueue) -> None:
        self._store = store
        self._queue = queue

    async def pause(self, order_id: OrderId, paused_by: str) -> OrderView:
        """Hold back what was not sent; asking twice is asking once. The answer shows the order as it then is.

        Raises:
            NotFound: there is no such order.
            NotPausable: the order is done.
        """
        view = await self._view(order_id)
        if view.order.paused_at is not None:
            return view
        if view.summary.done:
            raise NotPausable(state=view.summary.state)
        await self._store.set_paused(order_id, True, paused_by)
        return await self._view(order_id)

    async def resume(self, order_id: OrderId, resumed_by: str) -> OrderView:
        """Let it go on; of one that is not paused this changes nothing.

        Raises:
            NotFound: there is no such order.
        """
        if await self._store.set_paused(order_id, False, resumed_by) is PauseResult.CHANGED:
            self._queue.enqueue(Job(JobKind.SPLIT_ORDER, order_id))
        return await self._view(order_id)

    async def _view(self, order_id: OrderId) -> OrderView:
        view = await self._store.get(order_id)
        if view is None:
            raise NotFound(order_id=order_id)
        return view
