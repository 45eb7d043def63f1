"""The shapes of positions and of the ledger in doc/contract/common.md, from the domain."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from pulse_domain.charges import PAISA
from pulse_domain.orders.model import OrderType, Product, Side
from pulse_domain.orders.status import LedgerStatus
from pulse_domain.ports.order_store import LedgerRow
from pulse_domain.use_cases.positions import DayFigures, PositionReport, PositionView, Result

_PRICE = Decimal("0.0001")


class ResultOut(Struct, frozen=True, kw_only=True):
    realised: Decimal | None
    unrealised: Decimal | None
    charges: Decimal | None
    net: Decimal | None


class StrategyResultOut(ResultOut, frozen=True, kw_only=True):
    strategy_tag: str | None


class PositionOut(ResultOut, frozen=True, kw_only=True):
    strategy_tag: str | None
    instrument: str
    product: Product
    quantity: int
    average_price: Decimal | None
    last_price: Decimal | None
    price_at: datetime | None
    price_age_s: float | None
    price_stale: bool
    traded_at: datetime
    provisional: bool
    expired: bool


class PositionsOut(Struct, frozen=True, kw_only=True):
    at: datetime
    positions: list[PositionOut]
    strategies: list[StrategyResultOut]
    total: ResultOut
    today: ResultOut


class LedgerRowOut(Struct, frozen=True, kw_only=True):
    internal_id: str
    execution_id: str
    order_id: str
    exchange_id: str | None
    strategy_tag: str | None
    instrument: str
    side: Side
    product: Product | None
    order_type: OrderType
    source: str
    tag: str
    status: LedgerStatus
    execution_status: str
    quantity: int
    filled_quantity: int
    average_price: Decimal | None
    due_at: datetime
    reason_code: str | None
    reason: str | None
    metadata: Mapping[str, Any]


class LedgerOut(Struct, frozen=True, kw_only=True):
    rows: list[LedgerRowOut]
    next_cursor: str | None


def positions_out(report: PositionReport) -> PositionsOut:
    return PositionsOut(
        at=report.at,
        positions=[_position_out(view, report.at) for view in report.positions],
        strategies=[
            StrategyResultOut(strategy_tag=tag, **_amounts(result)) for tag, result in report.strategies.items()
        ],
        total=ResultOut(**_amounts(report.overall)),
        today=ResultOut(**_amounts(report.today)),
    )


def _position_out(view: PositionView, now: datetime) -> PositionOut:
    price, average = view.price, view.standing.average_price
    return PositionOut(
        strategy_tag=view.key.strategy_tag,
        instrument=str(view.key.instrument),
        product=view.key.product,
        quantity=view.standing.quantity,
        average_price=None if average is None else average.quantize(_PRICE),
        last_price=price.last_price if price else None,
        price_at=price.at if price else None,
        # Clocks differ: a price is not younger than the answer.
        price_age_s=max(0.0, (now - price.at).total_seconds()) if price else None,
        price_stale=view.stale,
        traded_at=view.traded_at,
        provisional=view.provisional,
        expired=view.expired,
        **_amounts(view.result),
    )


def _amounts(result: Result | DayFigures) -> dict[str, Decimal | None]:
    names = ("realised", "unrealised", "charges", "net")
    amounts: dict[str, Decimal | None] = {name: getattr(result, name) for name in names}
    return {name: None if it is None else it.quantize(PAISA) for name, it in amounts.items()}


def ledger_row_out(row: LedgerRow) -> LedgerRowOut:
    request, execution = row.order.request, row.execution
    filled = execution.filled_quantity
    return LedgerRowOut(
        internal_id=str(row.internal_id),
        execution_id=execution.execution_id,
        order_id=row.order.order_id,
        exchange_id=execution.broker_order_id,
        strategy_tag=request.strategy_tag,
        instrument=str(request.instrument),
        side=request.side,
        product=request.product,
        order_type=request.order_type,
        source=row.order.source,
        tag=execution.tag,
        status=row.status,
        execution_status=execution.status,
        quantity=execution.quantity,
        filled_quantity=filled,
        average_price=(execution.filled_value / filled).quantize(_PRICE) if filled else None,
        due_at=execution.due_at,
        reason_code=execution.reason_code,
        reason=execution.reason,
        metadata=row.answers,
    )
