"""Schedules: the faults seen elsewhere, then what must hold of every one of them."""

import random
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pulse_domain.errors import CannotSplit
from pulse_domain.splitting import (
    QUANTITY_BAND_PERCENT,
    Part,
    Schedule,
    Twap,
    VolumeCurve,
    Vwap,
    Weighted,
    Window,
    chunks,
    schedule_slices,
    twap,
)
from tests.unit.splitting import make
from tests.unit.splitting.make import HOUR_US, MINUTE_US, Task

FLAT = make.curve(*[100] * 12)
SMILE = make.curve(*[900, 500, 300, 200, 100, 100, 100, 100, 200, 300, 500, 900])

each_schedule = pytest.mark.parametrize(
    "schedule_of",
    [
        Twap,
        lambda n: Vwap(n, SMILE),
        lambda n: Weighted(range(1, n + 1)),
        lambda n: Weighted(range(1, n + 1), [place * MINUTE_US for place in range(n)]),
    ],
    ids=make.KINDS,
)


def quantities(parts: list[Part]) -> list[int]:
    return [part.quantity for part in parts]


# --- faults seen elsewhere ---------------------------------------------------------------------


@each_schedule
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_750_of_lot_75_over_4_stays_on_the_lot_in_every_schedule(schedule_of, seed: int | None) -> None:
    parts = schedule_of(4).parts(750, make.window(), lot_size=75, rng=make.rng_of(seed))

    assert len(parts) == 4
    assert sum(quantities(parts)) == 750
    assert all(quantity % 75 == 0 for quantity in quantities(parts))


@each_schedule
def test_10000_over_3_is_cut_at_a_freeze_limit_of_1800_in_every_schedule(schedule_of) -> None:
    slices = schedule_slices(schedule_of(3), 10_000, make.window(), freeze_quantity=1800)

    assert len(slices) == 3
    assert all(0 < size <= 1800 for it in slices for size in it.chunks)
    assert sum(size for it in slices for size in it.chunks) == 10_000


@each_schedule
@pytest.mark.parametrize(("quantity", "lot_size", "most"), [(7, 1, 7), (300, 75, 4), (675, 75, 9)])
def test_fewer_lots_than_slices_are_refused_by_every_schedule(
    schedule_of, quantity: int, lot_size: int, most: int
) -> None:
    with pytest.raises(CannotSplit) as refused:
        schedule_of(10).parts(quantity, make.window(), lot_size=lot_size)

    assert refused.value.details["max_splits"] == most
    parts = schedule_of(most).parts(quantity, make.window(), lot_size=lot_size)
    assert quantities(parts) == [lot_size] * most


@each_schedule
@pytest.mark.parametrize("seed", [None, 1])
def test_1003_over_10_is_10_slices_in_every_schedule(schedule_of, seed: int | None) -> None:
    parts = schedule_of(10).parts(1003, make.window(), rng=make.rng_of(seed))

    assert len(parts) == 10
    assert sum(quantities(parts)) == 1003


def test_a_horizon_of_three_tenths_of_a_second_keeps_its_last_step() -> None:
    third = Window(make.at("09:15:00"), make.at("09:15:00.300000"))

    assert [part.offset_us for part in Twap(4).parts(4, third)] == [0, 100_000, 200_000, 300_000]
    assert [part.offset_us for part in Weighted([1] * 4).parts(4, third)] == [0, 100_000, 200_000, 300_000]


def test_weights_of_tenths_do_not_lose_a_lot_to_rounding_down() -> None:
    # 0.7 / (0.1 + 0.2 + 0.7) of 10 is 6.999... in floats, and 0.1 * 3 is more than 0.3.
    assert quantities(Weighted([0.1, 0.2, 0.7]).parts(10, make.window())) == [1, 2, 7]
    assert quantities(Weighted([0.1, 0.1, 0.1, 0.3]).parts(600, make.window())) == [100, 100, 100, 300]
    assert quantities(Weighted([0.29] * 100).parts(100, make.window())) == [1] * 100


@pytest.mark.parametrize(
    ("quantity", "num_splits", "duration_us", "lot_size"),
    [(100.0, 4, 1000, 1), (100, 4.0, 1000, 1), (100, 4, 0.3, 1), (100, 4, 1000, 1.0), ("100", 4, 1000, 1)],
)
def test_what_is_no_whole_number_is_refused(quantity, num_splits, duration_us, lot_size) -> None:
    with pytest.raises(CannotSplit, match="whole numbers"):
        twap(quantity, num_splits, duration_us, lot_size=lot_size)


@each_schedule
def test_quantities_as_floats_are_refused_by_every_schedule(schedule_of) -> None:
    with pytest.raises(CannotSplit, match="whole numbers"):
        schedule_of(4).parts(100.0, make.window())


@each_schedule
def test_a_session_that_ends_in_mid_window_takes_all_slices_before_it(schedule_of) -> None:
    ends_early = make.window("15:00", "16:00", ("09:15", "15:30"))
    schedule: Schedule = schedule_of(6)
    if isinstance(schedule, Vwap):
        schedule = Vwap(6, make.curve(*[100] * 24, begins="14:30"))

    slices = schedule_slices(schedule, 600, ends_early)

    assert slices[-1].cumulative_quantity == 600
    assert make.at("15:00") <= slices[0].at <= slices[-1].at < make.at("15:30")


@each_schedule
def test_scheduling_leaves_the_process_wide_random_generator_alone(schedule_of) -> None:
    before = random.getstate()

    schedule_of(10).parts(1003, make.window(), rng=random.Random(7))
    schedule_of(10).parts(1003, make.window())

    assert random.getstate() == before


# --- what holds of every schedule --------------------------------------------------------------


@given(make.tasks(), make.seeds)
def test_every_schedule_gives_whole_lots_that_sum_to_the_total(task: Task, seed: int | None) -> None:
    parts = task.parts(seed)

    assert len(parts) == task.num_splits
    assert sum(quantities(parts)) == task.lots * task.lot_size
    for part in parts:
        assert type(part.quantity) is type(part.offset_us) is int
        assert part.quantity >= task.lot_size
        assert part.quantity % task.lot_size == 0


@given(make.tasks(), make.seeds)
def test_every_schedule_stays_in_its_window_and_never_goes_back(task: Task, seed: int | None) -> None:
    offsets = [part.offset_us for part in task.parts(seed)]

    assert offsets == sorted(offsets)
    assert offsets[0] >= 0
    assert offsets[-1] <= task.window.duration_us


@given(make.tasks(), make.seeds)
def test_nothing_is_due_outside_the_sessions(task: Task, seed: int | None) -> None:
    assume(task.window.sessions is not None)

    for part in task.parts(seed):
        due = task.window.at(part.offset_us)
        assert any(start <= due < end for start, end in task.window.sessions or ())


@given(make.tasks(), make.seeds)
def test_every_schedule_is_the_same_from_the_same_random_source(task: Task, seed: int | None) -> None:
    assert task.parts(seed) == task.parts(seed)


@given(make.tasks(), make.seeds)
def test_no_quantity_or_time_depends_on_the_size_of_the_lot(task: Task, seed: int | None) -> None:
    in_lots = task._replace(lot_size=1).parts(seed)

    # Randomised quantities are rounded to the band of the total, which is the same in lots.
    assert task.parts(seed) == [Part(part.offset_us, part.quantity * task.lot_size) for part in in_lots]


@given(make.tasks(), make.seeds, st.integers(1, 60), st.integers(0, 5000))
def test_every_slice_is_sent_in_orders_that_the_exchange_takes(
    task: Task, seed: int | None, freeze_lots: int, above: int
) -> None:
    freeze = freeze_lots * task.lot_size + above % task.lot_size
    assume(task.lots // freeze_lots < 2000)

    slices = schedule_slices(
        task.schedule, task.lots * task.lot_size, task.window,
        lot_size=task.lot_size, freeze_quantity=freeze, rng=make.rng_of(seed),
    )  # fmt: skip

    assert [Part(it.offset_us, it.quantity) for it in slices] == task.parts(seed)
    assert [it.seq for it in slices] == list(range(1, task.num_splits + 1))
    for before, it in pairwise([None, *slices]):
        assert it is not None
        assert list(it.chunks) == chunks(it.quantity, lot_size=task.lot_size, freeze_quantity=freeze)
        assert all(0 < size <= freeze and size % task.lot_size == 0 for size in it.chunks)
        assert sum(it.chunks) == it.quantity
        assert it.cumulative_quantity == it.quantity + (before.cumulative_quantity if before else 0)
        assert (it.at - task.window.start) // timedelta.resolution == it.offset_us


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(make.KINDS), make.seeds)
def test_every_schedule_is_feasible_exactly_when_there_is_a_lot_for_every_slice(
    lots: int, n: int, kind: str, seed: int | None
) -> None:
    schedules: dict[str, Schedule] = {
        "twap": Twap(n), "vwap": Vwap(n, SMILE), "weights": Weighted([1] * n),
        "weights at own times": Weighted([1] * n, [0] * n),
    }  # fmt: skip
    try:
        schedules[kind].parts(lots * 75, make.window(), lot_size=75, rng=make.rng_of(seed))
    except CannotSplit:
        feasible = False
    else:
        feasible = True

    assert feasible is (lots >= n)


# --- TWAP --------------------------------------------------------------------------------------


@given(make.tasks("twap"), make.seeds)
def test_twap_without_sessions_is_the_function(task: Task, seed: int | None) -> None:
    open_all_day = Window(task.window.start, task.window.end)

    parts = task._replace(window=open_all_day).parts(seed)

    total = task.lots * task.lot_size
    assert parts == twap(
        total, task.num_splits, open_all_day.duration_us, lot_size=task.lot_size, rng=make.rng_of(seed)
    )


@given(make.tasks("twap"), make.seeds)
def test_twap_keeps_its_quantity_bands_in_sessions(task: Task, seed: int | None) -> None:
    base, band = Fraction(task.lots, task.num_splits), Fraction(QUANTITY_BAND_PERCENT, 100)
    if seed is None:
        lowest, highest = floor(base), ceil(base)
    else:
        lowest, highest = max(1, floor(base * (1 - band))), ceil(base * (1 + band))

    for part in task.parts(seed):
        assert lowest <= part.quantity // task.lot_size <= highest


@given(make.tasks("twap", "weights"), make.seeds)
def test_first_and_last_are_the_ends_of_the_open_time(task: Task, seed: int | None) -> None:
    offsets = [part.offset_us for part in task.parts(seed)]
    open_time = task.window.open_time()

    assert offsets[0] == open_time.spans[0][0]
    assert offsets[-1] == (open_time.spans[-1][1] if task.num_splits > 1 else offsets[0])


def test_twap_goes_on_behind_a_break_at_its_pace() -> None:
    broken = make.window("11:00", "14:00", ("09:00", "11:30"), ("12:30", "15:30"))

    parts = Twap(5).parts(500, broken)

    # Two hours are open: a slice every thirty minutes of them, less the microsecond that a close costs.
    assert make.clocks(parts, broken) == ["11:00:00", "12:30:00", "13:00:00", "13:30:00", "14:00:00"]


# --- VWAP --------------------------------------------------------------------------------------


def volume_of_slots(curve: VolumeCurve, window: Window, n: int) -> list[Fraction]:
    """By a second way: the volume up to an instant of active time is read off instant by instant."""
    pieces = curve.pieces(window)
    length = sum(piece.last_us - piece.first_us + 1 for piece in pieces)

    def before(instant: int) -> int:
        volume = 0
        for piece in pieces:
            here = min(instant, piece.last_us - piece.first_us + 1)
            volume, instant = volume + here * piece.volume, instant - here
        return volume

    ends = [i * length // n for i in range(n + 1)]
    return [Fraction(before(b) - before(a), before(length)) for a, b in pairwise(ends)]


def assert_fair(sizes: list[int], shares: list[Fraction], lots: int) -> None:
    """Each is within one lot of its share, where shares below a lot do not take from the others."""
    small: set[int] = set()
    while True:
        rest = sum(share for place, share in enumerate(shares) if place not in small)
        left = lots - len(small)
        fair = {place: share / rest * left for place, share in enumerate(shares) if place not in small and rest}
        below = {place for place, lots_due in fair.items() if lots_due < 1}
        if not below:
            break
        small.add(min(below, key=fair.__getitem__))
    assert all(sizes[place] == 1 for place in small)
    assert all(abs(sizes[place] - due) < 1 for place, due in fair.items())


@given(make.tasks("vwap"), make.seeds)
def test_vwap_gives_each_bucket_its_share_of_the_volume_within_a_lot(task: Task, seed: int | None) -> None:
    assert isinstance(task.schedule, Vwap)
    shares = volume_of_slots(task.schedule.curve, task.window, task.num_splits)
    sizes = [quantity // task.lot_size for quantity in quantities(task.parts(seed))]

    assert_fair(sizes, shares, task.lots)
    if all(share * task.lots >= 1 for share in shares):
        assert all(abs(size - share * task.lots) < 1 for size, share in zip(sizes, shares, strict=True))


@given(make.tasks("vwap"), make.seeds)
def test_vwap_sends_nothing_while_nobody_trades(task: Task, seed: int | None) -> None:
    assert isinstance(task.schedule, Vwap)
    pieces = task.schedule.curve.pieces(task.window)

    for part in task.parts(seed):
        assert any(piece.first_us <= part.offset_us <= piece.last_us for piece in pieces)


@given(make.tasks("vwap"), st.integers(0, 2**32))
def test_vwap_takes_each_slice_from_its_own_slot_and_no_quantity_by_chance(task: Task, seed: int) -> None:
    even, uneven = task.parts(None), task.parts(seed)

    assert quantities(even) == quantities(uneven)
    for (a, after), b in zip(pairwise([*even, None]), uneven, strict=True):
        assert a is not None
        assert a.offset_us <= b.offset_us
        assert after is None or b.offset_us <= after.offset_us


@given(make.tasks("vwap"), st.integers(2, 10**6), make.seeds)
def test_vwap_depends_on_the_ratio_of_the_volumes_only(task: Task, factor: int, seed: int | None) -> None:
    assert isinstance(task.schedule, Vwap)
    curve = task.schedule.curve
    larger = VolumeCurve.from_pairs(
        [(offset, volume * factor) for offset, volume in curve.buckets], bucket_us=curve.bucket_us
    )

    assert larger == VolumeCurve.from_pairs(curve.buckets, bucket_us=curve.bucket_us)
    assert task._replace(schedule=Vwap(task.num_splits, larger)).parts(seed) == task.parts(seed)


def test_vwap_of_a_flat_curve_is_even_in_quantity() -> None:
    assert quantities(Vwap(7, FLAT).parts(700, make.window())) == [100] * 7


def test_vwap_follows_the_curve() -> None:
    parts = Vwap(12, SMILE).parts(4200, make.window())

    assert quantities(parts) == [900, 500, 300, 200, 100, 100, 100, 100, 200, 300, 500, 900]
    assert make.clocks(parts, make.window())[:3] == ["09:15:00", "09:20:00", "09:25:00"]


def test_vwap_with_fewer_slices_than_buckets_adds_buckets_up_and_with_more_divides_them() -> None:
    assert quantities(Vwap(4, SMILE).parts(4200, make.window())) == [1700, 400, 400, 1700]
    assert quantities(Vwap(24, SMILE).parts(4200, make.window()))[:4] == [450, 450, 250, 250]


def test_vwap_leaves_buckets_without_volume_out_and_keeps_its_number_of_slices() -> None:
    halted = make.curve(200, 0, 0, 100, 100, 0)

    parts = Vwap(3, halted).parts(400, make.window("09:15", "09:45"))

    assert quantities(parts) == [200, 100, 100]
    assert make.clocks(parts, make.window()) == ["09:15:00", "09:30:00", "09:35:00"]


def test_vwap_does_not_count_volume_of_the_break() -> None:
    broken = make.window("09:15", "10:15", ("09:15", "09:20"), ("10:10", "15:30"))

    assert quantities(Vwap(2, SMILE).parts(1800, broken)) == [900, 900]


def test_vwap_gives_one_lot_where_the_share_is_less() -> None:
    steep = make.curve(10_000, 1, 1, 1)

    assert quantities(Vwap(4, steep).parts(750, make.window("09:15", "09:35"), lot_size=75)) == [
        525,
        75,
        75,
        75,
    ]


def test_vwap_over_several_days_repeats_its_curve() -> None:
    two_days = Window(make.at("09:15", day=5), make.at("10:15", day=6))

    parts = Vwap(24, SMILE).parts(8400, two_days)

    assert quantities(parts) == 2 * [900, 500, 300, 200, 100, 100, 100, 100, 200, 300, 500, 900]
    assert two_days.at(parts[12].offset_us) == make.at("09:15", day=6)


def test_vwap_without_volume_in_its_window_cannot_be_split() -> None:
    with pytest.raises(CannotSplit, match="no volume"):
        Vwap(3, SMILE).parts(300, make.window("10:15", "11:15"))


# --- weights -----------------------------------------------------------------------------------


@given(make.tasks("weights", "weights at own times"), make.seeds)
def test_weights_give_shares_within_a_lot(task: Task, seed: int | None) -> None:
    assert isinstance(task.schedule, Weighted)
    total = sum(Fraction(weight) for weight in task.schedule.weights)
    shares = [Fraction(weight) / total for weight in task.schedule.weights]
    sizes = [quantity // task.lot_size for quantity in quantities(task.parts(seed))]

    assert_fair(sizes, shares, task.lots)


@given(make.tasks("weights", "weights at own times"), st.integers(1, 10**9), st.integers(-9, 9), make.seeds)
def test_weights_count_by_their_ratio_only(task: Task, factor: int, places: int, seed: int | None) -> None:
    assert isinstance(task.schedule, Weighted)
    scale = Decimal(factor).scaleb(places)
    scaled = Weighted([Decimal(weight) * scale for weight in task.schedule.weights], task.schedule.offsets_us)

    assert task._replace(schedule=scaled).parts(seed) == task.parts(seed)


@given(make.tasks("weights"), make.seeds)
def test_a_larger_weight_never_gets_less(task: Task, seed: int | None) -> None:
    assert isinstance(task.schedule, Weighted)
    by_weight = sorted(zip(task.schedule.weights, quantities(task.parts(seed)), strict=True))

    assert all(a_quantity <= b_quantity for (a, a_quantity), (b, b_quantity) in pairwise(by_weight) if a < b)


@given(make.tasks("weights"), st.integers(0, 2**32))
def test_no_quantity_of_weights_is_left_to_chance(task: Task, seed: int) -> None:
    assert quantities(task.parts(seed)) == quantities(task.parts(None))


def test_evenly_spaced_weights_have_the_times_of_twap() -> None:
    for seed in (None, 3):
        a = Weighted([1, 2, 3, 4]).parts(100, make.window(), rng=make.rng_of(seed))
        assert quantities(a) == [10, 20, 30, 40]

    # Without quantities to draw, the random source has only times to decide.
    assert [part.offset_us for part in Weighted([1] * 4).parts(4, make.window())] == [
        part.offset_us for part in Twap(4).parts(4, make.window())
    ]


def test_own_times_are_kept_and_counted_in_open_time() -> None:
    broken = make.window("11:00", "14:00", ("09:00", "11:30"), ("12:30", "15:30"))
    own = Weighted([1, 1, 2], [0, 20 * MINUTE_US, 40 * MINUTE_US])

    for seed in (None, 1):
        parts = own.parts(400, broken, rng=make.rng_of(seed))
        assert make.clocks(parts, broken) == ["11:00:00", "11:20:00", "12:40:00"]
        assert quantities(parts) == [100, 100, 200]


@pytest.mark.parametrize(
    ("weights", "row"),
    [
        ([], None), ([1, 0], 2), ([1, 2, -1], 3), ([float("nan")], 1), ([1, float("inf")], 2),
        ([1, Decimal("-0.5")], 2), ([1, Decimal("sNaN")], 2), (["two"], 1), ([None], 1),
    ],
)  # fmt: skip
def test_weights_that_are_none_are_refused_with_their_row(weights: list[Any], row: int | None) -> None:
    with pytest.raises(CannotSplit) as refused:
        Weighted(weights)

    assert refused.value.details.get("row") == row


@pytest.mark.parametrize("offsets", [[], [0], [0, 1, 2], [1, 0], [-1, 0], [0, 0.5]])
def test_own_times_that_do_not_fit_the_weights_are_refused(offsets: list[Any]) -> None:
    with pytest.raises(CannotSplit):
        Weighted([1, 1], offsets)


def test_own_times_beyond_the_open_time_are_refused() -> None:
    with pytest.raises(CannotSplit) as refused:
        Weighted([1, 1], [0, HOUR_US + 1]).parts(10, make.window())

    assert refused.value.details == {"open_us": HOUR_US}
