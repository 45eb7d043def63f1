"""What a client is told: states of orders, outcomes of slices, and where every unit is."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from pulse_domain.errors import IllegalTransition
from pulse_domain.orders import events as ev
from pulse_domain.orders.journal import CANCELLED_BEFORE_SPLIT, OrderHistory, apply_to_order, replay
from pulse_domain.orders.slices import Slice
from pulse_domain.orders.status import OrderQueueStatus, OrderState, SliceOutcome, SliceStage
from pulse_domain.orders.summary import OrderSummary, Quantities, Tally, summarise, summarise_history, tally
from tests.unit.domain import factories as make

LIVE = (make.claimed(), make.accepted())
UNKNOWN = (make.claimed(), make.unanswered())


def told(*slices: tuple[int, ...], after: Any = ()) -> OrderSummary:
    return summarise_history(make.history(*slices, after=after))


def on(seq: int, *events: Any, chunk: int = 0) -> list[Any]:
    return [make.on(seq, event, chunk) for event in events]


def slice_of(*executions: tuple[Any, ...]) -> Slice:
    """A slice of executions of 100 each, with what happened to them."""
    happened = [event for chunk, events in enumerate(executions) for event in on(1, *events, chunk=chunk)]
    return make.history((100,) * len(executions), after=happened).slices[0]


def where(summary: OrderSummary) -> dict[str, int]:
    """The places that hold anything, without the total."""
    parts = msgspec.structs.asdict(summary.quantities)
    return {place: units for place, units in parts.items() if units and place != "total"}


def check_balance(summary: OrderSummary) -> None:
    assert summary.quantities.balanced
    assert all(units >= 0 for units in msgspec.structs.asdict(summary.quantities).values())
    if summary.done:
        assert (summary.quantities.working, summary.quantities.unsent) == (0, 0)


# --- before the split --------------------------------------------------------------------------


BEFORE_THE_SPLIT: dict[str, tuple[Any, ...]] = {
    "just accepted": ([], OrderState.ACCEPTED, False, "unsent"),
    "being split": ([make.split_claimed()], OrderState.ACCEPTED, False, "unsent"),
    "the splitter went away": (
        [make.split_claimed(), ev.SplitLeaseExpired(attempt=1)],
        OrderState.ACCEPTED,
        False,
        "unsent",
    ),
    "cancel asked, not yet heeded": (
        [ev.CancelRequested(requested_by="desk")],
        OrderState.ACCEPTED,
        False,
        "unsent",
    ),
    "cancelled before the split": (
        [ev.OrderSkipped(reason=CANCELLED_BEFORE_SPLIT)],
        OrderState.CANCELLED,
        True,
        "cancelled",
    ),
    "cancelled during the split": (
        [make.split_claimed(), ev.OrderSkipped(reason=CANCELLED_BEFORE_SPLIT)],
        OrderState.CANCELLED,
        True,
        "cancelled",
    ),
    "refused by a rule": ([ev.OrderSkipped(reason="RISK_REJECTED")], OrderState.SKIPPED, True, "cancelled"),
    "no plan possible": (
        [make.split_claimed(), ev.SplitFailed(attempt=1, reason="CANNOT_SPLIT")],
        OrderState.FAILED,
        True,
        "failed",
    ),
}


@pytest.mark.parametrize(
    ("happened", "state", "done", "place"), BEFORE_THE_SPLIT.values(), ids=BEFORE_THE_SPLIT
)
def test_an_order_without_a_plan_is_told_by_its_queue_status(
    happened: list[Any], state: OrderState, done: bool, place: str
) -> None:
    history = replay(make.order(), make.journal(happened))

    summary = summarise_history(history)

    assert (summary.state, summary.done) == (state, done)
    assert where(summary) == {place: 100}
    assert summary.average_price is None
    check_balance(summary)


# --- after it ----------------------------------------------------------------------------------


AT_WORK: dict[str, tuple[Any, ...]] = {
    "nothing happened": ([], OrderState.SCHEDULED, {"unsent": 100}),
    "certainly nothing was sent": (
        on(1, make.claimed(), make.released()),
        OrderState.SCHEDULED,
        {"unsent": 100},
    ),
    "being sent": (on(1, make.claimed()), OrderState.WORKING, {"unknown": 60, "unsent": 40}),
    "no answer": (on(1, *UNKNOWN), OrderState.WORKING, {"unknown": 60, "unsent": 40}),
    "resting": (on(1, *LIVE), OrderState.WORKING, {"working": 60, "unsent": 40}),
    "partially filled": (
        on(1, *LIVE, make.filled(20)),
        OrderState.WORKING,
        {"filled": 20, "working": 40, "unsent": 40},
    ),
    "cancel pending": (
        on(1, *LIVE, make.cancel_requested()),
        OrderState.WORKING,
        {"working": 60, "unsent": 40},
    ),
    "filled under a pending cancel": (
        on(1, *LIVE, make.cancel_requested(), make.filled(60)),
        OrderState.WORKING,
        {"filled": 60, "unsent": 40},
    ),
    "one slice filled, one to come": (
        on(1, *LIVE, make.filled(60)),
        OrderState.WORKING,
        {"filled": 60, "unsent": 40},
    ),
    "one slice refused, one to come": (
        on(1, make.claimed(), make.rejected()),
        OrderState.WORKING,
        {"failed": 60, "unsent": 40},
    ),
    "made smaller at the broker": (
        on(1, *LIVE, make.filled(20), make.replace_requested(50), make.replaced()),
        OrderState.WORKING,
        {"filled": 20, "working": 30, "cancelled": 10, "unsent": 40},
    ),
    "overfilled": (
        on(1, *LIVE, make.filled(80)),
        OrderState.WORKING,
        {"filled": 80, "overfilled": 20, "unsent": 40},
    ),
}


@pytest.mark.parametrize(("happened", "state", "places"), AT_WORK.values(), ids=AT_WORK)
def test_an_order_at_work_is_scheduled_until_anything_was_sent(
    happened: list[Any], state: OrderState, places: dict[str, int]
) -> None:
    summary = told((60,), (40,), after=happened)

    assert (summary.state, summary.done) == (state, False)
    assert where(summary) == places
    check_balance(summary)


AT_THE_END: dict[str, tuple[Any, ...]] = {
    "all filled": (
        [*on(1, *LIVE, make.filled(60)), *on(2, *LIVE, make.filled(40), make.completed())],
        OrderState.FILLED,
        {"filled": 100},
    ),
    "all filled and more": (
        [*on(1, *LIVE, make.filled(60)), *on(2, *LIVE, make.filled(50))],
        OrderState.FILLED,
        {"filled": 110, "overfilled": 10},
    ),
    "filled and cancelled": (
        [*on(1, *LIVE, make.filled(60)), *on(2, *LIVE, make.cancelled())],
        OrderState.PARTIALLY_FILLED,
        {"filled": 60, "cancelled": 40},
    ),
    "a part filled, the rest expired and refused": (
        [*on(1, *LIVE, make.filled(10), make.expired()), *on(2, make.claimed(), make.rejected())],
        OrderState.PARTIALLY_FILLED,
        {"filled": 10, "cancelled": 50, "failed": 40},
    ),
    "a late fill": (
        [*on(1, *LIVE, make.cancelled(), make.filled(10)), *on(2, make.withdrawn())],
        OrderState.PARTIALLY_FILLED,
        {"filled": 10, "cancelled": 90},
    ),
    "all cancelled": (
        [*on(1, make.withdrawn()), *on(2, *LIVE, make.cancelled())],
        OrderState.CANCELLED,
        {"cancelled": 100},
    ),
    "all refused": (
        [*on(1, make.claimed(), make.rejected()), *on(2, make.claimed(), make.rejected())],
        OrderState.REJECTED,
        {"failed": 100},
    ),
    "refused, then cancelled": (
        [*on(1, make.claimed(), make.rejected()), *on(2, make.withdrawn())],
        OrderState.REJECTED,
        {"failed": 60, "cancelled": 40},
    ),
    "all too late": ([*on(1, make.lapsed()), *on(2, make.lapsed())], OrderState.EXPIRED, {"cancelled": 100}),
    "too late, then cancelled": (
        [*on(1, make.lapsed()), *on(2, make.withdrawn())],
        OrderState.EXPIRED,
        {"cancelled": 100},
    ),
    "proven absent, and refused": (
        [*on(1, *UNKNOWN, make.failed()), *on(2, make.claimed(), make.rejected())],
        OrderState.FAILED,
        {"failed": 100},
    ),
    "nobody knows": (
        [*on(1, *UNKNOWN, make.unresolved()), *on(2, make.lapsed())],
        OrderState.UNRESOLVED,
        {"unknown": 60, "cancelled": 40},
    ),
    "a part filled, of the rest nobody knows": (
        [*on(1, *UNKNOWN, make.unresolved()), *on(2, *LIVE, make.filled(40))],
        OrderState.UNRESOLVED,
        {"unknown": 60, "filled": 40},
    ),
}


@pytest.mark.parametrize(("happened", "state", "places"), AT_THE_END.values(), ids=AT_THE_END)
def test_an_order_at_its_end_is_told_by_what_was_filled_and_then_by_the_gravest_end(
    happened: list[Any], state: OrderState, places: dict[str, int]
) -> None:
    summary = told((60,), (40,), after=happened)

    assert (summary.state, summary.done) == (state, True)
    assert where(summary) == places
    check_balance(summary)


def test_every_state_of_an_order_has_an_example_here() -> None:
    examples = [*BEFORE_THE_SPLIT.values(), *AT_WORK.values(), *AT_THE_END.values()]

    assert {state for _, state, *_ in examples} == set(OrderState)


def test_a_late_fact_reopens_an_order_of_which_nobody_knew() -> None:
    given_up = on(1, *UNKNOWN, make.unresolved())

    before = told((100,), after=given_up)
    after = told((100,), after=[*given_up, *on(1, make.accepted())])

    assert (before.state, before.done) == (OrderState.UNRESOLVED, True)
    assert (after.state, after.done) == (OrderState.WORKING, False)
    assert where(after) == {"working": 100}


def test_the_average_price_is_over_what_is_filled() -> None:
    first = on(1, *LIVE, make.filled(60, price="100.10"))
    second = on(2, *LIVE, make.filled(10, price="101.35"))

    summary = told((60,), (40,), after=[*first, *second])

    assert summary.average_price == Decimal("100.2786")


def test_the_average_price_counts_a_reported_total_once() -> None:
    happened = on(1, *LIVE, make.filled(20, price="100"), make.cumulative(60, "103"))

    summary = told((100,), after=happened)

    assert (summary.quantities.filled, summary.average_price) == (60, Decimal(103))


def test_executions_counted_together_amount_to_the_same() -> None:
    happened = [*on(1, *LIVE, make.filled(20)), *on(2, *LIVE, make.filled(20, "t2"))]
    history = make.history((60,), (60,), (60,), after=happened)
    one, two, three = [tally(execution) for held in history.slices for execution in held.executions]
    sums = {
        field: getattr(one, field) + getattr(two, field)
        for field in Tally.__struct_fields__
        if isinstance(getattr(one, field), int | Decimal) and field != "final"
    }

    together = msgspec.structs.replace(one, **sums)

    assert summarise(history.order, [together, three]) == summarise_history(history)


# --- amended at the broker ---------------------------------------------------------------------


def test_what_a_replacement_to_the_filled_quantity_took_off_counts_as_cancelled() -> None:
    happened = on(1, *LIVE, make.filled(60), make.replace_requested(60), make.replaced())

    summary = told((100,), after=happened)

    assert (summary.state, summary.done) == (OrderState.PARTIALLY_FILLED, True)
    assert where(summary) == {"filled": 60, "cancelled": 40}


def test_fills_that_crossed_a_replacement_count_once_and_nothing_is_negative() -> None:
    happened = on(1, *LIVE, make.filled(50), make.replace_requested(60), make.replaced())
    crossed = on(1, make.cancel_requested(), make.filled(30, "t2"))

    summary = told((100,), after=[*happened, *crossed])

    assert where(summary) == {"filled": 80, "cancelled": 20}


# --- an order that the broker calls complete ---------------------------------------------------


def test_an_order_called_complete_before_its_trades_come_is_not_told_as_cancelled() -> None:
    summary = told((100,), after=on(1, *LIVE, make.completed()))

    assert summary.state is not OrderState.CANCELLED
    assert summary.quantities.cancelled == 0


def test_a_slice_called_complete_before_its_trades_come_is_not_told_as_cancelled() -> None:
    assert slice_of((*LIVE, make.completed())).outcome is not SliceOutcome.CANCELLED


# --- slices ------------------------------------------------------------------------------------


SLICES: dict[str, tuple[Any, ...]] = {
    "planned": ([()], SliceStage.SCHEDULED, None),
    "all planned": ([(), ()], SliceStage.SCHEDULED, None),
    "being sent": ([(make.claimed(),)], SliceStage.IN_PROGRESS, None),
    "no answer": ([UNKNOWN], SliceStage.IN_PROGRESS, None),
    "one sent, one planned": ([LIVE, ()], SliceStage.IN_PROGRESS, None),
    "certainly not sent": ([(make.claimed(), make.released()), ()], SliceStage.SCHEDULED, None),
    "all resting": ([LIVE, LIVE], SliceStage.PROCESSED, None),
    "one filled, one resting": ([(*LIVE, make.filled(100)), LIVE], SliceStage.PROCESSED, None),
    "all filled": (
        [(*LIVE, make.filled(100)), (*LIVE, make.filled(100))],
        SliceStage.PROCESSED,
        SliceOutcome.FILLED,
    ),
    "one filled, one refused": (
        [(*LIVE, make.filled(100)), (make.claimed(), make.rejected())],
        SliceStage.PROCESSED,
        SliceOutcome.PARTIALLY_FILLED,
    ),
    "IOC unfilled": ([(*LIVE, make.cancelled("IOC"))], SliceStage.PROCESSED, SliceOutcome.CANCELLED),
    "cancelled and refused": (
        [(make.withdrawn(),), (make.claimed(), make.rejected())],
        SliceStage.PROCESSED,
        SliceOutcome.REJECTED,
    ),
    "too late and cancelled": (
        [(make.lapsed(),), (make.withdrawn(),)],
        SliceStage.PROCESSED,
        SliceOutcome.EXPIRED,
    ),
    "proven absent and refused": (
        [(*UNKNOWN, make.failed()), (make.claimed(), make.rejected())],
        SliceStage.PROCESSED,
        SliceOutcome.FAILED,
    ),
    "nobody knows": (
        [(*UNKNOWN, make.unresolved()), (*LIVE, make.filled(100))],
        SliceStage.PROCESSED,
        SliceOutcome.UNRESOLVED,
    ),
    "nobody knew, then a late fill": (
        [(*UNKNOWN, make.unresolved(), make.filled(100))],
        SliceStage.PROCESSED,
        SliceOutcome.FILLED,
    ),
}


@pytest.mark.parametrize(("executions", "stage", "outcome"), SLICES.values(), ids=SLICES)
def test_a_slice_is_told_by_its_executions(
    executions: list[Any], stage: SliceStage, outcome: SliceOutcome | None
) -> None:
    held = slice_of(*executions)

    assert (held.stage, held.outcome) == (stage, outcome)


def test_every_stage_and_outcome_of_a_slice_has_an_example_here() -> None:
    assert {stage for _, stage, _ in SLICES.values()} == set(SliceStage)
    assert {outcome for _, _, outcome in SLICES.values()} == {None, *SliceOutcome}


def test_an_overfill_does_not_make_up_for_another_execution_of_the_slice() -> None:
    happened = [
        *on(1, *LIVE, make.filled(120), chunk=0),
        *on(1, *LIVE, make.filled(80, "t2"), make.cancelled(), chunk=1),
    ]
    history = make.history((100, 100), after=happened)

    assert summarise_history(history).state is OrderState.PARTIALLY_FILLED
    assert history.slices[0].outcome is SliceOutcome.PARTIALLY_FILLED


# --- the journal behind it ---------------------------------------------------------------------


def test_quantities_that_do_not_add_up_are_noticed() -> None:
    assert Quantities(total=100, filled=60, working=40).balanced
    assert Quantities(total=100, filled=120, overfilled=20).balanced
    assert not Quantities(total=100, filled=60).balanced


def test_a_plan_saved_by_a_worker_that_was_replaced_is_refused() -> None:
    happened = [make.split_claimed(1), ev.SplitLeaseExpired(attempt=1), make.split_claimed(2)]
    taken_over = replay(make.order(), make.journal(happened)).order

    with pytest.raises(IllegalTransition):
        apply_to_order(taken_over, make.plan((100,), attempt=1), make.at())


def test_a_plan_is_saved_once() -> None:
    split = make.history((100,)).order

    with pytest.raises(IllegalTransition):
        apply_to_order(split, make.plan((100,)), make.at())

    assert split.queue_status is OrderQueueStatus.DONE


def test_the_first_request_to_cancel_is_the_one_that_counts() -> None:
    wish = ev.CancelRequested(requested_by="desk")

    order = replay(make.order(), make.journal([wish, wish])).order

    assert order.cancel_requested_at == make.at(1)


def test_a_journal_read_back_from_its_stored_form_rebuilds_the_order() -> None:
    happened = [
        make.split_claimed(),
        make.plan((60, 40)),
        *on(1, *LIVE, make.filled(60, price="100.05")),
        *on(1, *UNKNOWN, make.absence_seen(), make.unresolved(), chunk=1),
    ]
    journal = make.journal(happened)

    stored = msgspec.json.encode(journal)
    read = msgspec.json.decode(stored, type=list[ev.JournalEntry])

    assert read == journal
    assert replay(make.order(), read) == make.history((60, 40), after=happened[2:])
    assert isinstance(replay(make.order(), read), OrderHistory)
