"""What a trustworthy order state machine gets right, case by case.

The cases are those of the FIX order state change matrices (4.2 appendix D, 5.0 SP2 appendices D, B
and J) and of engines that got them wrong by remembering a label instead of keeping the facts.
"""

from itertools import permutations

import msgspec
import pytest

from pulse_domain.errors import IllegalTransition
from pulse_domain.orders.execution import LATE_FILL, OVERFILLED, SECOND_ORDER, UNPLANNED, apply
from pulse_domain.orders.status import ExecutionStatus, Phase, TerminalReason
from tests.unit.domain import factories as make

ENDS = {
    TerminalReason.COMPLETED: make.completed(),
    TerminalReason.CANCELLED: make.cancelled(),
    TerminalReason.REJECTED: make.rejected(),
    TerminalReason.EXPIRED: make.expired(),
}

# --- 0. the reported status is derived, by precedence ------------------------------------------


@pytest.mark.parametrize(
    ("held", "status"),
    [
        (make.execution(), ExecutionStatus.PLANNED),
        (make.execution(make.claimed()), ExecutionStatus.CLAIMED),
        (make.execution(make.claimed(), make.released()), ExecutionStatus.PLANNED),
        (make.execution(make.claimed(), make.unanswered()), ExecutionStatus.UNKNOWN),
        (make.live(), ExecutionStatus.OPEN),
        (make.live(make.resting(trigger_pending=True)), ExecutionStatus.TRIGGER_PENDING),
        (make.live(make.filled(60)), ExecutionStatus.PARTIALLY_FILLED),
        (make.live(make.filled(100)), ExecutionStatus.FILLED),
        (make.live(make.filled(60), make.completed()), ExecutionStatus.FILLED),
        (make.live(make.filled(60), make.cancelled()), ExecutionStatus.CANCELLED),
        (make.live(make.filled(100), make.cancelled()), ExecutionStatus.FILLED),
        (make.live(make.filled(60), make.expired()), ExecutionStatus.EXPIRED),
        (make.live(make.rejected()), ExecutionStatus.REJECTED),
        (make.live(make.cancel_requested()), ExecutionStatus.PENDING_CANCEL),
        (make.live(make.filled(60), make.cancel_requested()), ExecutionStatus.PENDING_CANCEL),
        (make.live(make.cancel_requested(), make.filled(100)), ExecutionStatus.PENDING_CANCEL),
        (make.execution(make.claimed(), make.cancel_requested()), ExecutionStatus.PENDING_CANCEL),
        (
            make.execution(make.claimed(), make.unanswered(), make.cancel_requested()),
            ExecutionStatus.PENDING_CANCEL,
        ),
        # Proven absent is a definite no; nobody knowing is not.
        (make.execution(make.claimed(), make.unanswered(), make.failed()), ExecutionStatus.REJECTED),
        (make.execution(make.claimed(), make.unanswered(), make.unresolved()), ExecutionStatus.UNKNOWN),
        (make.execution(make.withdrawn()), ExecutionStatus.CANCELLED),
        (make.execution(make.lapsed()), ExecutionStatus.EXPIRED),
        # A replacement that is pending stands beside the status and does not hide it.
        (make.live(make.filled(60), make.replace_requested(80)), ExecutionStatus.PARTIALLY_FILLED),
    ],
)
def test_the_highest_of_the_states_that_hold_is_reported(held, status: ExecutionStatus) -> None:
    assert held.status is status


@pytest.mark.parametrize("end", [None, *ENDS.values()], ids=lambda end: type(end).__name__)
def test_facts_from_the_broker_amount_to_the_same_in_any_order(end) -> None:
    facts = [make.accepted(), make.filled(30, "t1"), make.filled(20, "t2", price="101")]
    facts += [] if end is None else [end]

    answers = {
        (held.status, held.phase, held.filled_quantity, held.filled_value, held.leaves_quantity)
        for order in permutations(facts)
        for held in [make.execution(make.claimed(), *order)]
    }

    assert len(answers) == 1


# --- 1. a partial fill while a cancel is pending -----------------------------------------------


def test_a_partial_fill_while_a_cancel_is_pending_is_booked_and_stays_pending_cancel() -> None:
    pending = make.live(make.filled(20, "t1"), make.cancel_requested())

    after = apply(pending, make.filled(30, "t2"))

    assert after.status is ExecutionStatus.PENDING_CANCEL
    assert (after.filled_quantity, after.leaves_quantity) == (50, 50)


# --- 2. a full fill while a cancel is pending, then the cancel is refused ----------------------


def test_a_full_fill_while_a_cancel_is_pending_is_filled_once_the_cancel_is_refused() -> None:
    pending = make.live(make.cancel_requested(), make.filled(100))

    after = apply(pending, make.cancel_refused())

    assert pending.status is ExecutionStatus.PENDING_CANCEL
    assert after.status is ExecutionStatus.FILLED
    assert after.is_final


def test_a_full_fill_while_a_cancel_is_pending_is_filled_once_the_broker_calls_it_complete() -> None:
    after = make.live(make.cancel_requested(), make.filled(100), make.completed())

    assert after.status is ExecutionStatus.FILLED


# --- 3. a late partial fill after CANCELLED ----------------------------------------------------


def test_a_late_partial_fill_after_cancelled_is_booked_and_does_not_reopen() -> None:
    before = make.live(make.filled(20, "t1"), make.cancel_requested(), make.cancelled())

    after = apply(before, make.filled(30, "t2"))

    assert after.status is ExecutionStatus.CANCELLED
    assert (after.filled_quantity, after.leaves_quantity) == (50, 0)
    assert after.is_final
    assert LATE_FILL in after.flags


# --- 4. a late fill after EXPIRED or REJECTED --------------------------------------------------


@pytest.mark.parametrize(
    ("end", "status"),
    [(make.expired(), ExecutionStatus.EXPIRED), (make.rejected(), ExecutionStatus.REJECTED)],
    ids=["expired", "rejected"],
)
@pytest.mark.parametrize("quantity", [60, 100])
def test_a_late_fill_after_another_end_is_booked_and_flagged_and_the_state_stays(
    end, status: ExecutionStatus, quantity: int
) -> None:
    before = make.live(end)

    after = apply(before, make.filled(quantity))

    assert after.status is status
    assert (after.filled_quantity, after.leaves_quantity) == (quantity, 0)
    assert LATE_FILL in after.flags


def test_a_fill_before_the_end_is_not_flagged_as_late() -> None:
    after = make.live(make.filled(60), make.cancelled())

    assert after.flags == ()


def test_trades_that_explain_a_complete_order_are_not_late() -> None:
    complete = make.live(make.completed())

    after = make.after(complete, make.filled(60, "t1"), make.filled(40, "t2"))

    assert after.filled_quantity == 100
    assert LATE_FILL not in after.flags


# --- 5. an overfill ----------------------------------------------------------------------------


def test_an_overfill_is_booked_and_flagged_and_leaves_are_never_negative() -> None:
    before = make.live(make.filled(60, "t1"))
    stored = msgspec.msgpack.encode(before)

    after = apply(before, make.filled(60, "t2"))

    assert after.status is ExecutionStatus.FILLED
    assert (after.filled_quantity, after.leaves_quantity) == (120, 0)
    assert OVERFILLED in after.flags
    assert msgspec.msgpack.encode(before) == stored


# --- 6. a cancel refused while a stop is untriggered, or nothing is acknowledged ---------------


def test_a_cancel_refused_while_a_stop_is_untriggered_leaves_it_trigger_pending() -> None:
    pending = make.live(make.resting(trigger_pending=True), make.cancel_requested())

    after = apply(pending, make.cancel_refused())

    assert after.status is ExecutionStatus.TRIGGER_PENDING


def test_a_cancel_refused_before_anything_but_the_id_is_known_leaves_it_open() -> None:
    pending = make.live(make.cancel_requested())

    after = apply(pending, make.cancel_refused())

    assert after.status is ExecutionStatus.OPEN


@pytest.mark.parametrize(
    "unacknowledged",
    [
        make.execution(make.claimed(), make.cancel_requested()),
        make.execution(make.claimed(), make.cancel_requested(), make.unanswered()),
    ],
    ids=["claimed", "unknown"],
)
def test_a_cancel_asked_before_the_acknowledgement_is_refused_only_after_it(unacknowledged) -> None:
    # Without the broker's id no cancel can have been sent, so there is none to be refused yet.
    with pytest.raises(IllegalTransition):
        apply(unacknowledged, make.cancel_refused())

    adopted = apply(unacknowledged, make.accepted())
    after = apply(adopted, make.cancel_refused())

    assert adopted.status is ExecutionStatus.PENDING_CANCEL
    assert after.status is ExecutionStatus.OPEN


def test_a_cancel_asked_before_giving_up_is_remembered_when_the_order_turns_up_after_all() -> None:
    given_up = make.execution(make.claimed(), make.unanswered(), make.cancel_requested(), make.unresolved())

    after = apply(given_up, make.accepted())

    assert after.status is ExecutionStatus.PENDING_CANCEL


# --- 7. a replace refused before acknowledgement -----------------------------------------------


def test_a_replace_refused_before_the_acknowledgement_leaves_what_the_facts_say() -> None:
    pending = make.live(make.replace_requested(50))

    after = apply(pending, make.replace_refused())

    assert after.status is ExecutionStatus.OPEN
    assert (after.pending_replace, after.quantity) == (None, 100)


@pytest.mark.parametrize(
    "unacknowledged",
    [make.execution(make.claimed()), make.execution(make.claimed(), make.unanswered())],
    ids=["claimed", "unknown"],
)
def test_a_replace_cannot_be_asked_before_the_broker_has_the_order(unacknowledged) -> None:
    with pytest.raises(IllegalTransition):
        apply(unacknowledged, make.replace_requested())


# --- 8. an acknowledgement after a fill --------------------------------------------------------


@pytest.mark.parametrize("quantity", [60, 100])
def test_an_acknowledgement_after_a_fill_is_stale_and_ignored(quantity: int) -> None:
    before = make.execution(make.claimed(), make.filled(quantity))

    assert apply(before, make.accepted()) is before
    assert apply(before, make.resting()) is before


def test_an_acknowledgement_of_another_order_with_our_tag_is_flagged() -> None:
    before = make.live()

    after = apply(before, make.accepted("B2"))

    assert after.broker_order_id == "B1"
    assert after.flags == (f"{SECOND_ORDER}:B2",)


def test_a_fill_of_another_order_with_our_tag_is_booked_and_flagged() -> None:
    before = make.live()

    after = apply(before, make.filled(60, broker_order_id="B2"))

    assert after.filled_quantity == 60
    assert f"{SECOND_ORDER}:B2" in after.flags


# --- 9. the same fact twice --------------------------------------------------------------------


@pytest.mark.parametrize(
    "fact",
    [
        make.accepted(),
        make.resting(trigger_pending=True),
        make.filled(60),
        make.cumulative(60),
        *ENDS.values(),
    ],
    ids=lambda fact: type(fact).__name__,
)
def test_the_same_fact_twice_changes_nothing(fact) -> None:
    once = apply(make.execution(make.claimed(), make.accepted()), fact)

    assert apply(once, fact) is once


def test_a_trade_repeated_with_other_figures_is_still_the_same_trade() -> None:
    once = make.live(make.filled(60, "t1"))

    assert apply(once, make.filled(40, "t1", price="99")) is once


def test_a_trade_repeated_after_the_end_is_neither_booked_nor_flagged() -> None:
    ended = make.live(make.filled(60, "t1"), make.cancelled())

    assert apply(ended, make.filled(60, "t1")) is ended


def test_a_confirmed_cancel_repeated_does_not_wipe_a_late_fill() -> None:
    late = make.live(make.cancelled(), make.filled(60))

    assert apply(late, make.cancelled()) is late


def test_trades_replace_the_total_that_stood_in_for_them() -> None:
    reported = make.live(make.cumulative(60, "100"))

    after = make.after(reported, make.filled(40, "t1", price="101"), make.filled(30, "t2", price="102"))

    assert reported.filled_quantity == 60
    assert after.filled_quantity == 70
    assert after.filled_value == 40 * 101 + 30 * 102


def test_a_total_below_the_booked_trades_is_stale() -> None:
    booked = make.live(make.filled(60))

    assert apply(booked, make.cumulative(40)) is booked


# --- 10. a replace to, and below, the filled quantity ------------------------------------------


def test_a_replace_to_exactly_the_filled_quantity_is_filled() -> None:
    before = make.live(make.filled(60), make.replace_requested(60))

    after = apply(before, make.replaced())

    assert after.status is ExecutionStatus.FILLED
    assert (after.quantity, after.leaves_quantity) == (60, 0)
    assert after.is_final


def test_a_replace_below_the_filled_quantity_is_amended_to_it() -> None:
    before = make.live(make.filled(60), make.replace_requested(40))

    after = apply(before, make.replaced())

    assert after.status is ExecutionStatus.FILLED
    assert (after.quantity, after.filled_quantity, after.leaves_quantity) == (60, 60, 0)


@pytest.mark.parametrize("quantity", [101, 0, -1])
def test_a_replace_beyond_the_planned_quantity_or_to_nothing_is_refused(quantity: int) -> None:
    before = make.live()

    with pytest.raises(IllegalTransition):
        apply(before, make.replace_requested(quantity))


# --- 11. until a replace is confirmed the original parameters hold -----------------------------


def test_until_a_replace_is_confirmed_the_original_quantity_holds() -> None:
    before = make.live(make.filled(60))

    pending = apply(before, make.replace_requested(80))
    confirmed = apply(pending, make.replaced())

    assert (pending.quantity, pending.leaves_quantity) == (100, 40)
    assert pending.status is ExecutionStatus.PARTIALLY_FILLED
    assert (confirmed.quantity, confirmed.leaves_quantity) == (80, 20)


def test_a_fill_while_a_replace_is_pending_counts_against_the_original_quantity() -> None:
    pending = make.live(make.filled(60, "t1"), make.replace_requested(80))

    after = apply(pending, make.filled(40, "t2"))

    assert after.status is ExecutionStatus.FILLED
    assert OVERFILLED not in after.flags


def test_a_replace_confirmed_after_the_end_is_stale_and_ignored() -> None:
    ended = make.live(make.filled(60), make.replace_requested(80), make.cancelled())

    assert apply(ended, make.replaced()) is ended


# --- 12. a second replace while one is pending -------------------------------------------------


def test_a_second_replace_while_one_is_pending_is_refused_and_the_first_confirms() -> None:
    pending = make.live(make.replace_requested(80))

    with pytest.raises(IllegalTransition):
        apply(pending, make.replace_requested(50))
    after = apply(pending, make.replaced())

    assert (after.quantity, after.pending_replace) == (80, None)


def test_the_same_replace_asked_twice_is_one() -> None:
    pending = make.live(make.replace_requested(80, "100.05"))

    assert apply(pending, make.replace_requested(80, "100.05")) is pending


# --- 13. a busted fill -------------------------------------------------------------------------


def test_a_busted_fill_falls_out_of_the_cumulative_quantity() -> None:
    before = make.live(make.filled(40, "t1"), make.filled(20, "t2"))

    after = apply(before, make.busted("t1"))

    assert after.status is ExecutionStatus.PARTIALLY_FILLED
    assert (after.filled_quantity, after.leaves_quantity) == (20, 80)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_busted_fill_does_not_reopen_an_ended_order(end) -> None:
    before = make.live(make.filled(60), end)

    after = apply(before, make.busted())

    assert (after.status, after.terminal) == (before.status, before.terminal)
    assert after.filled_quantity == before.filled_quantity - 60
    assert after.leaves_quantity == 0


def test_a_busted_fill_of_a_filled_order_does_not_put_it_back_into_the_book() -> None:
    before = make.live(make.filled(60, "t1"), make.filled(40, "t2"))

    after = apply(before, make.busted("t2"))

    assert after.phase is Phase.ENDED
    assert (after.filled_quantity, after.leaves_quantity) == (60, 0)


def test_a_busted_fill_of_a_filled_order_under_a_pending_cancel_does_not_reopen_it() -> None:
    before = make.live(make.cancel_requested(), make.filled(100))

    after = make.after(before, make.busted(), make.cancel_refused())

    assert after.is_final
    assert after.leaves_quantity == 0


def test_a_busted_trade_reported_again_stays_busted() -> None:
    before = make.live(make.filled(60, "t1"), make.busted("t1"))

    after = apply(before, make.filled(60, "t1"))

    assert after.filled_quantity == 0


def test_a_busted_fill_takes_its_own_quantity_off_a_larger_reported_total() -> None:
    before = make.live(make.filled(50, "t1"), make.cumulative(80))

    after = apply(before, make.busted("t1"))

    assert after.filled_quantity == 30


def test_busting_an_unknown_trade_changes_nothing() -> None:
    before = make.live(make.filled(60, "t1"))

    assert apply(before, make.busted("t2")) is before


# --- 14. a cancel of a FILLED order ------------------------------------------------------------


@pytest.mark.parametrize(
    "done",
    [make.live(make.filled(100)), make.live(make.filled(100), make.completed())],
    ids=["filled", "completed"],
)
def test_a_cancel_of_a_filled_order_is_refused_and_the_state_stays(done) -> None:
    with pytest.raises(IllegalTransition):
        apply(done, make.cancel_requested())

    assert done.status is ExecutionStatus.FILLED
    assert not done.cancel_requested


# --- 15. the unfilled part of IOC --------------------------------------------------------------


@pytest.mark.parametrize("fills", [(), (make.filled(60),)], ids=["unfilled", "partially filled"])
def test_the_unfilled_part_of_ioc_ends_cancelled(fills) -> None:
    after = make.live(*fills, make.cancelled("IOC"))

    assert after.status is ExecutionStatus.CANCELLED
    assert after.filled_quantity == sum(event.fill.quantity for event in fills)
    assert after.leaves_quantity == 0


# --- 16. a refused event -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "event"),
    [
        (make.execution(), make.resting()),
        (make.execution(make.claimed()), make.lapsed()),
        (make.execution(make.claimed()), make.unanswered(attempt=2)),
        (make.live(make.filled(100)), make.cancel_requested()),
        (make.live(make.replace_requested(80)), make.replace_requested(50)),
        (make.live(make.filled(60), make.cancelled()), make.claimed(attempt=2)),
    ],
)
def test_a_refused_event_leaves_the_value_byte_identical(held, event) -> None:
    stored = msgspec.msgpack.encode(held)

    with pytest.raises(IllegalTransition):
        apply(held, event)

    assert msgspec.msgpack.encode(held) == stored


# --- 17. a time-out is UNKNOWN, left only by the broker's answer -------------------------------


def test_a_time_out_is_unknown() -> None:
    after = make.execution(make.claimed(), make.unanswered())

    assert after.status is ExecutionStatus.UNKNOWN
    assert not after.is_final
    assert after.leaves_quantity == 100


@pytest.mark.parametrize(
    "guess", [make.claimed(attempt=2), make.withdrawn(), make.lapsed()], ids=lambda it: type(it).__name__
)
def test_an_unknown_order_is_neither_sent_again_nor_closed_on_a_guess(guess) -> None:
    unknown = make.execution(make.claimed(), make.unanswered())

    with pytest.raises(IllegalTransition):
        apply(unknown, guess)


def test_a_cancel_asked_of_an_unknown_order_waits_for_its_adoption() -> None:
    unknown = make.execution(make.claimed(), make.unanswered())

    pending = apply(unknown, make.cancel_requested())
    adopted = apply(pending, make.accepted())

    assert pending.phase is Phase.UNKNOWN
    assert not pending.is_final
    assert adopted.status is ExecutionStatus.PENDING_CANCEL


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (make.accepted(), ExecutionStatus.OPEN),
        (make.filled(60), ExecutionStatus.PARTIALLY_FILLED),
        (make.cancelled(), ExecutionStatus.CANCELLED),
        (make.rejected(), ExecutionStatus.REJECTED),
        (make.expired(), ExecutionStatus.EXPIRED),
    ],
    ids=lambda it: it if isinstance(it, str) else type(it).__name__,
)
def test_an_unknown_order_is_left_by_the_brokers_answer(answer, status: ExecutionStatus) -> None:
    unknown = make.execution(make.claimed(), make.unanswered())

    assert apply(unknown, answer).status is status


@pytest.mark.parametrize("given_up", [make.failed(), make.unresolved()], ids=["failed", "unresolved"])
def test_an_order_given_up_here_is_live_again_once_the_broker_shows_it(given_up) -> None:
    before = make.execution(make.claimed(), make.unanswered(), given_up)

    after = apply(before, make.accepted())

    assert before.is_final
    assert after.status is ExecutionStatus.OPEN
    assert after.leaves_quantity == 100


def test_reads_that_did_not_hold_the_tag_are_counted_once_each_and_in_their_order() -> None:
    unknown = make.execution(make.claimed(), make.unanswered())

    after = make.after(
        unknown,
        make.absence_seen(read_began_at=make.at(120)),
        make.absence_seen(read_began_at=make.at(120)),
        make.absence_seen(read_began_at=make.at(100)),
        make.absence_seen(read_began_at=make.at(150)),
    )

    assert (after.absences, after.last_absence_at) == (2, make.at(150))
    assert after.status is ExecutionStatus.UNKNOWN


def test_the_end_of_the_call_is_learnt_late_and_kept() -> None:
    unknown = make.execution(make.claimed(), make.unanswered())

    ended = apply(unknown, make.unanswered(call_ended_at=make.at(9)))

    assert ended.call_ended_at == make.at(9)
    assert apply(ended, make.unanswered()) is ended
    assert apply(ended, make.unanswered(call_ended_at=make.at(12))) is ended


def test_another_attempt_starts_with_nothing_known_of_the_one_before() -> None:
    seen_absent = make.execution(make.claimed(), make.unanswered(call_ended_at=make.at(9)), make.absence_seen())

    again = make.after(seen_absent, make.released(not_before=make.at(300)), make.claimed(attempt=2))

    assert again.status is ExecutionStatus.CLAIMED
    assert (again.attempt, again.absences, again.last_absence_at, again.call_ended_at) == (2, 0, None, None)
    assert again.due_at == make.at(300)


@pytest.mark.parametrize("fact", [make.accepted(), make.filled(60)], ids=lambda it: type(it).__name__)
def test_an_order_that_was_not_sent_as_far_as_we_knew_is_live_and_flagged(fact) -> None:
    released = make.execution(make.claimed(), make.released())

    after = apply(released, fact)

    assert after.phase is Phase.LIVE
    assert UNPLANNED in after.flags


CLOSED_UNSENT = [
    make.execution(make.claimed(), make.released(), make.withdrawn()),
    make.execution(make.claimed(), make.released(), make.lapsed()),
]


@pytest.mark.parametrize("closed", CLOSED_UNSENT, ids=["withdrawn", "lapsed"])
def test_an_order_closed_unsent_that_was_live_is_flagged(closed) -> None:
    after = apply(closed, make.accepted())

    assert UNPLANNED in after.flags


@pytest.mark.parametrize("closed", CLOSED_UNSENT, ids=["withdrawn", "lapsed"])
def test_an_order_closed_unsent_that_was_live_can_still_be_cancelled(closed) -> None:
    after = make.after(closed, make.accepted(), make.cancel_requested())

    assert after.status is ExecutionStatus.PENDING_CANCEL
