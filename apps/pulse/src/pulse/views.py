"""The part of the gateway's answers that is shown; `--json` passes them on whole."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

Json = dict[str, Any]


class Quantities(Struct, frozen=True, kw_only=True):
    total: int
    filled: int
    working: int
    unknown: int
    unsent: int
    cancelled: int
    failed: int
    overfilled: int


class Split(Struct, frozen=True, kw_only=True):
    num_splits: int
    duration_minutes: int
    randomize: bool


class Order(Struct, frozen=True, kw_only=True):
    order_id: str
    order_unique_key: str
    instrument: str
    side: str
    total_quantity: int
    order_type: str
    limit_price: Decimal | None
    trigger_price: Decimal | None
    product: str | None
    validity: str
    strategy_tag: str | None
    split_config: Split | None
    state: str
    done: bool
    quantities: Quantities
    average_price: Decimal | None
    order_queue_skip_reason: str | None
    failure: str | None
    created_at: datetime
    starts_at: datetime
    ends_at: datetime
    cancel_requested_at: datetime | None
    paused: bool

    @property
    def is_filled(self) -> bool:
        return self.state == "FILLED"


class Execution(Struct, frozen=True, kw_only=True):
    execution_id: str
    broker_order_id: str | None
    status: str
    filled_quantity: int
    average_price: Decimal | None
    reason_code: str | None
    reason: str | None


class Slice(Struct, frozen=True, kw_only=True):
    seq: int
    quantity: int
    scheduled_at: datetime
    stage: str
    outcome: str | None
    executions: tuple[Execution, ...]

    @property
    def filled_quantity(self) -> int:
        return sum(execution.filled_quantity for execution in self.executions)

    @property
    def average_price(self) -> Decimal | None:
        """In rupees, over what is filled."""
        filled = self.filled_quantity
        values = (e.filled_quantity * (e.average_price or Decimal(0)) for e in self.executions)
        return sum(values, Decimal(0)) / filled if filled else None

    @property
    def reasons(self) -> str:
        """What the broker or Pulse said of those that went wrong, each once."""
        said = (": ".join(filter(None, (e.reason_code, e.reason))) for e in self.executions)
        return "; ".join(dict.fromkeys(filter(None, said)))


class Slices(Struct, frozen=True, kw_only=True):
    order_id: str
    slices: tuple[Slice, ...]


class Orders(Struct, frozen=True, kw_only=True):
    orders: tuple[Order, ...]
    next_cursor: str | None


class Accepted(Struct, frozen=True, kw_only=True):
    order_id: str
    order_unique_key: str


class JournalRow(Struct, frozen=True, kw_only=True):
    seq: int
    at: datetime
    event: Json


class Resolved(Struct, frozen=True, kw_only=True):
    order_id: str
    execution: Execution


class Trading(Struct, frozen=True, kw_only=True):
    halted: bool
    changed_by: str | None
    reason: str | None
    changed_at: datetime | None
    needs_reconcile: bool


class Stranger(Struct, frozen=True, kw_only=True):
    broker_order_id: str
    tag: str
    instrument: str
    side: str
    quantity: int
    filled_quantity: int
    status: str
    known: bool


class Book(Struct, frozen=True, kw_only=True):
    noted_at: datetime | None
    complete: bool
    strangers: tuple[Stranger, ...]


class InDoubt(Struct, frozen=True, kw_only=True):
    execution_id: str
    tag: str
    instrument: str
    side: str
    quantity: int
    status: str
    terminal: str | None
    broker_order_id: str | None
    reason: str | None
    flags: tuple[str, ...]


class Review(Struct, frozen=True, kw_only=True):
    trading: Trading
    book: Book | None
    in_doubt: tuple[InDoubt, ...]


class Strategy(Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    instruments: tuple[str, ...]
    parameters: Json
    mode: str
    capital: Decimal | None
    wanted: str
    state: str
    detail: str | None
    version: int
    changed_by: str
    changed_at: datetime
    reported_at: datetime | None


class Strategies(Struct, frozen=True, kw_only=True):
    strategies: tuple[Strategy, ...]


class Result(Struct, frozen=True, kw_only=True):
    """In rupees; None where a part of it is not known."""

    realised: Decimal | None
    unrealised: Decimal | None
    charges: Decimal | None
    net: Decimal | None


class StrategyResult(Result, frozen=True, kw_only=True):
    strategy_tag: str | None


class Position(StrategyResult, frozen=True, kw_only=True):
    instrument: str
    product: str
    quantity: int
    average_price: Decimal | None
    last_price: Decimal | None
    price_age_s: float | None
    price_stale: bool
    provisional: bool


class Positions(Struct, frozen=True, kw_only=True):
    positions: tuple[Position, ...]
    strategies: tuple[StrategyResult, ...]
    total: Result
    today: Result


class LedgerRow(Struct, frozen=True, kw_only=True):
    due_at: datetime
    status: str
    execution_status: str
    strategy_tag: str | None
    instrument: str
    side: str
    product: str
    order_type: str
    quantity: int
    filled_quantity: int
    average_price: Decimal | None
    exchange_id: str | None
    order_id: str
    execution_id: str
    internal_id: str
    tag: str
    source: str
    reason_code: str | None
    reason: str | None


class LedgerPage(Struct, frozen=True, kw_only=True):
    rows: tuple[LedgerRow, ...]
    next_cursor: str | None
