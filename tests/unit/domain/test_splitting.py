"""Schedules: the faults seen elsewhere, then what must hold of every plan."""

import random
import re
from fractions import Fraction
from math import ceil, floor
from uuid import UUID

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pulse_domain.errors import CannotSplit, LimitsExceeded
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.orders.events import PlannedSlice
from pulse_domain.orders.ids import OrderId, order_id_from_uuid
from pulse_domain.orders.model import OrderRequest, SplitConfig, window
from pulse_domain.orders.plan import check_feasible, plan_order
from pulse_domain.orders.status import OrderState
from pulse_domain.orders.summary import summarise_history
from pulse_domain.splitting import (
    QUANTITY_BAND_PERCENT,
    TIME_BAND_PERCENT,
    PaceLimits,
    check_pace,
    chunks,
    largest_chunk,
    twap,
)
from tests.unit.domain import factories as make

HOUR_US = 3_600_000_000
NO_LIMITS = PaceLimits(per_second=10**9, per_minute=10**9, per_day=10**9)

order_ids = st.uuids(version=4).map(order_id_from_uuid)
seeds = st.none() | st.integers(0, 2**32)


@st.composite
def divisions(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """A quantity, a number of slices that it can fill, a lot size and a duration."""
    num_splits = draw(st.integers(1, 100))
    lot_size = draw(st.sampled_from([1, 15, 25, 75, 100, 1800]))
    lots = draw(st.integers(num_splits, num_splits * 10) | st.integers(num_splits, 10**6))
    duration_us = draw(st.integers(0, 200) | st.integers(0, 24 * HOUR_US))
    return lots * lot_size, num_splits, lot_size, duration_us


@st.composite
def plannable(draw: st.DrawFn) -> tuple[OrderRequest, InstrumentTerms]:
    """A request that fits its terms, cut into a handful of slices, each of a few orders."""
    num_splits = draw(st.none() | st.integers(2, 100))
    lot_size = draw(st.sampled_from([1, 25, 75]))
    lots = draw(st.integers(num_splits or 1, (num_splits or 1) * 50))
    freeze_lots = draw(st.none() | st.integers(1, 60))
    freeze = None if freeze_lots is None else freeze_lots * lot_size + draw(st.integers(0, lot_size - 1))
    split = None
    if num_splits is not None:
        split = SplitConfig(
            num_splits=num_splits,
            duration_minutes=draw(st.integers(1, 1440)),
            randomize=draw(st.booleans()),
        )
    asked = make.request(total_quantity=lots * lot_size, split_config=split)
    return asked, InstrumentTerms(lot_size=lot_size, freeze_quantity=freeze)


def rng_of(seed: int | None) -> random.Random | None:
    return None if seed is None else random.Random(seed)


def planned(
    asked: OrderRequest, terms: InstrumentTerms, order_id: OrderId = make.ORDER_ID, prefix: str = "PL"
) -> tuple[PlannedSlice, ...]:
    return plan_order(order_id, asked, terms, make.at(), prefix)


# --- faults seen elsewhere ---------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_750_of_lot_75_over_4_stays_on_the_lot(seed: int | None) -> None:
    parts = twap(750, 4, HOUR_US, lot_size=75, rng=rng_of(seed))

    assert len(parts) == 4
    assert sum(part.quantity for part in parts) == 750
    assert all(part.quantity % 75 == 0 for part in parts)


def test_10000_over_3_against_a_freeze_limit_of_1800_is_cut_into_orders_that_the_exchange_takes() -> None:
    split = SplitConfig(num_splits=3, duration_minutes=60, randomize=False)
    asked = make.request(total_quantity=10_000, split_config=split)

    slices = planned(asked, InstrumentTerms(freeze_quantity=1800))

    assert [len(it.executions) for it in slices] == [2, 2, 2]
    assert all(execution.quantity <= 1800 for it in slices for execution in it.executions)
    assert sum(execution.quantity for it in slices for execution in it.executions) == 10_000


def test_an_order_whose_children_are_all_refused_is_not_reported_filled() -> None:
    refused = [make.on(seq, event) for seq in (1, 2, 3) for event in (make.claimed(), make.rejected())]

    summary = summarise_history(make.history((3333,), (3333,), (3334,), after=refused))

    assert summary.state is OrderState.REJECTED
    assert (summary.quantities.filled, summary.quantities.failed) == (0, 10_000)


@pytest.mark.parametrize(("quantity", "lot_size", "most"), [(7, 1, 7), (300, 75, 4), (675, 75, 9), (75, 75, 1)])
@pytest.mark.parametrize("seed", [None, 1])
def test_fewer_lots_than_slices_are_refused_and_never_sent_at_once(
    quantity: int, lot_size: int, most: int, seed: int | None
) -> None:
    with pytest.raises(CannotSplit) as refused:
        twap(quantity, 10, HOUR_US, lot_size=lot_size, rng=rng_of(seed))

    assert refused.value.details["max_splits"] == most
    assert len(twap(quantity, most, HOUR_US, lot_size=lot_size, rng=rng_of(seed))) == most


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_1003_over_10_is_10_slices(seed: int | None) -> None:
    parts = twap(1003, 10, HOUR_US, rng=rng_of(seed))

    assert len(parts) == 10
    assert sum(part.quantity for part in parts) == 1003


def test_a_horizon_of_three_tenths_in_steps_of_one_tenth_has_its_last_step() -> None:
    parts = twap(4, 4, 300_000)

    assert [part.offset_us for part in parts] == [0, 100_000, 200_000, 300_000]


def test_an_order_cut_off_by_the_end_of_the_session_reaches_a_final_state() -> None:
    sent = [make.on(1, event) for event in (make.claimed(), make.accepted(), make.filled(50))]
    cut_off = [make.on(2, make.lapsed()), make.on(3, make.lapsed())]

    summary = summarise_history(make.history((50,), (50,), (50,), after=[*sent, *cut_off]))

    assert summary.done
    assert summary.state is OrderState.PARTIALLY_FILLED
    assert (summary.quantities.filled, summary.quantities.cancelled) == (50, 100)


def test_a_cancelled_child_keeps_its_quantity_in_the_parent() -> None:
    happened = [make.on(1, event) for event in (make.claimed(), make.accepted(), make.cancelled())]

    quantities = summarise_history(make.history((60,), (40,), after=happened)).quantities

    assert (quantities.total, quantities.cancelled, quantities.unsent) == (100, 60, 40)
    assert quantities.balanced


def test_planning_leaves_the_process_wide_random_generator_alone() -> None:
    before = random.getstate()

    planned(
        make.request(total_quantity=1003, split_config=SplitConfig(num_splits=10, duration_minutes=60)),
        InstrumentTerms(),
    )

    assert random.getstate() == before


# --- what holds of every schedule --------------------------------------------------------------


@given(divisions(), seeds)
@example((101, 100, 1, 0), 1)
@example((199, 100, 1, 1), 1)
def test_quantities_are_whole_lots_that_sum_to_the_total(division, seed: int | None) -> None:
    total, num_splits, lot_size, duration_us = division

    parts = twap(total, num_splits, duration_us, lot_size=lot_size, rng=rng_of(seed))

    assert len(parts) == num_splits
    assert sum(part.quantity for part in parts) == total
    assert all(part.quantity >= lot_size and part.quantity % lot_size == 0 for part in parts)


@given(divisions())
def test_an_even_plan_differs_by_at_most_one_lot(division) -> None:
    total, num_splits, lot_size, duration_us = division

    quantities = [part.quantity for part in twap(total, num_splits, duration_us, lot_size=lot_size)]

    assert max(quantities) - min(quantities) <= lot_size


@given(divisions(), st.integers(0, 2**32))
@example((10_000, 3, 1, HOUR_US), 7)
def test_a_random_plan_stays_in_the_band_rounded_outward_to_lots(division, seed: int) -> None:
    total, num_splits, lot_size, duration_us = division
    base_lots = Fraction(total, num_splits * lot_size)
    band = Fraction(QUANTITY_BAND_PERCENT, 100)
    lowest, highest = max(1, floor(base_lots * (1 - band))), ceil(base_lots * (1 + band))

    parts = twap(total, num_splits, duration_us, lot_size=lot_size, rng=random.Random(seed))

    assert all(lowest <= part.quantity // lot_size <= highest for part in parts)


@given(divisions(), seeds)
def test_times_never_decrease_and_the_first_and_last_are_fixed(division, seed: int | None) -> None:
    total, num_splits, lot_size, duration_us = division

    parts = twap(total, num_splits, duration_us, lot_size=lot_size, rng=rng_of(seed))
    offsets = [part.offset_us for part in parts]

    assert offsets == sorted(offsets)
    assert offsets[0] == 0
    assert offsets[-1] == (duration_us if num_splits > 1 else 0)


@given(divisions(), seeds)
def test_inner_times_stay_within_their_band_around_the_even_ones(division, seed: int | None) -> None:
    total, num_splits, lot_size, duration_us = division
    assume(num_splits > 1)
    interval = Fraction(duration_us, num_splits - 1)
    reach = interval * Fraction(TIME_BAND_PERCENT, 100) if seed is not None else Fraction(0)

    parts = twap(total, num_splits, duration_us, lot_size=lot_size, rng=rng_of(seed))

    # A microsecond is lost in rounding the even time, another in rounding the draw.
    assert all(abs(part.offset_us - i * interval) <= reach + 2 for i, part in enumerate(parts))


@given(divisions(), st.integers(0, 2**32))
def test_the_same_random_source_gives_the_same_plan(division, seed: int) -> None:
    total, num_splits, lot_size, duration_us = division

    first = twap(total, num_splits, duration_us, lot_size=lot_size, rng=random.Random(seed))
    second = twap(total, num_splits, duration_us, lot_size=lot_size, rng=random.Random(seed))

    assert first == second


def test_a_random_plan_moves_quantities_and_times() -> None:
    even = twap(10_000, 12, HOUR_US)

    uneven = twap(10_000, 12, HOUR_US, rng=random.Random(1))

    assert len({part.quantity for part in uneven}) > 6
    assert sum(a.offset_us != b.offset_us for a, b in zip(even, uneven, strict=True)) == 10


def test_no_place_in_a_random_plan_is_larger_than_the_others_on_average() -> None:
    plans = [twap(1200, 12, HOUR_US, rng=random.Random(seed)) for seed in range(2000)]

    averages = [sum(plan[place].quantity for plan in plans) / len(plans) for place in range(12)]

    assert all(abs(average - 100) < 2 for average in averages)


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 25, 75]), seeds)
def test_a_schedule_is_feasible_exactly_when_there_is_a_lot_for_every_slice(
    lots: int, num_splits: int, lot_size: int, seed: int | None
) -> None:
    try:
        twap(lots * lot_size, num_splits, HOUR_US, lot_size=lot_size, rng=rng_of(seed))
    except CannotSplit:
        feasible = False
    else:
        feasible = True

    assert feasible is (lots >= num_splits)


@pytest.mark.parametrize(
    ("total", "num_splits", "duration_us", "lot_size"),
    [(0, 1, 0, 1), (-75, 1, 0, 75), (10, 0, 0, 1), (10, 2, -1, 1), (10, 2, 0, 0), (100, 2, 0, 75)],
)
def test_what_is_no_quantity_lot_or_window_cannot_be_split(
    total: int, num_splits: int, duration_us: int, lot_size: int
) -> None:
    with pytest.raises(CannotSplit):
        twap(total, num_splits, duration_us, lot_size=lot_size)


# --- chunks ------------------------------------------------------------------------------------


@given(st.integers(1, 10_000), st.sampled_from([1, 15, 75]), st.integers(0, 5000))
def test_chunks_are_whole_lots_below_the_freeze_quantity_that_sum_to_the_slice(
    lots: int, lot_size: int, above_a_lot: int
) -> None:
    freeze = lot_size + above_a_lot

    sizes = chunks(lots * lot_size, lot_size=lot_size, freeze_quantity=freeze)

    assert sum(sizes) == lots * lot_size
    assert all(0 < size <= freeze and size % lot_size == 0 for size in sizes)
    assert len(sizes) == ceil(Fraction(lots * lot_size, largest_chunk(lot_size, freeze)))


@pytest.mark.parametrize(
    ("quantity", "freeze", "sizes"),
    [(1800, None, [1800]), (1800, 1800, [1800]), (1875, 1800, [1800, 75]), (3600, 1850, [1800, 1800])],
)
def test_a_slice_above_the_freeze_quantity_becomes_several_orders(
    quantity: int, freeze: int | None, sizes: list[int]
) -> None:
    assert chunks(quantity, lot_size=75, freeze_quantity=freeze) == sizes


@pytest.mark.parametrize("freeze", [0, 1, 74])
def test_a_freeze_quantity_below_one_lot_cannot_be_split(freeze: int) -> None:
    with pytest.raises(CannotSplit) as refused:
        chunks(75, lot_size=75, freeze_quantity=freeze)

    assert refused.value.details == {"lot_size": 75, "freeze_quantity": freeze}


# --- plans of orders ---------------------------------------------------------------------------


@given(order_ids, plannable())
def test_an_order_planned_again_gets_the_same_plan(order_id: OrderId, case) -> None:
    asked, terms = case

    assert planned(asked, terms, order_id) == planned(asked, terms, order_id)


@given(plannable())
def test_a_plan_covers_the_order_and_its_window(case) -> None:
    asked, terms = case
    starts_at, ends_at = window(asked, make.at())

    slices = planned(asked, terms)

    assert sum(it.quantity for it in slices) == asked.total_quantity
    assert all(sum(e.quantity for e in it.executions) == it.quantity for it in slices)
    assert slices[0].scheduled_at == starts_at
    assert slices[-1].scheduled_at == (ends_at if len(slices) > 1 else starts_at)


@given(order_ids, order_ids, plannable())
def test_tags_are_unique_and_fit_every_broker(first: OrderId, second: OrderId, case) -> None:
    assume(first != second)
    asked, terms = case

    plans = [planned(asked, terms, order_id, "X7") for order_id in (first, second)]
    tags = [execution.tag for slices in plans for it in slices for execution in it.executions]

    assert len(set(tags)) == len(tags)
    assert all(re.fullmatch(r"X7[A-Z0-9]{18}", tag) for tag in tags)


def test_other_orders_get_other_schedules() -> None:
    asked = make.request(total_quantity=10_000, split_config=SplitConfig(num_splits=12, duration_minutes=60))

    plans = {
        tuple((it.quantity, it.scheduled_at) for it in planned(asked, InstrumentTerms(), order_id))
        for order_id in [order_id_from_uuid(UUID(int=number)) for number in range(20)]
    }

    assert len(plans) == 20


def test_an_order_without_a_split_is_one_slice_at_its_start() -> None:
    slices = planned(make.request(total_quantity=100), InstrumentTerms())

    assert [(it.quantity, it.scheduled_at, len(it.executions)) for it in slices] == [(100, make.at(), 1)]


def test_a_plan_is_the_same_as_it_was_when_this_was_written() -> None:
    # Stored plans are never planned again, but previews and repeated backtests are.
    asked = make.request(total_quantity=1003, split_config=SplitConfig(num_splits=4, duration_minutes=3))

    slices = planned(asked, InstrumentTerms(freeze_quantity=200))

    assert [(it.quantity, it.scheduled_at) for it in slices] == [
        (282, make.at(0)),
        (229, make.at(42.592927)),
        (243, make.at(104.318130)),
        (249, make.at(180)),
    ]
    assert [execution.tag for execution in slices[0].executions] == [
        "PL7T6B7D7JBBGEXBM25D",
        "PL3HWWGZGG2HVHTYJR6V",
    ]


# --- limits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window_s", "limits", "feasible", "limit"),
    [
        (0, PaceLimits(), 400, "per_minute"),
        (90, PaceLimits(), 600, "per_minute"),
        (3600, PaceLimits(), 5000, "per_day"),
        (120, PaceLimits(per_second=1), 120, "per_second"),
    ],
)
def test_a_window_takes_so_many_executions_and_names_the_limit_that_binds(
    window_s: float, limits: PaceLimits, feasible: int, limit: str
) -> None:
    check_pace(feasible, window_s, limits)

    with pytest.raises(LimitsExceeded) as refused:
        check_pace(feasible + 1, window_s, limits)

    assert refused.value.details == {"needed": feasible + 1, "feasible": feasible, "limit": limit}


@given(
    st.integers(1, 20_000),
    st.floats(0, 100_000),
    st.builds(
        PaceLimits,
        per_second=st.integers(1, 20),
        per_minute=st.integers(1, 1000),
        per_day=st.integers(1, 10_000),
    ),
)
def test_the_feasible_number_that_a_refusal_names_is_feasible(
    executions: int, window_s: float, limits: PaceLimits
) -> None:
    feasible = executions
    try:
        check_pace(executions, window_s, limits)
    except LimitsExceeded as refused:
        feasible = refused.details["feasible"]

    assert feasible <= executions
    check_pace(feasible, window_s, limits)


@given(plannable())
def test_an_order_far_from_the_limits_is_never_refused(case) -> None:
    asked, terms = case
    needed = sum(len(it.executions) for it in planned(asked, terms))
    far = PaceLimits(per_second=4 * needed, per_minute=4 * needed, per_day=4 * needed)

    check_feasible(asked, terms, far)


@given(order_ids, plannable())
def test_an_order_that_needs_more_executions_than_the_broker_takes_is_refused(order_id: OrderId, case) -> None:
    asked, terms = case
    needed = sum(len(it.executions) for it in planned(asked, terms, order_id))

    with pytest.raises(LimitsExceeded):
        check_feasible(asked, terms, PaceLimits(per_second=needed, per_minute=needed, per_day=needed - 1))


@given(plannable())
@settings(max_examples=50)
def test_an_even_plan_that_just_fits_the_limits_is_not_refused(case) -> None:
    asked, terms = case
    assume(asked.split_config is None or not asked.split_config.randomize)
    needed = sum(len(it.executions) for it in planned(asked, terms))

    check_feasible(asked, terms, PaceLimits(per_second=needed, per_minute=needed, per_day=needed))


@pytest.mark.parametrize(
    ("total", "num_splits", "terms"),
    [
        (7, 10, InstrumentTerms()),
        (300, 10, InstrumentTerms(lot_size=75)),
        (750, 2, InstrumentTerms(lot_size=75, freeze_quantity=74)),
    ],
)
def test_what_cannot_be_planned_is_refused_at_acceptance(
    total: int, num_splits: int, terms: InstrumentTerms
) -> None:
    asked = make.request(
        total_quantity=total, split_config=SplitConfig(num_splits=num_splits, duration_minutes=60)
    )

    with pytest.raises(CannotSplit):
        planned(asked, terms)
    with pytest.raises(CannotSplit):
        check_feasible(asked, terms, NO_LIMITS)
