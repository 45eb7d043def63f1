"""The shipped strategies, by the names under which they are asked for."""

from collections.abc import Iterable, Mapping
from typing import Any

from pulse_domain.errors import InvalidSettings
from pulse_domain.instruments import Instrument
from pulse_domain.strategies.macd_volume_trend import MacdVolumeTrend
from pulse_domain.strategies.one_position import OnePosition
from pulse_domain.strategies.rsi_momentum import RsiMomentum
from pulse_domain.strategy import Strategy, strategy_from

STRATEGIES: dict[str, type[Strategy]] = {"macd": MacdVolumeTrend, "rsi": RsiMomentum}


def make_strategy(kind: str, instruments: Iterable[Instrument], parameters: Mapping[str, Any]) -> Strategy:
    """Make a shipped strategy of parameters by name: values as in JSON, or the text of such.

    Raises:
        InvalidSettings: there is no such kind; a parameter is unknown, out of range, or not for one of the
            instruments. `details` name it.
    """
    found = STRATEGIES.get(kind)
    if found is None:
        raise InvalidSettings(
            f"there is no strategy {kind[:40]!r}; there are {', '.join(STRATEGIES)}", field="kind"
        )
    made = strategy_from(found, instruments, parameters)
    if isinstance(made, OnePosition):
        made.check_instruments()
    return made
