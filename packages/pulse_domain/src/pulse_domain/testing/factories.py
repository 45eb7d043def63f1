"""Values and stored orders with defaults, so that a test shows only what matters to it."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.events import PlannedExecution, PlannedSlice, SplitSaved
from pulse_domain.orders.ids import ClientId, execution_id, tags
from pulse_domain.orders.model import NewOrder, Order, OrderRequest, Side, Source
from pulse_domain.ports.ids import Ids
from pulse_domain.ports.order_store import OrderStore, SplitResult

CLIENT = ClientId("desk-1")
TAG_PREFIX = "T1"
# The quantities of a plan: one row per slice, one figure per execution.
Quantities = Sequence[Sequence[int]]


def order_request(**over: Any) -> OrderRequest:
    """A normalised request; a field given by name replaces its default."""
    fields: dict[str, Any] = {
        "instrument": Instrument.parse("NSE:RELIANCE"),
        "side": Side.BUY,
        "total_quantity": 100,
    }
    return OrderRequest(**fields | over).normalised()


def new_order(ids: Ids, **over: Any) -> NewOrder:
    """A checked order on its way into the store, with a key of its own.

    Fields of the request and of the order are both given by name; the fingerprint follows from the request.
    """
    order_id = over.pop("order_id", None) or ids.order_id()
    request_fields = {name: over.pop(name) for name in OrderRequest.__struct_fields__ if name in over}
    request = over.pop("request", None) or order_request()
    request = replace(request, **request_fields).normalised()
    fields: dict[str, Any] = {
        "order_id": order_id,
        "client_id": CLIENT,
        "order_unique_key": f"key-{order_id[4:]}",
        "request": request,
        "terms": InstrumentTerms(),
        "source": Source.API,
        "fingerprint": request.fingerprint(),
    }
    return NewOrder(**fields | over)


def plan(
    order: Order,
    quantities: Quantities | None = None,
    *,
    due_in_s: float | Sequence[float] = 0.0,
    expires_in_s: float = 3600.0,
    prefix: str = TAG_PREFIX,
) -> SplitSaved:
    """A plan with the given quantities, by default the whole order at once.

    due_in_s: of every slice, or of each; seconds from the order's creation, as is `expires_in_s`.
    """
    rows = quantities or [[order.request.total_quantity]]
    due = [due_in_s] * len(rows) if isinstance(due_in_s, int | float) else list(due_in_s)
    slices = []
    for seq, (row, seconds) in enumerate(zip(rows, due, strict=True), start=1):
        names = tags(prefix, [execution_id(order.order_id, seq, chunk) for chunk in range(len(row))])
        slices.append(
            PlannedSlice(
                sum(row),
                order.created_at + timedelta(seconds=seconds),
                tuple(PlannedExecution(quantity, tag) for quantity, tag in zip(row, names, strict=True)),
            )
        )
    return SplitSaved(
        attempt=order.split_attempt,
        expires_at=order.created_at + timedelta(seconds=expires_in_s),
        slices=tuple(slices),
    )


async def split_order(
    store: OrderStore,
    ids: Ids,
    quantities: Quantities | None = None,
    *,
    due_in_s: float | Sequence[float] = 0.0,
    expires_in_s: float = 3600.0,
    **over: Any,
) -> Order:
    """Take an order through accept, claim_orders and save_split; no other order may be waiting.

    Returns the order as it stood when it was claimed for splitting.
    """
    if quantities is not None:
        over = {"total_quantity": sum(map(sum, quantities))} | over
    accepted = await store.accept(new_order(ids, **over))
    [order] = await store.claim_orders(1, "splitter", 60.0)
    assert order.order_id == accepted.order_id, "another order was waiting to be split"
    result = await store.save_split(
        order.order_id, plan(order, quantities, due_in_s=due_in_s, expires_in_s=expires_in_s)
    )
    assert result is SplitResult.SAVED, result
    return order
