"""The risk gate, put together alike in every process that accepts orders."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from pulse_domain.charges import ChargesSchedule
from pulse_domain.errors import RiskRejected
from pulse_domain.ports.audit_log import AuditLog
from pulse_domain.ports.candle_store import CandleStore
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.ports.trading_calendar import TradingCalendar
from pulse_domain.risk import RiskLimits
from pulse_domain.use_cases.positions import DayResult, ReadPositions
from pulse_domain.use_cases.risk_gate import Reads, RefusedOrder, RiskGate

log = structlog.get_logger(__name__)


def build_risk_gate(
    limits: RiskLimits,
    store: OrderStore,
    prices: PriceBoard | None,
    candles: CandleStore | None,
    audit: AuditLog,
    calendar: TradingCalendar | None,
    clock: Clock,
    *,
    charges: ChargesSchedule | None,
    watched: OrderStore | None = None,
    on_refused: Callable[[str], object] = lambda rule: None,
) -> RiskGate | None:
    """The gate for these limits; None where none is set.

    charges: what the broker charges: the day's result is after them.
    watched: the store that much is read of, where that has connections of its own.
    on_refused: told of every rule that refused an order.
    """
    if not limits.any_set:
        return None

    def refused(order: RefusedOrder, error: RiskRejected) -> None:
        rules = [reason["rule"] for reason in error.details["reasons"]]
        log.warning(
            "the risk gate refuses an order",
            client_id=order.client_id,
            order_unique_key=order.key,
            source=str(order.source),
            instrument=str(order.request.instrument),
            rules=rules,
            reason=error.message,
        )
        for rule in rules:
            on_refused(rule)

    read = watched or store
    return RiskGate(
        store,
        prices,
        ReadPositions(read, prices, charges),
        DayResult(read, prices, charges, candles),
        calendar,
        clock,
        limits,
        audit,
        on_refused=refused,
        unheard=lambda error: log.error("the audit log does not take a refusal", error=str(error)),
        together=at_once,
    )


async def at_once(reads: Reads) -> Sequence[Any]:
    """Read all at the same time."""
    return await asyncio.gather(*(read() for read in reads))
