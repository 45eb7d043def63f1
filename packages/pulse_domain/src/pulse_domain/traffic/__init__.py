"""How fast, and whether at all, calls go to the broker: the sliding window and the circuit breaker.

Both are rules on values and instants that somebody else tells. Who waits, and where the counts are shared,
is up to adapters.
"""

from pulse_domain.traffic.breaker import (
    BREAKER_TRANSITIONS,
    Breaker,
    BreakerEvent,
    BreakerSettings,
    BreakerState,
)
from pulse_domain.traffic.calls import CallCounts, CallKind, Granted, LaneView, Refused
from pulse_domain.traffic.lane import Answer, Lane, LaneRules
from pulse_domain.traffic.unlimited import Unlimited

__all__ = [
    "BREAKER_TRANSITIONS",
    "Answer",
    "Breaker",
    "BreakerEvent",
    "BreakerSettings",
    "BreakerState",
    "CallCounts",
    "CallKind",
    "Granted",
    "Lane",
    "LaneRules",
    "LaneView",
    "Refused",
    "Unlimited",
]
