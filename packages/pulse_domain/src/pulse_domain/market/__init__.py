"""The rules of the Indian markets as dated data: days, hours, what brokers take, ticks and freeze quantities.

Nothing here is a constant of the code: each figure is a row with the day that it holds from, and the module
that has it names its source. `doc/guides/market_rules.md` tells what is checked where.
"""

from pulse_domain.market.calendar import (
    CalendarAdditions,
    DayStatus,
    SpecialDay,
    TradingDays,
)
from pulse_domain.market.capabilities import CAPABILITIES, BrokerCapabilities, Capability, CapabilityTable
from pulse_domain.market.holidays import CALENDARS
from pulse_domain.market.hours import HOURS, MARKETS
from pulse_domain.market.rules import (
    FreezeReading,
    MisCutoff,
    MisCutoffs,
    index_freeze_quantity,
    largest_order,
    mis_cutoff,
    nse_share_tick,
    parse_mis_cutoffs,
    round_passive,
    round_trigger,
)
from pulse_domain.market.segments import TradingSegment, trading_segment
from pulse_domain.market.sessions import (
    Action,
    HoursTable,
    Phase,
    PhaseKind,
    SegmentSessions,
    Session,
    sessions_by_segment,
)


def market_sessions(additions: tuple[CalendarAdditions, ...] = ()) -> dict[TradingSegment, SegmentSessions]:
    """The sessions of every segment, with what an operator added to the calendars."""
    calendars = [calendar.with_additions(additions) for calendar in CALENDARS]
    return sessions_by_segment(calendars, HOURS, MARKETS)


__all__ = [
    "CALENDARS",
    "CAPABILITIES",
    "HOURS",
    "MARKETS",
    "Action",
    "BrokerCapabilities",
    "CalendarAdditions",
    "Capability",
    "CapabilityTable",
    "DayStatus",
    "FreezeReading",
    "HoursTable",
    "MisCutoff",
    "MisCutoffs",
    "Phase",
    "PhaseKind",
    "SegmentSessions",
    "Session",
    "SpecialDay",
    "TradingDays",
    "TradingSegment",
    "index_freeze_quantity",
    "largest_order",
    "market_sessions",
    "mis_cutoff",
    "nse_share_tick",
    "parse_mis_cutoffs",
    "round_passive",
    "round_trigger",
    "sessions_by_segment",
    "trading_segment",
]
