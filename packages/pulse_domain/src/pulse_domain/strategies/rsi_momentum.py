"""Momentum by RSI, with the trend.

| to go long, on the close of one candle                                  | parameters            |
|-------------------------------------------------------------------------|-----------------------|
| the RSI crosses above `enter`: it was at it or below one candle ago     | `rsi_length`, `enter` |
| the close is above the EMA                                              | `trend`               |

To go short, with `short`, all is mirrored: the RSI crosses below 100 - `enter`, and the close is below the EMA.

| to close the position |                                                                          |
|-----------------------|--------------------------------------------------------------------------|
| long                  | the RSI is below `leave`                                                 |
| short                 | the RSI is above 100 - `leave`                                           |
| either                | `hold_candles` have closed while it was held, where that is not 0        |
| either                | the stop, `flat_at`: `pulse_domain.strategies.one_position`              |

Volume plays no part, so it trades on an index's prices as well.

The first entry can come with candle number `trend` or `rsi_length` + 2, whichever is later: 50 by default.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from pulse_domain.errors import InvalidSettings
from pulse_domain.indicators import Ema, Rsi
from pulse_domain.matching import Candle
from pulse_domain.strategies.one_position import (
    LONG,
    NOTHING,
    SHORT,
    Length,
    OnePosition,
    PositionParameters,
)


class RsiParameters(PositionParameters, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be chosen, beside what `PositionParameters` has.

    rsi_length: in candles.
    enter, leave: levels of the RSI for a long position; those of a short one are 100 less these.
    trend: length of the EMA that the close is held against.
    hold_candles: how many candles a position is held at most; 0 for as long as it goes.
    """

    rsi_length: Length = 14
    enter: Annotated[float, Meta(gt=0, lt=100)] = 60.0
    leave: Annotated[float, Meta(gt=0, lt=100)] = 50.0
    trend: Length = 50
    hold_candles: Annotated[int, Meta(ge=0, le=100_000)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.leave > self.enter:
            raise InvalidSettings(
                f"leave must not be above enter, and {self.leave:g} is above {self.enter:g}", field="leave"
            )


class RsiSignals:
    """Of one instrument."""

    def __init__(self, chosen: RsiParameters) -> None:
        self._rsi, self._trend = Rsi(chosen.rsi_length), Ema(chosen.trend)
        self._enter, self._leave, self._hold = chosen.enter, chosen.leave, chosen.hold_candles

    def add(self, candle: Candle) -> int:
        close = float(candle.close)
        before = self._rsi.value
        now, trend = self._rsi.add(close), self._trend.add(close)
        if before is None or now is None or trend is None:
            return NOTHING
        if before <= self._enter < now and close > trend:
            return LONG
        if before >= 100 - self._enter > now and close < trend:
            return SHORT
        return NOTHING

    def leaves(self, side: int, candles: int) -> bool:
        if self._hold and candles >= self._hold:
            return True
        rsi = self._rsi.value
        if rsi is None:
            return False
        return rsi < self._leave if side == LONG else rsi > 100 - self._leave

    def snapshot(self) -> dict[str, Any]:
        return {"rsi": self._rsi.snapshot(), "trend": self._trend.snapshot()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._rsi.restore(state["rsi"])
        self._trend.restore(state["trend"])


class RsiMomentum(OnePosition):
    """Momentum by RSI, with the trend; the rules are at the top of this module."""

    Parameters: ClassVar[type[RsiParameters]] = RsiParameters
    parameters: RsiParameters

    def __init__(self, parameters: RsiParameters | None = None) -> None:
        super().__init__(parameters)
        it = self.parameters
        # An EMA has forgotten its beginning after some four times its length, Wilder's average after eight.
        self.past_candles = max(4 * it.trend, 8 * it.rsi_length, 8 * it.atr_length)

    def signals(self) -> RsiSignals:
        return RsiSignals(self.parameters)
