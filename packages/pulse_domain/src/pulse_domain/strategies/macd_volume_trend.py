"""MACD with the trend, on volume.

| to go long, on the close of one candle                                       | parameters               |
|------------------------------------------------------------------------------|--------------------------|
| the MACD crosses above its signal line: it was at it or below a candle ago   | `fast`, `slow`, `signal` |
| the close is above the EMA                                                   | `trend`                  |
| the volume is above `volume_factor` times its average, this candle included  | `volume_length`          |

To go short, with `short`, it is the MACD that crosses below, the close below the EMA, and the volume as above.

| to close the position           |                                                             |
|---------------------------------|-------------------------------------------------------------|
| long                            | the MACD is below its signal line                           |
| short                           | the MACD is above its signal line                           |
| either                          | the stop, `flat_at`: `pulse_domain.strategies.one_position` |

An index has no volume, and no candle of it is above the average: there, `use_volume` must be false, which
leaves that rule out.

The first entry can come with candle number `trend` or later: 200 by default.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from pulse_domain.errors import InvalidSettings
from pulse_domain.indicators import Ema, Macd, Sma
from pulse_domain.matching import Candle
from pulse_domain.strategies.one_position import (
    LONG,
    NOTHING,
    SHORT,
    Length,
    OnePosition,
    PositionParameters,
)


class MacdParameters(PositionParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be chosen, beside what `PositionParameters` has.

    fast, slow, signal: lengths of the MACD, in candles.
    trend: length of the EMA that the close is held against.
    volume_length, volume_factor: the average volume, and how many times it a signal needs.
    use_volume: whether volume is looked at.
    """

    fast: Length = 12
    slow: Length = 26
    signal: Length = 9
    trend: Length = 200
    volume_length: Length = 20
    volume_factor: Annotated[float, Meta(ge=0, le=100)] = 1.0
    use_volume: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fast >= self.slow:
            raise InvalidSettings(
                f"fast must be below slow, and {self.fast} is not below {self.slow}", field="fast"
            )


class MacdSignals:
    """Of one instrument."""

    def __init__(self, chosen: MacdParameters) -> None:
        self._macd = Macd(chosen.fast, chosen.slow, chosen.signal)
        self._trend = Ema(chosen.trend)
        self._volume = Sma(chosen.volume_length)
        self._factor = chosen.volume_factor if chosen.use_volume else None

    def add(self, candle: Candle) -> int:
        close, volume = float(candle.close), float(candle.volume)
        before = self._macd.histogram
        self._macd.add(close)
        now = self._macd.histogram
        trend, average = self._trend.add(close), self._volume.add(volume)
        if before is None or now is None or trend is None:
            return NOTHING
        if self._factor is not None and (average is None or volume <= self._factor * average):
            return NOTHING
        if before <= 0 < now and close > trend:
            return LONG
        if before >= 0 > now and close < trend:
            return SHORT
        return NOTHING

    def leaves(self, side: int, candles: int) -> bool:
        histogram = self._macd.histogram
        return histogram is not None and histogram * side < 0

    def snapshot(self) -> dict[str, Any]:
        return {
            "macd": self._macd.snapshot(), "trend": self._trend.snapshot(), "volume": self._volume.snapshot(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        self._macd.restore(state["macd"])
        self._trend.restore(state["trend"])
        self._volume.restore(state["volume"])


class MacdVolumeTrend(OnePosition):
    """MACD with the trend, on volume; the rules are at the top of this module."""

    Parameters: ClassVar[type[MacdParameters]] = MacdParameters
    parameters: MacdParameters

    def __init__(self, parameters: MacdParameters | None = None) -> None:
        super().__init__(parameters)
        it = self.parameters
        # An EMA has forgotten its beginning after some four times its length, Wilder's average after eight.
        self.past_candles = max(4 * it.trend, 4 * (it.slow + it.signal), it.volume_length, 8 * it.atr_length)

    def signals(self) -> MacdSignals:
        return MacdSignals(self.parameters)
