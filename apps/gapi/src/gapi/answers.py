"""What Pulse answers. These are read by the OpenAPI document: the answers themselves pass through as bytes."""

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gapi.orders import SplitConfig

OrderId = Annotated[str, Meta(pattern=r"^ord_[0-9a-z]{26}$", examples=["ord_01kfa8r4gve9t9m3sx6y1c0d5e"])]
Decimals = Annotated[str, Meta(description="A decimal as a string.")]
Units = Annotated[int, Meta(description="In units.")]
Instant = Annotated[datetime, Meta(tz=True, description="ISO 8601, in UTC.")]
Side = Literal["BUY", "SELL"]


class Health(Struct, frozen=True, kw_only=True):
    status: Literal["ok"]
    service: Literal["gapi"]


class Checks(Struct, frozen=True, kw_only=True):
    pulse: bool


class Readiness(Struct, frozen=True, kw_only=True):
    status: Literal["ready", "unavailable"]
    checks: Checks


class Accepted(Struct, frozen=True, kw_only=True):
    """The order is stored and never lost; that does not mean executed."""

    order_id: OrderId
    order_unique_key: str


class Quantities(Struct, frozen=True, kw_only=True):
    """filled + working + unknown + unsent + cancelled + failed = total + overfilled."""

    total: Units
    filled: Units
    working: Units
    unknown: Units
    unsent: Units
    cancelled: Units
    failed: Units
    overfilled: Units


class Order(Struct, frozen=True, kw_only=True):
    order_id: OrderId
    order_unique_key: str
    instrument: str
    side: Side
    total_quantity: Units
    order_type: Literal["MARKET", "LIMIT", "SL", "SL-M"]
    limit_price: Decimals | None
    trigger_price: Decimals | None
    product: Literal["CNC", "MIS", "NRML"]
    validity: Literal["DAY", "IOC"]
    strategy_tag: str | None
    source: str
    split_config: SplitConfig | None
    state: Literal[
        "ACCEPTED", "SCHEDULED", "WORKING", "FILLED", "PARTIALLY_FILLED", "CANCELLED", "REJECTED",
        "EXPIRED", "FAILED", "SKIPPED", "UNRESOLVED",
    ]  # fmt: skip
    done: Annotated[bool, Meta(description="Nothing more is expected.")]
    quantities: Quantities
    average_price: Annotated[Decimals | None, Meta(description="Over what is filled.")]
    order_queue_status: Literal["PENDING", "IN_PROGRESS", "DONE", "FAILED", "SKIPPED"]
    order_queue_skip_reason: str | None
    failure: str | None
    created_at: Instant
    starts_at: Instant
    ends_at: Instant
    cancel_requested_at: Instant | None
    paused: Annotated[bool, Meta(description="Nothing more of it is sent until an operator resumes it.")]
    last_seq: Annotated[int, Meta(description="The journal row that this view includes.")]


class Taken(Struct, frozen=True, kw_only=True):
    status: Literal["ok"]


class OrderPage(Struct, frozen=True, kw_only=True):
    orders: Annotated[list[Order], Meta(description="Newest first.")]
    next_cursor: Annotated[str | None, Meta(description="Where the next page begins, or null.")]


class Fill(Struct, frozen=True, kw_only=True):
    trade_id: str
    quantity: Units
    price: Decimals
    at: Instant


class Execution(Struct, frozen=True, kw_only=True):
    """One order at the broker."""

    execution_id: str
    chunk: int
    tag: Annotated[str, Meta(description="The mark that the broker's order carries.")]
    status: str
    quantity: Units
    filled_quantity: Units
    average_price: Decimals | None
    attempt: int
    due_at: Instant
    expires_at: Instant
    broker_order_id: str | None
    reason_code: str | None
    reason: str | None
    flags: list[str]
    fills: list[Fill]


class Slice(Struct, frozen=True, kw_only=True):
    slice_id: str
    seq: int
    quantity: Units
    scheduled_at: Instant
    stage: Literal["SCHEDULED", "IN_PROGRESS", "PROCESSED"]
    outcome: Literal[
        "FILLED", "PARTIALLY_FILLED", "REJECTED", "CANCELLED", "EXPIRED", "FAILED", "UNRESOLVED", None
    ]
    executions: list[Execution]


class Slices(Struct, frozen=True, kw_only=True):
    order_id: OrderId
    slices: list[Slice]


class PlannedSlice(Struct, frozen=True, kw_only=True):
    seq: int
    quantity: Units
    scheduled_at: Instant
    chunks: Annotated[list[int], Meta(description="Above the freeze quantity a slice is several orders.")]


class Preview(Struct, frozen=True, kw_only=True):
    """A randomised schedule is an example: the order's own is drawn when it is accepted."""

    instrument: str
    side: Side
    total_quantity: Units
    product: Literal["CNC", "MIS", "NRML"]
    starts_at: Instant
    ends_at: Instant
    lot_size: Units
    tick_size: Decimals
    freeze_quantity: Units | None
    slices: list[PlannedSlice]


class InFlight(Struct, frozen=True, kw_only=True):
    execution_id: str
    order_id: OrderId
    tag: str
    quantity: Units


class TradingState(Struct, frozen=True, kw_only=True):
    halted: bool
    changed_by: str | None
    reason: str | None
    changed_at: Instant | None
    needs_reconcile: Annotated[
        bool, Meta(description="Only an operator's reconcile ends this halt, no resume.")
    ]
    in_flight: Annotated[list[InFlight], Meta(description="Claimed before the halt, no outcome yet.")]
