"""Split accepted orders into scheduled slices."""

from datetime import timedelta

from msgspec import Struct

from pulse_domain.errors import CannotSplit
from pulse_domain.orders.events import SplitSaved
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import Order
from pulse_domain.orders.plan import plan_order
from pulse_domain.ports.order_store import OrderStore, SplitResult


class SplitSettings(Struct, frozen=True, kw_only=True):
    """lease_s: how long an order stays with a worker that has gone silent."""

    executor: str
    tag_prefix: str
    batch_size: int = 10
    lease_s: float = 300.0
    grace_s: float = 60.0


class SplitReport(Struct, frozen=True, kw_only=True):
    saved: tuple[OrderId, ...] = ()
    failed: tuple[OrderId, ...] = ()
    # Cancelled meanwhile, or taken over by another worker.
    dropped: tuple[OrderId, ...] = ()

    @property
    def seen(self) -> int:
        return len(self.saved) + len(self.failed) + len(self.dropped)


class SplitOrders:
    def __init__(self, store: OrderStore, settings: SplitSettings) -> None:
        self._store = store
        self._settings = settings

    async def __call__(self) -> SplitReport:
        """Split one batch of orders. A report with nothing seen means that none is waiting."""
        settings = self._settings
        orders = await self._store.claim_orders(settings.batch_size, settings.executor, settings.lease_s)
        saved, failed, dropped = list[OrderId](), list[OrderId](), list[OrderId]()
        for order in orders:
            try:
                plan = plan_of(order, settings.tag_prefix, settings.grace_s)
            except CannotSplit as error:
                closed = await self._store.fail_split(order.order_id, order.split_attempt, error.message)
                (failed if closed else dropped).append(order.order_id)
                continue
            result = await self._store.save_split(order.order_id, plan)
            (saved if result is SplitResult.SAVED else dropped).append(order.order_id)
        return SplitReport(saved=tuple(saved), failed=tuple(failed), dropped=tuple(dropped))


def plan_of(order: Order, tag_prefix: str, grace_s: float) -> SplitSaved:
    """The split step's event: a function of the stored order alone.

    Raises:
        CannotSplit: no schedule fits.
    """
    return SplitSaved(
        attempt=order.split_attempt,
        expires_at=order.ends_at + timedelta(seconds=grace_s),
        slices=plan_order(order.order_id, order.request, order.terms, order.starts_at, tag_prefix),
    )
