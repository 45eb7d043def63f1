"""The shapes of what operators ask and are told, to and from the domain."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from pulse_api.wire import ExecutionOut, TradingOut, execution_out, trading_out
from pulse_domain.errors import InvalidOrder
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Side
from pulse_domain.ports.order_store import Stranger, Tracked
from pulse_domain.use_cases.resolve import Word
from pulse_domain.use_cases.review import Review

BrokerId = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]{1,64}\Z")]


class ResolveBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a person found at the broker: `broker_order_id` with `found`, and only with it."""

    outcome: Literal["found", "absent"]
    broker_order_id: BrokerId | None = None
    note: Annotated[str, Meta(max_length=500)] = ""

    def word(self, resolved_by: str) -> Word:
        """The domain's word.

        Raises:
            InvalidOrder: outcome and broker order id do not go together.
        """
        if (self.outcome == "found") is (self.broker_order_id is None):
            raise InvalidOrder(
                "broker_order_id goes with outcome found, and only with it", field="broker_order_id"
            )
        given = None if self.broker_order_id is None else BrokerOrderId(self.broker_order_id)
        return Word(broker_order_id=given, resolved_by=resolved_by, note=self.note)


class ResolvedOut(Struct, frozen=True, kw_only=True):
    order_id: str
    execution: ExecutionOut


class StrangerOut(Struct, frozen=True, kw_only=True):
    """`known`: a confirmed reconcile has passed it."""

    broker_order_id: str
    tag: str
    instrument: str
    side: str
    quantity: int
    filled_quantity: int
    status: str
    placed_at: datetime
    known: bool


class InDoubtOut(Struct, frozen=True, kw_only=True):
    execution_id: str
    order_id: str
    instrument: str
    side: Side
    quantity: int
    tag: str
    status: str
    terminal: str | None
    broker_order_id: str | None
    reason: str | None
    flags: tuple[str, ...]


class BookOut(Struct, frozen=True, kw_only=True):
    noted_at: datetime | None
    complete: bool
    strangers: list[StrangerOut]


class ReconcileOut(Struct, frozen=True, kw_only=True):
    """`book`: the last look at the broker's order book; null before the first."""

    trading: TradingOut
    book: BookOut | None
    in_doubt: list[InDoubtOut]


def resolved_out(execution: Execution) -> ResolvedOut:
    return ResolvedOut(order_id=execution.order_id, execution=execution_out(execution))


def reconcile_out(review: Review) -> ReconcileOut:
    found = review.findings
    return ReconcileOut(
        trading=trading_out(review.state),
        book=None
        if found is None
        else BookOut(
            noted_at=found.noted_at,
            complete=found.complete,
            strangers=[_stranger_out(row, row.broker_order_id in found.known) for row in found.strangers],
        ),
        in_doubt=[_in_doubt_out(tracked) for tracked in review.in_doubt],
    )


def _stranger_out(row: Stranger, known: bool) -> StrangerOut:
    return StrangerOut(**msgspec.structs.asdict(row), known=known)


def _in_doubt_out(tracked: Tracked) -> InDoubtOut:
    execution, request = tracked.execution, tracked.order.request
    return InDoubtOut(
        execution_id=execution.execution_id,
        order_id=execution.order_id,
        instrument=str(request.instrument),
        side=request.side,
        quantity=execution.quantity,
        tag=execution.tag,
        status=execution.status,
        terminal=execution.terminal,
        broker_order_id=execution.broker_order_id,
        reason=execution.reason,
        flags=execution.flags,
    )
