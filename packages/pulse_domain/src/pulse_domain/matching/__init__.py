"""Matching of orders against ticks and candles: pure, deterministic, the same in backtest and paper trading."""

from pulse_domain.matching.engine import MatchingEngine
from pulse_domain.matching.values import (
    Accepted,
    Cancelled,
    Candle,
    Filled,
    Modified,
    Rejected,
    Result,
    Tick,
    Triggered,
    VenueOrder,
)

__all__ = [
    "Accepted",
    "Cancelled",
    "Candle",
    "Filled",
    "MatchingEngine",
    "Modified",
    "Rejected",
    "Result",
    "Tick",
    "Triggered",
    "VenueOrder",
]
