"""Look at the ledger: what became of each order at the broker."""

from pulse_domain.orders.execution import Execution
from pulse_domain.ports.order_store import LedgerPlace, LedgerRow, LedgerWish, OrderStore


class ReadLedger:
    def __init__(self, store: OrderStore) -> None:
        self._store = store

    async def page(
        self, wish: LedgerWish, *, limit: int, before: LedgerPlace | None
    ) -> tuple[list[LedgerRow], LedgerPlace | None]:
        """Newest order first, with where the next page begins; None where this is the last.

        Raises:
            StorageUnavailable.
        """
        rows = await self._store.ledger(wish, limit=limit + 1, before=before)
        return rows[:limit], _place(rows[limit - 1].execution) if len(rows) > limit else None


def _place(execution: Execution) -> LedgerPlace:
    return execution.order_id, execution.seq, execution.chunk
