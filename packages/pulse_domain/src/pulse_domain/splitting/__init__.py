"""Cut an order into scheduled slices: pure, in whole lots and whole microseconds, and repeatable.

A `Schedule` gives the parts of a quantity in a `Window`: `Twap` spreads evenly, `Vwap` follows a
`VolumeCurve`, `Weighted` follows the caller's weights. `schedule_slices` adds instants and the orders that
the exchange takes.

Invariants of every schedule, whatever the input: the quantities sum to the total; each is a whole number
of lots, at least one; there are as many as were asked for; times never decrease and stay in the window's
open time. The same random source gives the same parts; without one nothing is left to chance.
"""

from pulse_domain.splitting.curve import VolumeBar, VolumeCurve
from pulse_domain.splitting.limits import PaceLimits, check_pace, chunks, largest_chunk
from pulse_domain.splitting.parts import QUANTITY_BAND_PERCENT, TIME_BAND_PERCENT, Part, twap
from pulse_domain.splitting.schedules import (
    Schedule,
    ScheduledSlice,
    Twap,
    Vwap,
    Weighted,
    schedule_slices,
)
from pulse_domain.splitting.shares import Weight
from pulse_domain.splitting.window import Window
from pulse_domain.units import INDIA

__all__ = [
    "INDIA",
    "QUANTITY_BAND_PERCENT",
    "TIME_BAND_PERCENT",
    "PaceLimits",
    "Part",
    "Schedule",
    "ScheduledSlice",
    "Twap",
    "VolumeBar",
    "VolumeCurve",
    "Vwap",
    "Weight",
    "Weighted",
    "Window",
    "check_pace",
    "chunks",
    "largest_chunk",
    "schedule_slices",
    "twap",
]
