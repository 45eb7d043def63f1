"""Windows, sessions and curves for tests, and strategies that draw them."""

from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from hypothesis import strategies as st

from pulse_domain.errors import CannotSplit
from pulse_domain.splitting import (
    INDIA,
    Part,
    Schedule,
    Twap,
    VolumeCurve,
    Vwap,
    Weighted,
    Window,
)

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY = datetime(2026, 1, 5, tzinfo=INDIA)

seeds = st.none() | st.integers(0, 2**32)
volumes = st.integers(0, 10**7) | st.sampled_from([0, 1])


def at(clock: str, day: int = 5) -> datetime:
    """A time of day in January 2026, in India."""
    return datetime.fromisoformat(f"2026-01-{day:02}T{clock}+05:30")


def rng_of(seed: int | None) -> Random | None:
    return None if seed is None else Random(seed)


def window(start: str = "09:15", end: str = "10:15", *sessions: tuple[str, str]) -> Window:
    return Window(at(start), at(end), [(at(a), at(b)) for a, b in sessions] if sessions else None)


def curve(*volumes: int, begins: str = "09:15", bucket_us: int = 5 * MINUTE_US) -> VolumeCurve:
    first = (at(begins) - at("00:00")) // timedelta.resolution
    return VolumeCurve.from_pairs(
        [(first + place * bucket_us, volume) for place, volume in enumerate(volumes)], bucket_us=bucket_us
    )


def clocks(parts: list[Part], of: Window) -> list[str]:
    return [of.at(part.offset_us).strftime("%H:%M:%S.%f").removesuffix(".000000") for part in parts]


class Task(NamedTuple):
    """What a schedule is asked for; there is always a lot for every slice, and open time with volume."""

    schedule: Schedule
    num_splits: int
    lots: int
    lot_size: int
    window: Window

    def parts(self, seed: int | None) -> list[Part]:
        return self.schedule.parts(
            self.lots * self.lot_size, self.window, lot_size=self.lot_size, rng=rng_of(seed)
        )


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Windows on and after a day, with or without sessions; where there are any, one is open."""
    start = DAY + timedelta(microseconds=draw(st.integers(0, 24 * HOUR_US)))
    duration_us = draw(st.integers(0, 200) | st.integers(0, 30 * HOUR_US))
    end = start + timedelta(microseconds=duration_us)
    if draw(st.booleans()):
        return Window(start, end)
    # In any order, overlapping or not, before, across and after the window; one holds its start.
    us = st.integers(-40 * HOUR_US, 40 * HOUR_US) | st.integers(-100, 300)
    lengths = st.integers(1, 200) | st.integers(1, 10 * HOUR_US)
    drawn = draw(st.lists(st.tuples(us, lengths), max_size=6))
    spans = draw(st.permutations([*drawn, (draw(st.integers(-50, 0)), draw(st.integers(51, HOUR_US)))]))
    return Window(
        start,
        end,
        [
            (start + timedelta(microseconds=us), start + timedelta(microseconds=us + length))
            for us, length in spans
        ],
    )


@st.composite
def weightings(draw: st.DrawFn) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(1, 10) | st.integers(1, 10**9), min_size=1, max_size=100)))


def _curve(draw: st.DrawFn, of: Window) -> VolumeCurve:
    bucket_us = draw(st.sampled_from([MINUTE_US, 5 * MINUTE_US, 45 * MINUTE_US]))
    some = draw(st.lists(volumes, min_size=1, max_size=40))
    day = [some[place % len(some)] for place in range(24 * HOUR_US // bucket_us)]
    try:
        drawn = curve(*day, begins="00:00", bucket_us=bucket_us)
        drawn.pieces(of)
    except CannotSplit:  # there is no volume while the window is open
        drawn = curve(*[volume + 1 for volume in day], begins="00:00", bucket_us=bucket_us)
    return drawn


def _schedule(draw: st.DrawFn, kind: str, of: Window) -> tuple[Schedule, int]:
    n = draw(st.integers(1, 100))
    if kind == "twap":
        return Twap(n), n
    if kind == "vwap":
        return Vwap(n, _curve(draw, of)), n
    weights = draw(weightings())
    if kind == "weights":
        return Weighted(weights), len(weights)
    instants = st.integers(0, len(of.open_time()) - 1)
    offsets = sorted(draw(st.lists(instants, min_size=len(weights), max_size=len(weights))))
    return Weighted(weights, offsets), len(weights)


KINDS = ("twap", "vwap", "weights", "weights at own times")


@st.composite
def tasks(draw: st.DrawFn, *kinds: str) -> Task:
    of = draw(windows())
    schedule, n = _schedule(draw, draw(st.sampled_from(kinds or KINDS)), of)
    lots = draw(st.integers(n, n * 10) | st.integers(n, 10**6))
    return Task(schedule, n, lots, draw(st.sampled_from([1, 15, 65, 75, 1800])), of)
