"""The charges of the venue: those of the domain, and example rates where it has none (MCX and CDS)."""

from datetime import date
from decimal import Decimal

from msgspec.structs import replace

from pulse_domain.charges import ZERODHA, Brokerage, ChargesSchedule, Rates, RateTable, Segment
from pulse_domain.instruments import Exchange


def _percent(text: str) -> Decimal:
    return Decimal(text).scaleb(-2)


_CAPPED = Brokerage(rate=_percent("0.03"), cap=Decimal(20))
_FLAT = Brokerage(flat=Decimal(20))
_SEBI_FEE = _percent("0.0001")
# Non-agricultural commodities and rupee pairs; dated 2026, examples for a simulation.
_MORE = {
    (Exchange.MCX, Segment.FUTURES): Rates(
        brokerage=_CAPPED, stt_sell=_percent("0.01"), exchange_fee=_percent("0.0021"), sebi_fee=_SEBI_FEE,
        stamp_duty_buy=_percent("0.002"),
    ),
    (Exchange.MCX, Segment.OPTIONS): Rates(
        brokerage=_FLAT, stt_sell=_percent("0.05"), exchange_fee=_percent("0.0418"), sebi_fee=_SEBI_FEE,
        stamp_duty_buy=_percent("0.003"),
    ),
    (Exchange.CDS, Segment.FUTURES): Rates(
        brokerage=_CAPPED, exchange_fee=_percent("0.00035"), sebi_fee=_SEBI_FEE,
        stamp_duty_buy=_percent("0.0001"),
    ),
    (Exchange.CDS, Segment.OPTIONS): Rates(
        brokerage=_CAPPED, exchange_fee=_percent("0.0311"), sebi_fee=_SEBI_FEE,
        stamp_duty_buy=_percent("0.0001"),
    ),
}  # fmt: skip


def _with_more(table: RateTable) -> RateTable:
    return replace(table, rates={**_MORE, **table.rates})


_FIRST = min(ZERODHA.tables, key=lambda table: table.effective_from)
# A simulation may run on any day: before the first dated table it charges by that one.
SCHEDULE: ChargesSchedule = replace(
    ZERODHA,
    name="simulator",
    tables=tuple(_with_more(t) for t in (replace(_FIRST, effective_from=date.min), *ZERODHA.tables)),
)
