"""Every cell of the three state tables: a row of the table, or a refusal that changes nothing."""

from enum import StrEnum
from typing import get_args

import msgspec
import pytest
from msgspec.structs import replace

from pulse_domain.errors import IllegalTransition, StaleAttempt
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution, apply
from pulse_domain.orders.slices import check_stage
from pulse_domain.orders.status import (
    PHASE_TRANSITIONS,
    QUEUE_TRANSITIONS,
    STAGE_TRANSITIONS,
    ExecutionEventKind,
    OrderQueueStatus,
    Phase,
    QueueEvent,
    SliceStage,
    StageEvent,
    next_state,
)
from tests.unit.domain import factories as make

TABLES = (
    (QUEUE_TRANSITIONS, OrderQueueStatus, QueueEvent),
    (STAGE_TRANSITIONS, SliceStage, StageEvent),
    (PHASE_TRANSITIONS, Phase, ExecutionEventKind),
)
CELLS = [
    pytest.param(table, state, event, id=f"{states.__name__}-{state}-{event}")
    for table, states, events in TABLES
    for state in states
    for event in events
]

# Facts that amount to each phase, in all the ways that make a difference to `apply`.
SITUATIONS: dict[str, Execution] = {
    "planned": make.execution(),
    "planned again": make.execution(make.claimed(), make.released()),
    "claimed": make.execution(make.claimed()),
    "claimed twice": make.execution(make.claimed(), make.released(), make.claimed(2)),
    "claimed, cancel asked": make.execution(make.claimed(), make.cancel_requested()),
    "unknown": make.execution(make.claimed(), make.unanswered()),
    "unknown, call ended": make.execution(make.claimed(), make.unanswered(call_ended_at=make.at(9))),
    "unknown, cancel asked": make.execution(make.claimed(), make.cancel_requested(), make.unanswered()),
    "unknown, seen absent": make.execution(make.claimed(), make.unanswered(), make.absence_seen()),
    "live": make.live(),
    "live, not sent by us": make.execution(make.accepted()),
    "live, adopted": make.execution(make.claimed(), make.unanswered(), make.accepted()),
    "live, untriggered": make.live(make.resting(trigger_pending=True)),
    "live, partially filled": make.live(make.filled(60)),
    "live, total reported": make.live(make.cumulative(60)),
    "live, cancel asked": make.live(make.cancel_requested()),
    "live, replacement asked": make.live(make.replace_requested(80)),
    "live, filled": make.live(make.filled(100)),
    "live, filled, cancel asked": make.live(make.cancel_requested(), make.filled(100)),
    "withdrawn": make.execution(make.withdrawn()),
    "lapsed": make.execution(make.lapsed()),
    "ended, completed": make.live(make.filled(100), make.completed()),
    "ended, cancelled": make.live(make.filled(60), make.cancelled()),
    "ended, rejected": make.execution(make.claimed(), make.rejected()),
    "ended, expired": make.live(make.expired()),
    "given up, failed": make.execution(make.claimed(), make.unanswered(), make.failed()),
    "given up, unresolved": make.execution(make.claimed(), make.unanswered(), make.unresolved()),
}

# Cells of the table that the facts refuse all the same.
REFUSED_BY_FACTS = {
    ("live, filled", ExecutionEventKind.CANCEL_REQUESTED),
    ("live, filled", ExecutionEventKind.REPLACE_REQUESTED),
    ("live, replacement asked", ExecutionEventKind.REPLACE_REQUESTED),
    # Never sent, and known to be so: no riddle for a person.
    ("withdrawn", ExecutionEventKind.RESOLVED_FOUND),
    ("withdrawn", ExecutionEventKind.RESOLVED_ABSENT),
    ("lapsed", ExecutionEventKind.RESOLVED_FOUND),
    ("lapsed", ExecutionEventKind.RESOLVED_ABSENT),
}

# Busting a fill of a complete order closes it: the exchange does not put it back into the book.
CLOSED_BY_FACTS = {
    ("live, filled", ExecutionEventKind.FILL_BUSTED),
    ("live, filled, cancel asked", ExecutionEventKind.FILL_BUSTED),
}


def samples(attempt: int) -> dict[ExecutionEventKind, ev.AnyExecutionEvent]:
    """One event of each kind, its decisions belonging to an attempt."""
    events: list[ev.AnyExecutionEvent] = [
        make.claimed(attempt + 1),
        make.released(attempt),
        make.rescheduled(),
        make.unanswered(attempt),
        make.absence_seen(attempt, make.at(60)),
        make.withdrawn(),
        make.lapsed(),
        make.failed(attempt),
        make.unresolved(attempt),
        make.resolved_found(),
        make.resolved_absent(attempt),
        make.cancel_requested(),
        make.replace_requested(50),
        make.accepted(),
        make.resting(),
        make.filled(10, "t2"),
        make.busted("t1"),
        make.cumulative(70),
        make.completed(),
        make.cancelled(),
        make.rejected(),
        make.expired(),
        make.cancel_refused(),
        make.replaced(),
        make.replace_refused(),
    ]
    return {ExecutionEventKind(str(event.__struct_config__.tag)): event for event in events}


@pytest.mark.parametrize(("table", "states", "events"), TABLES, ids=lambda it: getattr(it, "__name__", ""))
def test_every_state_has_a_row_of_known_events(table, states, events) -> None:
    assert set(table) == set(states)
    assert {event for row in table.values() for event in row} == set(events)
    assert {state for row in table.values() for state in row.values()} <= set(states)


@pytest.mark.parametrize(("table", "state", "event"), CELLS)
def test_a_cell_is_a_row_of_the_table_or_an_error_that_names_it(table, state: StrEnum, event: StrEnum) -> None:
    if event in table[state]:
        assert next_state(table, state, event) is table[state][event]
        return

    with pytest.raises(IllegalTransition) as refused:
        next_state(table, state, event)

    assert (refused.value.machine, refused.value.state, refused.value.event) == (
        type(state).__name__,
        state,
        event,
    )


@pytest.mark.parametrize(("table", "states", "events"), TABLES, ids=lambda it: getattr(it, "__name__", ""))
def test_a_state_with_an_empty_row_never_moves(table, states, events) -> None:
    for state in states:
        for event in events if not table[state] else ():
            with pytest.raises(IllegalTransition):
                next_state(table, state, event)


def test_the_states_that_nothing_leaves_are_the_intended_ones() -> None:
    stuck = {
        state
        for table, _, _ in TABLES
        for state, row in table.items()
        if all(following is state for following in row.values())
    }

    assert stuck == {
        OrderQueueStatus.DONE,
        OrderQueueStatus.FAILED,
        OrderQueueStatus.SKIPPED,
        SliceStage.PROCESSED,
        Phase.ENDED,
    }


@pytest.mark.parametrize("before", SliceStage)
@pytest.mark.parametrize("after", SliceStage)
def test_a_stage_follows_another_only_where_the_table_says_so(before: SliceStage, after: SliceStage) -> None:
    if before is after or after in STAGE_TRANSITIONS[before].values():
        check_stage(before, after)
        return

    with pytest.raises(IllegalTransition):
        check_stage(before, after)


def test_there_is_a_sample_of_every_event_and_a_situation_of_every_phase() -> None:
    kinds = samples(attempt=1)

    assert set(kinds) == set(ExecutionEventKind)
    assert {type(event) for event in kinds.values()} == set(get_args(ev.AnyExecutionEvent))
    assert {situation.phase for situation in SITUATIONS.values()} == set(Phase)


@pytest.mark.parametrize("kind", ExecutionEventKind)
@pytest.mark.parametrize("name", SITUATIONS)
def test_an_execution_lands_in_the_phase_of_the_table_or_refuses(name: str, kind: ExecutionEventKind) -> None:
    before = SITUATIONS[name]
    stored = msgspec.msgpack.encode(before)
    event = samples(before.attempt)[kind]

    if kind in PHASE_TRANSITIONS[before.phase] and (name, kind) not in REFUSED_BY_FACTS:
        after = apply(before, event)
        following = PHASE_TRANSITIONS[before.phase][kind]
        assert after.phase is (Phase.ENDED if (name, kind) in CLOSED_BY_FACTS else following)
    else:
        with pytest.raises(IllegalTransition):
            apply(before, event)

    assert msgspec.msgpack.encode(before) == stored


@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.parametrize(
    "kind", [kind for kind, event in samples(1).items() if hasattr(event, "attempt")], ids=str
)
@pytest.mark.parametrize("attempts_off", [-1, 1])
def test_a_decision_of_another_attempt_is_stale(name: str, kind: ExecutionEventKind, attempts_off: int) -> None:
    before = SITUATIONS[name]
    stored = msgspec.msgpack.encode(before)
    event = samples(before.attempt)[kind]
    stale = replace(event, attempt=event.attempt + attempts_off)  # type: ignore[union-attr]  # decisions only

    # A claim takes the next attempt, so it is told apart only where a claim is possible at all.
    error = StaleAttempt if kind is not ExecutionEventKind.CLAIMED else IllegalTransition
    with pytest.raises(error):
        apply(before, stale)

    assert msgspec.msgpack.encode(before) == stored


@pytest.mark.parametrize("attempt", [0, 1, 3])
def test_a_claim_that_skips_or_repeats_an_attempt_is_stale(attempt: int) -> None:
    again = make.execution(make.claimed(1), make.released(1))

    with pytest.raises(StaleAttempt):
        apply(again, make.claimed(attempt))


def test_facts_from_the_broker_carry_no_attempt() -> None:
    from_the_broker = {
        ev.ExecutionAccepted,
        ev.ExecutionResting,
        ev.ExecutionFilled,
        ev.ExecutionFillBusted,
        ev.ExecutionCumulativeReported,
        ev.ExecutionCompleted,
        ev.ExecutionCancelled,
        ev.ExecutionRejected,
        ev.ExecutionExpired,
        ev.ExecutionCancelRefused,
        ev.ExecutionReplaced,
        ev.ExecutionReplaceRefused,
    }

    assert not any("attempt" in event.__struct_fields__ for event in from_the_broker)
