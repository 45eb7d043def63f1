"""Matching of orders against ticks and candles: pure, deterministic, the same in backtest and paper trading."""

from pulse_domain.matching.book import Reach
from pulse_domain.matching.engine import MatchingEngine
from pulse_domain.matching.settings import (
    BasisPoints,
    CandleEntry,
    CandlePath,
    FixedTicks,
    ImpactShape,
    Latency,
    MatchingSettings,
    Slippage,
    VolumeImpact,
)
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
    "BasisPoints",
    "Cancelled",
    "Candle",
    "CandleEntry",
    "CandlePath",
    "Filled",
    "FixedTicks",
    "ImpactShape",
    "Latency",
    "MatchingEngine",
    "MatchingSettings",
    "Modified",
    "Reach",
    "Rejected",
    "Result",
    "Slippage",
    "Tick",
    "Triggered",
    "VenueOrder",
    "VolumeImpact",
]
