"""Strategies that are shipped, hosted by backtests and live alike: `macd` and `rsi`.

Their rules are in `macd_volume_trend` and `rsi_momentum`, and those that both keep to in `one_position`.
"""

from pulse_domain.strategies.macd_volume_trend import MacdVolumeTrend
from pulse_domain.strategies.registry import STRATEGIES, make_strategy
from pulse_domain.strategies.rsi_momentum import RsiMomentum

__all__ = ["STRATEGIES", "MacdVolumeTrend", "RsiMomentum", "make_strategy"]
