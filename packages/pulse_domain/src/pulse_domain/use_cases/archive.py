"""Move orders that have been done for long into the archive, a few at a time."""

from collections.abc import Awaitable, Callable

from pulse_domain.orders.ids import OrderId
from pulse_domain.ports.order_store import OrderStore


class ArchiveOrders:
    """pause: waited for between two batches, so that work at hand is not slowed."""

    def __init__(
        self,
        store: OrderStore,
        pause: Callable[[], Awaitable[None]],
        *,
        done_for_s: float,
        batch_size: int = 100,
    ) -> None:
        self._store = store
        self._pause = pause
        self._done_for_s = done_for_s
        self._batch_size = batch_size

    async def __call__(self) -> int:
        """One pass over all orders that are old enough, oldest first; how many were archived.

        Raises:
            StorageUnavailable: what was archived until then stays so; begin again at any time.
        """
        archived, after = 0, OrderId("")
        while True:
            result = await self._store.archive(self._done_for_s, limit=self._batch_size, after=after)
            archived += result.archived
            if result.last is None:
                return archived
            after = result.last
            await self._pause()
