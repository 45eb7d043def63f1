"""The hours of each segment, as dated data, in Indian time.

Sources, read on 2026-11-20 (reference documents, section 1): NSE "Market timings"; SEBI circular
SEBI/HO/47/11/11(3)2025-MRD-POD2/I/2765/2026 of 2026-01-16 on the closing auction; press on the NSE circulars
of 2026-05-30 (F&O to 15:40) and of December 2025 (F&O pre-open). Changes to the pre-open from 2026-09-07 are
reported without details and are not in here. The first table of a segment is dated where the calendars begin,
not where the exchange began with it.
"""

from datetime import date, time

from pulse_domain.market.segments import TradingSegment
from pulse_domain.market.sessions import (
    ENTRY,
    EVERYTHING,
    MATCHING,
    NOTHING,
    HoursTable,
    Phase,
    PhaseKind,
)
from pulse_domain.orders.model import OrderType, Validity

_BEGIN = date(2016, 1, 1)
_CLOSING_AUCTION = date(2026, 8, 3)
_FUTURES_PRE_OPEN = date(2025, 12, 8)

_AT_ONCE = frozenset({OrderType.MARKET, OrderType.LIMIT})


def _continuous(opens: time, closes: time) -> Phase:
    return Phase(kind=PhaseKind.CONTINUOUS, opens=opens, closes=closes, actions=EVERYTHING)


# Entry ends at a random moment of the last minute; to 09:12 matching, then a buffer.
_PRE_OPEN = (
    Phase(
        kind=PhaseKind.PRE_OPEN,
        opens=time(9, 0), closes=time(9, 8), random_close_from=time(9, 7),
        actions=ENTRY, order_types=_AT_ONCE, validities=frozenset({Validity.DAY}),
    ),
    Phase(kind=PhaseKind.PRE_OPEN_MATCHING, opens=time(9, 8), closes=time(9, 12), actions=MATCHING),
    Phase(kind=PhaseKind.BUFFER, opens=time(9, 12), closes=time(9, 15), actions=NOTHING),
)  # fmt: skip
# Futures of the current month, near expiry also of the next (unverified), 09:00-09:15; no stop-loss and no IOC
# orders. Where entry ends within it is unverified: it is laid out as for shares.
_FUTURES_ENTRY = Phase(
    kind=PhaseKind.PRE_OPEN,
    opens=time(9, 0), closes=time(9, 8), random_close_from=time(9, 7),
    actions=ENTRY, order_types=_AT_ONCE, validities=frozenset({Validity.DAY}),
)  # fmt: skip
_AUCTION = (
    Phase(kind=PhaseKind.REFERENCE_PRICE, opens=time(15, 15), closes=time(15, 20), actions=NOTHING),
    Phase(
        kind=PhaseKind.CLOSING_AUCTION,
        opens=time(15, 20), closes=time(15, 25),
        actions=ENTRY, order_types=_AT_ONCE, validities=frozenset({Validity.DAY}),
    ),
    # Limit orders only; market orders can no longer be changed or cancelled. Random end from 15:28 on.
    Phase(
        kind=PhaseKind.CLOSING_AUCTION,
        opens=time(15, 25), closes=time(15, 30), random_close_from=time(15, 28),
        actions=ENTRY, order_types=frozenset({OrderType.LIMIT}), validities=frozenset({Validity.DAY}),
    ),
    Phase(kind=PhaseKind.CLOSING_MATCHING, opens=time(15, 30), closes=time(15, 35), actions=MATCHING),
)  # fmt: skip


def _post_close(opens: time) -> Phase:
    return Phase(
        kind=PhaseKind.POST_CLOSE,
        opens=opens, closes=time(16, 0),
        actions=EVERYTHING, order_types=_AT_ONCE, validities=frozenset({Validity.DAY}),
    )  # fmt: skip


_OPEN, _CASH_CLOSE = time(9, 15), time(15, 30)
_CASH_BEFORE = HoursTable(
    effective_from=_BEGIN,
    phases=(*_PRE_OPEN, _continuous(_OPEN, _CASH_CLOSE), _post_close(time(15, 40))),
)
_FUTURES_PHASES = (_FUTURES_ENTRY, *_PRE_OPEN[1:])

HOURS = {
    TradingSegment.CASH: (
        _CASH_BEFORE,
        HoursTable(
            effective_from=_CLOSING_AUCTION,
            phases=(*_PRE_OPEN, _continuous(_OPEN, _CASH_CLOSE), _post_close(time(15, 50))),
        ),
    ),
    TradingSegment.CASH_WITH_AUCTION: (
        _CASH_BEFORE,
        HoursTable(
            effective_from=_CLOSING_AUCTION,
            phases=(*_PRE_OPEN, _continuous(_OPEN, time(15, 15)), *_AUCTION, _post_close(time(15, 50))),
        ),
    ),
    TradingSegment.FUTURES: (
        HoursTable(effective_from=_BEGIN, phases=(_continuous(_OPEN, time(15, 30)),)),
        HoursTable(
            effective_from=_FUTURES_PRE_OPEN, phases=(*_FUTURES_PHASES, _continuous(_OPEN, time(15, 30)))
        ),
        HoursTable(
            effective_from=_CLOSING_AUCTION, phases=(*_FUTURES_PHASES, _continuous(_OPEN, time(15, 40)))
        ),
    ),
    TradingSegment.OPTIONS: (
        HoursTable(effective_from=_BEGIN, phases=(_continuous(_OPEN, time(15, 30)),)),
        HoursTable(effective_from=_CLOSING_AUCTION, phases=(_continuous(_OPEN, time(15, 40)),)),
    ),
    TradingSegment.CURRENCY: (
        HoursTable(effective_from=_BEGIN, phases=(_continuous(time(9, 0), time(17, 0)),)),
    ),
    TradingSegment.COMMODITY: (
        HoursTable(
            effective_from=_BEGIN,
            phases=(_continuous(time(9, 0), time(23, 30)),),
            us_winter=(_continuous(time(9, 0), time(23, 55)),),
        ),
    ),
    TradingSegment.COMMODITY_AGRI: (
        HoursTable(effective_from=_BEGIN, phases=(_continuous(time(9, 0), time(17, 0)),)),
    ),
    TradingSegment.COMMODITY_AGRI_INTERNATIONAL: (
        HoursTable(effective_from=_BEGIN, phases=(_continuous(time(9, 0), time(21, 0)),)),
    ),
}

MARKETS = {
    TradingSegment.CASH: "EQUITY",
    TradingSegment.CASH_WITH_AUCTION: "EQUITY",
    TradingSegment.FUTURES: "EQUITY",
    TradingSegment.OPTIONS: "EQUITY",
    TradingSegment.CURRENCY: "CURRENCY",
    TradingSegment.COMMODITY: "COMMODITY",
    TradingSegment.COMMODITY_AGRI: "COMMODITY",
    TradingSegment.COMMODITY_AGRI_INTERNATIONAL: "COMMODITY",
}
