"""Split accepted orders into scheduled slices."""

from collections.abc import Callable
from datetime import timedelta

from msgspec import Struct

from pulse_domain.errors import CannotSplit, StorageRejected
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
    lease_s: float = 20.0
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
    """on_outcome: told of each order and what came of it: saved, failed or dropped."""

    def __init__(
        self,
        store: OrderStore,
        settings: SplitSettings,
        on_outcome: Callable[[Order, str], None] = lambda order, outcome: None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._on_outcome = on_outcome
        # Claimed, and not yet known to be saved: the store went away in between.
        self._unsaved: list[Order] = []

    async def __call__(self) -> SplitReport:
        """Split one batch of orders. A report with nothing seen means that none is waiting.

        Raises:
            StorageUnavailable: call again; the rest of the batch is still in hand.
        """
        settings = self._settings
        if not self._unsaved:
            self._unsaved = await self._store.claim_orders(
                settings.batch_size, settings.executor, settings.lease_s
            )
        outcomes: dict[str, list[OrderId]] = {"saved": [], "failed": [], "dropped": []}
        while self._unsaved:
            order = self._unsaved[0]
            outcome = await self._split(order)
            # Only now: where the store does not answer, the next call goes on here. The fence makes that safe.
            self._unsaved.pop(0)
            outcomes[outcome].append(order.order_id)
            self._on_outcome(order, outcome)
        return SplitReport(**{outcome: tuple(ids) for outcome, ids in outcomes.items()})

    async def _split(self, order: Order) -> str:
        try:
            plan = plan_of(order, self._settings.tag_prefix, self._settings.grace_s)
        except CannotSplit as error:
            closed = await self._store.fail_split(order.order_id, order.split_attempt, error.message)
            return "failed" if closed else "dropped"
        try:
            result = await self._store.save_split(order.order_id, plan)
        except StorageRejected as error:
            closed = await self._store.fail_split(order.order_id, order.split_attempt, error.message)
            return "failed" if closed else "dropped"
        return "saved" if result is SplitResult.SAVED else "dropped"


def plan_of(order: Order, tag_prefix: str, grace_s: float) -> SplitSaved:
    """The split step's event: a function of the stored order alone.

    Raises:
        CannotSplit: no schedule fits.
    """
    return SplitSaved(
        attempt=order.split_attempt,
        expires_at=order.ends_at + timedelta(seconds=grace_s),
        slices=plan_order(
            order.order_id, order.request, order.terms, order.starts_at, tag_prefix, order.ends_at
        ),
    )
