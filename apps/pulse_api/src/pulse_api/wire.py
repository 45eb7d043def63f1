"""The shapes of doc/contract/common.md, to and from the domain."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from pulse_domain.instruments import Instrument
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import execution_id
from pulse_domain.orders.model import (
    DURATION_MINUTES_MAX,
    DURATION_MINUTES_MIN,
    QUANTITY_MAX,
    SPLITS_MAX,
    SPLITS_MIN,
    OrderRequest,
    OrderType,
    Product,
    Side,
    SplitConfig,
    Validity,
)
from pulse_domain.orders.slices import Slice
from pulse_domain.orders.summary import Quantities
from pulse_domain.ports.order_store import OrderView, TradingState
from pulse_domain.use_cases.kill import KillReport
from pulse_domain.use_cases.preview import Preview

Key = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]{1,128}\Z")]
StrategyTag = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]{1,64}\Z")]
Instant = Annotated[datetime, Meta(tz=True)]


class SplitBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    num_splits: Annotated[int, Meta(ge=SPLITS_MIN, le=SPLITS_MAX)]
    duration_minutes: Annotated[int, Meta(ge=DURATION_MINUTES_MIN, le=DURATION_MINUTES_MAX)]
    randomize: bool = True

    def config(self) -> SplitConfig:
        return SplitConfig(
            num_splits=self.num_splits, duration_minutes=self.duration_minutes, randomize=self.randomize
        )


class PreviewBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order request without its key."""

    instrument: Annotated[str, Meta(max_length=80, examples=["NSE:RELIANCE"])]
    side: Side
    total_quantity: Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]
    split_config: SplitBody | None = None
    start_at: Instant | None = None
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    product: Product | None = None
    validity: Validity = Validity.DAY
    strategy_tag: StrategyTag | None = None

    def request(self) -> OrderRequest:
        """The domain's request, not yet checked.

        Raises:
            InvalidInstrument: the instrument is malformed.
        """
        split = self.split_config
        return OrderRequest(
            instrument=Instrument.parse(self.instrument),
            side=self.side,
            total_quantity=self.total_quantity,
            split_config=None if split is None else split.config(),
            start_at=self.start_at,
            order_type=self.order_type,
            limit_price=self.limit_price,
            trigger_price=self.trigger_price,
            product=self.product,
            validity=self.validity,
            strategy_tag=self.strategy_tag,
        )


class OrderBody(PreviewBody, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order request. The key may be missing only where the header X-Body-Digest is given."""

    order_unique_key: Key | None = None


class ReasonBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class AcceptedOut(Struct, frozen=True, kw_only=True):
    order_id: str
    order_unique_key: str


class OrderOut(Struct, frozen=True, kw_only=True):
    order_id: str
    order_unique_key: str
    instrument: str
    side: Side
    total_quantity: int
    order_type: OrderType
    limit_price: Decimal | None
    trigger_price: Decimal | None
    product: Product | None
    validity: Validity
    strategy_tag: str | None
    source: str
    split_config: SplitBody | None
    state: str
    done: bool
    quantities: Quantities
    average_price: Decimal | None
    order_queue_status: str
    order_queue_skip_reason: str | None
    failure: str | None
    created_at: datetime
    starts_at: datetime
    ends_at: datetime
    cancel_requested_at: datetime | None
    paused: bool
    last_seq: int


class OrdersOut(Struct, frozen=True, kw_only=True):
    orders: list[OrderOut]
    next_cursor: str | None


class FillOut(Struct, frozen=True, kw_only=True):
    trade_id: str
    quantity: int
    price: Decimal
    at: datetime


class ExecutionOut(Struct, frozen=True, kw_only=True):
    execution_id: str
    chunk: int
    tag: str
    status: str
    quantity: int
    filled_quantity: int
    average_price: Decimal | None
    attempt: int
    due_at: datetime
    expires_at: datetime
    broker_order_id: str | None
    reason_code: str | None
    reason: str | None
    flags: tuple[str, ...]
    fills: list[FillOut]


class SliceOut(Struct, frozen=True, kw_only=True):
    slice_id: str
    seq: int
    quantity: int
    scheduled_at: datetime
    stage: str
    outcome: str | None
    executions: list[ExecutionOut]


class SlicesOut(Struct, frozen=True, kw_only=True):
    order_id: str
    slices: list[SliceOut]


class PreviewSliceOut(Struct, frozen=True, kw_only=True):
    seq: int
    quantity: int
    scheduled_at: datetime
    chunks: list[int]


class PreviewOut(Struct, frozen=True, kw_only=True):
    instrument: str
    side: Side
    total_quantity: int
    product: Product | None
    starts_at: datetime
    ends_at: datetime
    lot_size: int
    tick_size: Decimal
    freeze_quantity: int | None
    slices: list[PreviewSliceOut]


class InFlightOut(Struct, frozen=True, kw_only=True):
    execution_id: str
    order_id: str
    tag: str
    quantity: int


class TradingOut(Struct, frozen=True, kw_only=True):
    halted: bool
    changed_by: str | None
    reason: str | None
    changed_at: datetime | None
    needs_reconcile: bool
    in_flight: list[InFlightOut]


class KillOut(Struct, frozen=True, kw_only=True):
    """`cancelled`: how many orders this call asked to cancel."""

    trading: TradingOut
    cancelled: int


def kill_out(report: KillReport) -> KillOut:
    return KillOut(trading=trading_out(report.halt.state, report.halt.in_flight), cancelled=report.cancelled)


def order_out(view: OrderView) -> OrderOut:
    order, summary, request = view.order, view.summary, view.order.request
    split = request.split_config
    return OrderOut(
        order_id=order.order_id,
        order_unique_key=order.order_unique_key,
        instrument=str(request.instrument),
        side=request.side,
        total_quantity=request.total_quantity,
        order_type=request.order_type,
        limit_price=request.limit_price,
        trigger_price=request.trigger_price,
        product=request.product,
        validity=request.validity,
        strategy_tag=request.strategy_tag,
        source=order.source,
        split_config=None if split is None else _split_out(split),
        state=summary.state,
        done=summary.done,
        quantities=summary.quantities,
        average_price=summary.average_price,
        order_queue_status=order.queue_status,
        order_queue_skip_reason=order.skip_reason,
        failure=order.failure,
        created_at=order.created_at,
        starts_at=order.starts_at,
        ends_at=order.ends_at,
        cancel_requested_at=order.cancel_requested_at,
        paused=order.paused_at is not None,
        last_seq=view.last_seq,
    )


def _split_out(split: SplitConfig) -> SplitBody:
    return SplitBody(
        num_splits=split.num_splits, duration_minutes=split.duration_minutes, randomize=split.randomize
    )


def slices_out(order_id: str, slices: list[Slice]) -> SlicesOut:
    return SlicesOut(
        order_id=order_id,
        slices=[
            SliceOut(
                slice_id=s.slice_id,
                seq=s.seq,
                quantity=s.quantity,
                scheduled_at=s.scheduled_at,
                stage=s.stage,
                outcome=s.outcome,
                executions=[execution_out(execution) for execution in s.executions],
            )
            for s in slices
        ],
    )


def execution_out(execution: Execution) -> ExecutionOut:
    filled = execution.filled_quantity
    return ExecutionOut(
        execution_id=execution.execution_id,
        chunk=execution.chunk,
        tag=execution.tag,
        status=execution.status,
        quantity=execution.quantity,
        filled_quantity=filled,
        average_price=(execution.filled_value / filled).quantize(Decimal("0.0001")) if filled else None,
        attempt=execution.attempt,
        due_at=execution.due_at,
        expires_at=execution.expires_at,
        broker_order_id=execution.broker_order_id,
        reason_code=execution.reason_code,
        reason=execution.reason,
        flags=execution.flags,
        fills=[
            FillOut(trade_id=fill.trade_id, quantity=fill.quantity, price=fill.price, at=fill.at)
            for fill in execution.fills
        ],
    )


def preview_out(preview: Preview) -> PreviewOut:
    request, terms = preview.request, preview.terms
    return PreviewOut(
        instrument=str(request.instrument),
        side=request.side,
        total_quantity=request.total_quantity,
        product=request.product,
        starts_at=preview.starts_at,
        ends_at=preview.ends_at,
        lot_size=terms.lot_size,
        tick_size=terms.tick_size,
        freeze_quantity=terms.freeze_quantity,
        slices=[
            PreviewSliceOut(
                seq=seq,
                quantity=planned.quantity,
                scheduled_at=planned.scheduled_at,
                chunks=[execution.quantity for execution in planned.executions],
            )
            for seq, planned in enumerate(preview.slices, start=1)
        ],
    )


def trading_out(state: TradingState, in_flight: tuple[Execution, ...] = ()) -> TradingOut:
    return TradingOut(
        halted=state.halted,
        changed_by=state.changed_by,
        reason=state.reason,
        changed_at=state.changed_at,
        needs_reconcile=state.needs_reconcile,
        in_flight=[
            InFlightOut(
                execution_id=execution_id(e.order_id, e.seq, e.chunk),
                order_id=e.order_id,
                tag=e.tag,
                quantity=e.quantity,
            )
            for e in in_flight
        ],
    )
