"""The plan of an order: its slices, executions and tags, a function of what is stored with it."""

from datetime import datetime, timedelta
from random import Random

from pulse_domain.instruments import InstrumentTerms
from pulse_domain.orders.events import PlannedExecution, PlannedSlice
from pulse_domain.orders.ids import OrderId, execution_id, tags
from pulse_domain.orders.model import NewOrder, OrderRequest
from pulse_domain.splitting import (
    QUANTITY_BAND_PERCENT,
    PaceLimits,
    check_pace,
    chunks,
    largest_chunk,
    twap,
)


def plan_order(
    order_id: OrderId,
    request: OrderRequest,
    terms: InstrumentTerms,
    starts_at: datetime,
    tag_prefix: str,
    ends_at: datetime | None = None,
) -> tuple[PlannedSlice, ...]:
    """Plan an order's slices. The random source is seeded from the order id, so that planning again
    after a crash gives the same plan.

    ends_at: of the last slice, where acceptance has cut the window to the session.

    Raises:
        CannotSplit: no schedule fits.
    """
    split = request.split_config
    if split is None:
        parts = twap(request.total_quantity, 1, 0, lot_size=terms.lot_size)
    else:
        # A schedule is meant to be unforeseeable to others in the market, not to cryptographers.
        rng = Random(order_id) if split.randomize else None  # noqa: S311
        duration = timedelta(minutes=split.duration_minutes) if ends_at is None else ends_at - starts_at
        parts = twap(
            request.total_quantity,
            split.num_splits,
            duration // timedelta(microseconds=1),
            lot_size=terms.lot_size,
            rng=rng,
        )
    sizes = [
        chunks(part.quantity, lot_size=terms.lot_size, freeze_quantity=terms.freeze_quantity) for part in parts
    ]
    names = iter(
        tags(
            tag_prefix,
            [
                execution_id(order_id, seq, chunk)
                for seq, quantities in enumerate(sizes, start=1)
                for chunk in range(len(quantities))
            ],
        )
    )
    return tuple(
        PlannedSlice(
            part.quantity,
            starts_at + timedelta(microseconds=part.offset_us),
            tuple([PlannedExecution(quantity, next(names)) for quantity in quantities]),
        )
        for part, quantities in zip(parts, sizes, strict=True)
    )


def tag_of_only_execution(new: NewOrder, tag_prefix: str) -> str | None:
    """The tag of an order's execution, where that is its only one and due on acceptance; else None."""
    request, terms = new.request, new.terms
    if request.split_config is not None or request.start_at is not None or new.window is not None:
        return None
    if len(chunks(request.total_quantity, lot_size=terms.lot_size, freeze_quantity=terms.freeze_quantity)) > 1:
        return None
    return tags(tag_prefix, [execution_id(new.order_id, 1, 0)])[0]


def check_feasible(
    request: OrderRequest, terms: InstrumentTerms, limits: PaceLimits, window_s: float | None = None
) -> None:
    """Check at acceptance what planning would find out later.

    window_s: from the first slice to the last, where that is not what the request asks for.

    Raises:
        CannotSplit: no schedule fits.
        LimitsExceeded: more executions than the broker takes in the window.
    """
    split = request.split_config
    n = split.num_splits if split else 1
    lots = request.total_quantity // terms.lot_size
    if lots < n:
        # The same error as planning would raise, without drawing a plan.
        twap(request.total_quantity, n, 0, lot_size=terms.lot_size)
    executions = n
    if terms.freeze_quantity is not None:
        largest = largest_chunk(terms.lot_size, terms.freeze_quantity) // terms.lot_size
        if split and split.randomize:
            # A slice is at most 20 % above the base, rounded up to a lot: no plan needs more than this.
            slice_lots = -(-lots * (100 + QUANTITY_BAND_PERCENT) // (100 * n))
            executions = n * -(-slice_lots // largest)
        else:
            base, larger = divmod(lots, n)
            executions = larger * -(-(base + 1) // largest) + (n - larger) * -(-base // largest)
    if window_s is None:
        window_s = split.duration_minutes * 60.0 if split else 0.0
    check_pace(executions, window_s, limits)
