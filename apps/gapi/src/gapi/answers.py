"""What Pulse answers. These are read by the OpenAPI document: the answers themselves pass through as bytes."""

from datetime import datetime
from typing import Annotated, Any, Literal

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


class Strategy(Struct, frozen=True, kw_only=True):
    name: Annotated[str, Meta(description="Also the strategy_tag of its orders.")]
    kind: Annotated[str, Meta(description="Of those that are shipped, or FILE.py:Class.", examples=["macd"])]
    instruments: list[str]
    parameters: dict[str, str | int | float | bool | None]
    mode: Annotated[Literal["live", "paper"], Meta(description="Of paper no broker hears.")]
    capital: Annotated[
        Decimals | None, Meta(description="Rupees that it counts with; null for the STRATEGY_CAPITAL of all.")
    ]
    wanted: Annotated[Literal["RUNNING", "STOPPED"], Meta(description="What a person asked for last.")]
    state: Annotated[Literal["RUNNING", "STOPPED", "FAILED"], Meta(description="How it was last seen to fare.")]
    detail: Annotated[str | None, Meta(description="Why it failed.")]
    version: Annotated[int, Meta(description="One more with each change of what it is.")]
    changed_by: str
    changed_at: Instant
    reported_at: Annotated[Instant | None, Meta(description="When the state was last noted.")]


class Strategies(Struct, frozen=True, kw_only=True):
    strategies: Annotated[list[Strategy], Meta(description="By name.")]


class Result(Struct, frozen=True, kw_only=True):
    """In rupees; null where a part of it is not known."""

    realised: Decimals | None
    unrealised: Decimals | None
    charges: Decimals | None
    net: Annotated[Decimals | None, Meta(description="Realised and unrealised, less charges.")]


class StrategyResult(Result, frozen=True, kw_only=True):
    strategy_tag: str | None


class Position(Result, frozen=True, kw_only=True):
    strategy_tag: str | None
    instrument: str
    product: Literal["CNC", "MIS", "NRML"]
    quantity: Annotated[int, Meta(description="In units; below zero when short.")]
    average_price: Annotated[Decimals | None, Meta(description="Of what is held; null when flat.")]
    last_price: Decimals | None
    price_at: Instant | None
    price_age_s: float | None
    price_stale: Annotated[bool, Meta(description="The last price is too old: unrealised is null.")]
    traded_at: Instant
    provisional: Annotated[bool, Meta(description="A part rests on the broker's total, not on trades.")]
    expired: Annotated[bool, Meta(description="Open by our fills, in a contract that has expired.")]


class Positions(Struct, frozen=True, kw_only=True):
    at: Instant
    positions: Annotated[list[Position], Meta(description="What is open or was traded today.")]
    strategies: Annotated[list[StrategyResult], Meta(description="Since the first fill.")]
    total: Annotated[Result, Meta(description="The same of all strategies together.")]
    today: Annotated[Result, Meta(description="Since the trading day began.")]


class LedgerRow(Struct, frozen=True, kw_only=True):
    """One order at the broker."""

    internal_id: str
    execution_id: str
    order_id: OrderId
    exchange_id: Annotated[str | None, Meta(description="The broker's order id.")]
    strategy_tag: str | None
    instrument: str
    side: Side
    product: Literal["CNC", "MIS", "NRML"]
    order_type: Literal["MARKET", "LIMIT", "SL", "SL-M"]
    source: str
    tag: str
    status: Literal["OPEN", "TRADED", "REJECTED", "CANCELLED"]
    execution_status: str
    quantity: Units
    filled_quantity: Units
    average_price: Decimals | None
    due_at: Instant
    reason_code: str | None
    reason: str | None
    metadata: Annotated[dict[str, Any], Meta(description="The broker's own words, of each kind the last.")]


class LedgerPage(Struct, frozen=True, kw_only=True):
    rows: Annotated[list[LedgerRow], Meta(description="Newest order first.")]
    next_cursor: Annotated[str | None, Meta(description="Where the next page begins, or null.")]
