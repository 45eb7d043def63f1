"""Schedules behind one interface, and their slices as the exchange takes them."""

from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate, pairwise
from random import Random
from typing import Protocol

from msgspec import Struct

from pulse_domain.errors import CannotSplit
from pulse_domain.splitting.curve import VolumeCurve
from pulse_domain.splitting.limits import chunks
from pulse_domain.splitting.parts import Part, paced_offsets, twap, whole, whole_lots
from pulse_domain.splitting.shares import Weight, deal_lots, whole_weights
from pulse_domain.splitting.window import OpenTime, Window


class Schedule(Protocol):
    """How a quantity is spread over a window; a value, which holds no state between calls."""

    def parts(
        self, total_quantity: int, window: Window, *, lot_size: int = 1, rng: Random | None = None
    ) -> list[Part]:
        """Give the parts, in order of time; with a random source, what the schedule leaves to chance.

        Raises:
            CannotSplit: no parts fit the quantity, lot and window; `details` carry what is feasible.
        """
        ...


class Twap(Struct, frozen=True):
    """Equal slices at equal intervals of the open time, from its first instant to its last.

    With a random source, quantities and inner times vary within the bands of `twap`.
    """

    num_splits: int

    def parts(
        self, total_quantity: int, window: Window, *, lot_size: int = 1, rng: Random | None = None
    ) -> list[Part]:
        open_time = window.open_time()
        paced = twap(total_quantity, self.num_splits, len(open_time) - 1, lot_size=lot_size, rng=rng)
        return [Part(open_time.offset_us(part.offset_us), part.quantity) for part in paced]


class Vwap(Struct, frozen=True):
    """Slices at equal intervals, each as large as its interval's share of the volume.

    Time without volume in the curve counts as closed. The rest of the open time is cut into as many equal
    slots as there are slices; a slice is due at the start of its slot, or with a random source anywhere in
    it, and its quantity is the slot's share by largest remainder, at least one lot (see `deal_lots`).
    """

    num_splits: int
    curve: VolumeCurve

    def parts(
        self, total_quantity: int, window: Window, *, lot_size: int = 1, rng: Random | None = None
    ) -> list[Part]:
        n = self.num_splits
        lots, lot_size = whole_lots(total_quantity, n, lot_size), whole(lot_size)
        pieces = self.curve.pieces(window)
        active = OpenTime((piece.first_us, piece.last_us) for piece in pieces)
        slots = [i * len(active) // n for i in range(n + 1)]
        before = [0, *accumulate((piece.last_us - piece.first_us + 1) * piece.volume for piece in pieces)]

        def traded(instants: int) -> int:
            if instants == len(active):
                return before[-1]
            span = active.span_of(instants)
            return before[span] + (instants - active.firsts[span]) * pieces[span].volume

        sizes = deal_lots(lots, [traded(b) - traded(a) for a, b in pairwise(slots)])
        due = [
            first if rng is None else first + int(rng.random() * (b - first)) for first, b in pairwise(slots)
        ]
        return [
            Part(active.offset_us(instant), size * lot_size) for instant, size in zip(due, sizes, strict=True)
        ]


class Weighted(Struct, frozen=True):
    """Slices in proportion to weights, by largest remainder, at least one lot each (see `deal_lots`).

    weights: above 0; only their ratio counts. 0.1 counts as a tenth.
    offsets_us: when each is due, in microseconds of *open* time after the window's first open instant. Where
        not given the times are those of `Twap`, which a random source varies; own offsets are kept.

    Raises:
        CannotSplit: a weight that is none, or offsets that are not one for each, or that decrease.
    """

    weights: Sequence[Weight]
    offsets_us: Sequence[int] | None = None

    def __post_init__(self) -> None:
        whole_weights(self.weights)
        if self.offsets_us is None:
            return
        if len(self.offsets_us) != len(self.weights):
            raise CannotSplit(
                f"{len(self.offsets_us)} offsets do not go with {len(self.weights)} weights",
                offsets=len(self.offsets_us), weights=len(self.weights),
            )  # fmt: skip
        for row, (before, offset) in enumerate(pairwise([0, *self.offsets_us]), start=1):
            if whole(offset) < before:
                raise CannotSplit(f"offset {row} is {offset}, earlier than {before}", row=row)

    def parts(
        self, total_quantity: int, window: Window, *, lot_size: int = 1, rng: Random | None = None
    ) -> list[Part]:
        lots, lot_size = whole_lots(total_quantity, len(self.weights), lot_size), whole(lot_size)
        open_time = window.open_time()
        last = len(open_time) - 1
        if self.offsets_us is None:
            due: Sequence[int] = paced_offsets(len(self.weights), last, rng)
        elif self.offsets_us[-1] > last:
            raise CannotSplit(
                f"the last offset is {self.offsets_us[-1]} us, the window is open for {last} us", open_us=last
            )
        else:
            due = self.offsets_us
        sizes = deal_lots(lots, whole_weights(self.weights))
        return [
            Part(open_time.offset_us(whole(instant)), size * lot_size)
            for instant, size in zip(due, sizes, strict=True)
        ]


class ScheduledSlice(Struct, frozen=True, kw_only=True):
    """A slice and the orders that it is sent as, all due at its instant.

    seq: from 1.
    cumulative_quantity: of this slice and those before.
    """

    seq: int
    at: datetime
    offset_us: int
    quantity: int
    chunks: tuple[int, ...]
    cumulative_quantity: int


def schedule_slices(
    schedule: Schedule,
    total_quantity: int,
    window: Window,
    *,
    lot_size: int = 1,
    freeze_quantity: int | None = None,
    rng: Random | None = None,
) -> tuple[ScheduledSlice, ...]:
    """Lay a schedule out: instants, and orders none of which is above the freeze quantity.

    Raises:
        CannotSplit: no schedule fits the quantity, lot, freeze quantity and window.
    """
    parts = schedule.parts(total_quantity, window, lot_size=lot_size, rng=rng)
    sums = accumulate(part.quantity for part in parts)
    return tuple(
        ScheduledSlice(
            seq=seq,
            at=window.at(part.offset_us),
            offset_us=part.offset_us,
            quantity=part.quantity,
            chunks=tuple(chunks(part.quantity, lot_size=lot_size, freeze_quantity=freeze_quantity)),
            cumulative_quantity=cumulative,
        )
        for seq, (part, cumulative) in enumerate(zip(parts, sums, strict=True), start=1)
    )
