"""Answers of the gateway with defaults, so that each test shows only what matters."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pulse.views import Execution, Order, Quantities, Slice

NINE = datetime.fromisoformat("2026-01-05T09:15:00+05:30")


def quantities(total: int = 120, **parts: int) -> Quantities:
    names = ("filled", "working", "unknown", "unsent", "cancelled", "failed", "overfilled")
    return Quantities(total=total, **{name: parts.get(name, 0) for name in names})


def order(**given: Any) -> Order:
    fields: dict[str, Any] = {
        "order_id": "ord_1",
        "order_unique_key": "k-1",
        "instrument": "NSE:TCS",
        "side": "BUY",
        "total_quantity": 120,
        "order_type": "MARKET",
        "limit_price": None,
        "trigger_price": None,
        "product": "CNC",
        "validity": "DAY",
        "strategy_tag": None,
        "split_config": None,
        "state": "WORKING",
        "done": False,
        "quantities": quantities(unsent=120),
        "average_price": None,
        "order_queue_skip_reason": None,
        "failure": None,
        "created_at": NINE,
        "starts_at": NINE,
        "ends_at": NINE,
        "cancel_requested_at": None,
        "paused": False,
    }
    return Order(**fields | given)


def execution(**given: Any) -> Execution:
    fields: dict[str, Any] = {
        "execution_id": "exe_1",
        "broker_order_id": None,
        "status": "PLANNED",
        "filled_quantity": 0,
        "average_price": None,
        "reason_code": None,
        "reason": None,
    }
    return Execution(**fields | given)


def filled(quantity: int, average_price: str) -> Execution:
    return execution(status="FILLED", filled_quantity=quantity, average_price=Decimal(average_price))


def slice_(seq: int = 1, **given: Any) -> Slice:
    fields: dict[str, Any] = {
        "seq": seq,
        "quantity": 20,
        "scheduled_at": NINE + timedelta(minutes=seq - 1),
        "stage": "SCHEDULED",
        "outcome": None,
        "executions": (execution(),),
    }
    return Slice(**fields | given)
