"""Random lives of one execution and of a whole order, with duplicates, reorderings and stale decisions.

Whatever happens, in whatever order: a trade counts once, a refusal changes nothing, quantities balance,
what has ended stays ended, and the journal rebuilds the state.
"""

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pulse_domain.errors import IllegalTransition, StaleAttempt
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import OVERFILLED, Execution, apply
from pulse_domain.orders.journal import (
    ATTEMPTS_SPENT,
    CANCELLED_BEFORE_SPLIT,
    OrderHistory,
    apply_to_order,
    apply_to_slice,
    planned_slices,
    replay,
)
from pulse_domain.orders.model import SplitConfig
from pulse_domain.orders.plan import plan_order
from pulse_domain.orders.slices import check_stage
from pulse_domain.orders.status import (
    PHASE_TRANSITIONS,
    QUEUE_TRANSITIONS,
    ExecutionStatus,
    OrderQueueStatus,
    Phase,
    SliceOutcome,
    SliceStage,
)
from pulse_domain.orders.status import ExecutionEventKind as Kind
from pulse_domain.orders.summary import summarise_history
from tests.unit.domain import factories as make

# The quantity of each trade that the broker may report, ours and those of a second order with our tag.
TRADES = {"t1": ("B1", 40), "t2": ("B1", 30), "t3": ("B1", 30), "t4": ("B1", 60), "t5": ("B2", 20)}

instants = st.integers(0, 600).map(make.at)
EVENTS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.CLAIMED: st.builds(make.claimed),
    Kind.RELEASED: st.builds(make.released, not_before=instants),
    Kind.RESCHEDULED: st.builds(make.rescheduled, instants, instants),
    Kind.UNANSWERED: st.builds(make.unanswered, call_ended_at=st.none() | instants),
    Kind.ABSENCE_SEEN: st.builds(make.absence_seen, read_began_at=instants),
    Kind.WITHDRAWN: st.builds(make.withdrawn),
    Kind.LAPSED: st.builds(make.lapsed),
    Kind.FAILED: st.builds(make.failed),
    Kind.UNRESOLVED: st.builds(make.unresolved),
    Kind.RESOLVED_FOUND: st.builds(make.resolved_found, st.sampled_from(["B1", "B2"])),
    Kind.RESOLVED_ABSENT: st.builds(make.resolved_absent),
    Kind.CANCEL_REQUESTED: st.builds(make.cancel_requested),
    Kind.REPLACE_REQUESTED: st.builds(make.replace_requested, st.integers(1, 110)),
    Kind.ACCEPTED: st.builds(make.accepted, st.sampled_from(["B1", "B1", "B1", "B2"])),
    Kind.RESTING: st.builds(make.resting, trigger_pending=st.booleans()),
    Kind.FILLED: st.sampled_from(sorted(TRADES)).map(
        lambda trade_id: make.filled(TRADES[trade_id][1], trade_id, broker_order_id=TRADES[trade_id][0])
    ),
    Kind.FILL_BUSTED: st.builds(make.busted, st.sampled_from(sorted(TRADES))),
    Kind.CUMULATIVE_REPORTED: st.builds(make.cumulative, st.integers(0, 120)),
    Kind.COMPLETED: st.builds(make.completed),
    Kind.CANCELLED: st.builds(make.cancelled),
    Kind.REJECTED: st.builds(make.rejected),
    Kind.EXPIRED: st.builds(make.expired),
    Kind.CANCEL_REFUSED: st.builds(make.cancel_refused),
    Kind.REPLACED: st.builds(make.replaced),
    Kind.REPLACE_REFUSED: st.builds(make.replace_refused),
}
# Decisions that leave no room for themselves: made again they are refused. Anything else changes nothing.
MADE_ONCE = (
    ev.ExecutionClaimed,
    ev.ExecutionReleased,
    ev.ExecutionWithdrawn,
    ev.ExecutionLapsed,
    ev.ExecutionUnresolved,
    ev.ExecutionResolvedFound,
)
# What is likely to happen in a phase: with even odds most lives would end at once, unsent.
COMMON: dict[Phase, list[Kind]] = {
    Phase.PLANNED: [Kind.CLAIMED] * 10,
    Phase.CLAIMED: [Kind.ACCEPTED, Kind.UNANSWERED] * 5,
    Phase.UNKNOWN: [Kind.ABSENCE_SEEN, Kind.RELEASED, Kind.FAILED, Kind.UNRESOLVED, Kind.ACCEPTED] * 2,
    Phase.LIVE: [kind for kind, phase in PHASE_TRANSITIONS[Phase.LIVE].items() if phase is Phase.LIVE] * 3,
    Phase.ENDED: [],
    Phase.GIVEN_UP: [],
}

ENDS_WITHOUT_A_PLAN = [
    ev.SplitLeaseExpired(attempt=1),
    ev.SplitFailed(attempt=1, reason=ATTEMPTS_SPENT),
    ev.OrderSkipped(reason=CANCELLED_BEFORE_SPLIT),
    ev.OrderSkipped(reason="RISK_REJECTED"),
]


def possible_kinds(phase: Phase) -> st.SearchStrategy[Kind]:
    return st.sampled_from([*PHASE_TRANSITIONS[phase], *COMMON[phase]])


def impossible_kinds(phase: Phase) -> st.SearchStrategy[Kind]:
    return st.sampled_from([kind for kind in Kind if kind not in PHASE_TRANSITIONS[phase]])


def addressed(event: ev.AnyExecutionEvent, execution: Execution, attempts_off: int = 0) -> Any:
    """The event, happening to an execution in its present attempt, or in one that is `attempts_off`."""
    address = {"seq": execution.seq, "chunk": execution.chunk}
    attempt = getattr(event, "attempt", None)
    if attempt is not None:
        ahead = 1 if isinstance(event, ev.ExecutionClaimed) else 0
        address["attempt"] = execution.attempt + ahead + attempts_off
    return msgspec.structs.replace(event, **address)


def check_step(before: Execution, event: ev.AnyExecutionEvent, after: Execution) -> None:
    """What holds between an execution and the next one, whatever the event."""
    if before.phase is Phase.ENDED:
        assert after.phase is Phase.ENDED
        assert after.terminal is before.terminal
        assert after.leaves_quantity == 0
    assert after.attempt - before.attempt == int(isinstance(event, ev.ExecutionClaimed))
    assert set(before.flags) <= set(after.flags)
    if after.filled_quantity < before.filled_quantity:
        assert isinstance(event, ev.ExecutionFillBusted)
    assert getattr(event, "attempt", after.attempt) == after.attempt


def check_execution(execution: Execution) -> None:
    """What holds of an execution at any time."""
    booked = {fill.trade_id: fill.quantity for fill in execution.fills}
    assert len(booked) == len(execution.fills)
    assert execution.filled_quantity == max(sum(booked.values()), execution.provisional_quantity)
    assert 0 <= execution.leaves_quantity <= execution.quantity
    assert execution.leaves_quantity == 0 or not execution.is_final
    if execution.filled_quantity > execution.quantity:
        assert OVERFILLED in execution.flags
    if execution.status is ExecutionStatus.PENDING_CANCEL:
        assert execution.cancel_requested
        assert not execution.is_final
    if execution.phase in (Phase.PLANNED, Phase.CLAIMED, Phase.UNKNOWN):
        assert execution.filled_quantity == 0


class ExecutionMachine(RuleBasedStateMachine):
    """One execution; every event is taken in twice, and any earlier one may come again."""

    def __init__(self) -> None:
        super().__init__()
        self.planned = self.execution = make.execution()
        self.journal: list[ev.AnyExecutionEvent] = []
        self.trades_told: set[str] = set()

    def happen(self, event: ev.AnyExecutionEvent) -> None:
        before, stored = self.execution, msgspec.msgpack.encode(self.execution)
        try:
            after = apply(before, event)
        except IllegalTransition:
            assert msgspec.msgpack.encode(before) == stored
            return
        assert msgspec.msgpack.encode(before) == stored
        check_step(before, event, after)
        try:
            assert apply(after, event) is after
        except IllegalTransition:
            assert isinstance(event, MADE_ONCE)
        self.execution = after
        self.journal.append(event)
        if isinstance(event, ev.ExecutionFilled):
            self.trades_told.add(event.fill.trade_id)

    def refuse(self, event: ev.AnyExecutionEvent, error: type[IllegalTransition]) -> None:
        stored = msgspec.msgpack.encode(self.execution)
        with pytest.raises(error):
            apply(self.execution, event)
        assert msgspec.msgpack.encode(self.execution) == stored

    # One rule for all of it: rules are switched off at random, and without this one there is no life.
    @rule(data=st.data(), attempts_off=st.sampled_from([-2, -1, 1]))
    def something_happens(self, data: st.DataObject, attempts_off: int) -> None:
        phase = self.execution.phase
        impossible = data.draw(EVENTS[data.draw(impossible_kinds(phase))])
        self.refuse(addressed(impossible, self.execution), IllegalTransition)

        possible = data.draw(EVENTS[data.draw(possible_kinds(phase))])
        if hasattr(possible, "attempt"):
            self.refuse(addressed(possible, self.execution, attempts_off), StaleAttempt)
        self.happen(addressed(possible, self.execution))

    @precondition(lambda self: self.journal)
    @rule(data=st.data())
    def an_earlier_event_comes_again(self, data: st.DataObject) -> None:
        self.happen(data.draw(st.sampled_from(self.journal)))

    @invariant()
    def every_trade_counts_once(self) -> None:
        check_execution(self.execution)
        told = sum(TRADES[trade_id][1] for trade_id in self.trades_told)
        assert sum(fill.quantity for fill in self.execution.fills) <= told

    def teardown(self) -> None:
        assert make.after(self.planned, *self.journal) == self.execution


class OrderMachine(RuleBasedStateMachine):
    """A whole order from its acceptance on; what is taken in is journalled."""

    @initialize(
        lots=st.integers(6, 40),
        num_splits=st.sampled_from([None, 2, 3, 5]),
        lot_size=st.sampled_from([10, 25]),
        freeze_lots=st.none() | st.integers(1, 10),
        randomize=st.booleans(),
        split_at_once=st.sampled_from([True, True, True, False]),
    )
    def an_order_is_accepted(
        self,
        lots: int,
        num_splits: int | None,
        lot_size: int,
        freeze_lots: int | None,
        randomize: bool,
        split_at_once: bool,
    ) -> None:
        split = None if num_splits is None else SplitConfig(
            num_splits=num_splits, duration_minutes=60, randomize=randomize
        )  # fmt: skip
        terms = InstrumentTerms(
            lot_size=lot_size, freeze_quantity=None if freeze_lots is None else freeze_lots * lot_size
        )
        asked = make.request(total_quantity=lots * lot_size, split_config=split)
        self.accepted = make.order(asked, terms=terms)
        self.history = OrderHistory(order=self.accepted)
        self.journal: list[ev.JournalEntry] = []
        if split_at_once:
            self.a_worker_claims_it()
            self.the_split_is_saved()

    def book(self, event: Any) -> None:
        number = len(self.journal)
        self.journal.append(ev.JournalEntry(seq=number + 1, at=make.at(number), event=event))

    def happen(self, event: Any) -> None:
        """Something happens to the order itself."""
        before = self.history.order
        try:
            order = apply_to_order(before, event, make.at(len(self.journal)))
        except IllegalTransition:
            return
        if not QUEUE_TRANSITIONS[before.queue_status]:
            assert order.queue_status is before.queue_status
        slices = self.history.slices
        if isinstance(event, ev.SplitSaved):
            slices = tuple(planned_slices(order, event))
        self.history = OrderHistory(order=order, slices=slices)
        self.book(event)

    @precondition(lambda self: self.history.order.queue_status is OrderQueueStatus.PENDING)
    @rule()
    def a_worker_claims_it(self) -> None:
        self.happen(make.split_claimed(self.history.order.split_attempt + 1))

    @precondition(lambda self: self.history.order.queue_status is OrderQueueStatus.IN_PROGRESS)
    @rule()
    def the_split_is_saved(self) -> None:
        order = self.history.order
        slices = plan_order(order.order_id, order.request, order.terms, order.starts_at, "PL")
        self.happen(ev.SplitSaved(attempt=order.split_attempt, expires_at=make.at(7200), slices=slices))

    @precondition(lambda self: self.history.order.queue_status is not OrderQueueStatus.DONE)
    @rule(end=st.sampled_from(ENDS_WITHOUT_A_PLAN))
    def it_does_not_get_that_far(self, end: Any) -> None:
        if hasattr(end, "attempt"):
            end = msgspec.structs.replace(end, attempt=self.history.order.split_attempt)
        self.happen(end)

    @precondition(lambda self: self.history.order.cancel_requested_at is None)
    @rule()
    def a_cancel_is_asked(self) -> None:
        self.happen(ev.CancelRequested(requested_by="desk"))

    @rule(pause=st.booleans())
    def somebody_pauses_or_resumes_it(self, pause: bool) -> None:
        self.happen(ev.OrderPaused(paused_by="asha") if pause else ev.OrderResumed(resumed_by="asha"))
        assert (self.history.order.paused_at is not None) is pause

    def happen_to_execution(self, event: Any) -> None:
        before = self.history.slices[event.seq - 1]
        try:
            after = apply_to_slice(before, event)
        except IllegalTransition:
            return
        check_step(before.executions[event.chunk], event, after.executions[event.chunk])
        check_stage(before.stage, after.stage)
        slices = tuple([after if held.seq == after.seq else held for held in self.history.slices])
        self.history = OrderHistory(order=self.history.order, slices=slices)
        self.book(event)

    @precondition(lambda self: self.history.slices)
    @rule(data=st.data(), steps=st.integers(1, 8))
    def things_happen_to_an_execution(self, data: st.DataObject, steps: int) -> None:
        executions = [execution for held in self.history.slices for execution in held.executions]
        going_on = [execution for execution in executions if execution.phase is not Phase.ENDED]
        drawn = data.draw(st.sampled_from([*going_on * 5, *executions]))
        for _ in range(steps):
            execution = self.history.slices[drawn.seq - 1].executions[drawn.chunk]
            kind = data.draw(possible_kinds(execution.phase))
            self.happen_to_execution(addressed(data.draw(EVENTS[kind]), execution))
        happened = [it.event for it in self.journal if isinstance(it.event, ev.ExecutionEvent)]
        if happened:
            self.happen_to_execution(data.draw(st.sampled_from(happened)))

    @invariant()
    def its_quantities_balance(self) -> None:
        summary = summarise_history(self.history)
        quantities = summary.quantities
        parts = msgspec.structs.asdict(quantities)
        assert quantities.balanced, quantities
        assert all(part >= 0 for part in parts.values()), quantities
        assert quantities.total == self.accepted.request.total_quantity
        if summary.done:
            assert (quantities.unsent, quantities.working) == (0, 0), quantities
        # Complete without its trades has no price yet.
        assert summary.average_price is None or quantities.filled > 0

    @invariant()
    def its_slices_agree_with_their_executions(self) -> None:
        for held in self.history.slices:
            for execution in held.executions:
                check_execution(execution)
            assert held.quantity == sum(execution.planned_quantity for execution in held.executions)
            if held.outcome is not None:
                assert held.stage is SliceStage.PROCESSED
            if held.outcome is SliceOutcome.FILLED:
                assert sum(execution.filled_quantity for execution in held.executions) >= held.quantity

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            stored = msgspec.json.encode(self.journal)
            read = msgspec.json.decode(stored, type=list[ev.JournalEntry])
            assert replay(self.accepted, read) == self.history


def test_an_execution_keeps_its_promises_whatever_happens() -> None:
    run_state_machine_as_test(
        ExecutionMachine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
    )


def test_an_order_keeps_its_promises_whatever_happens() -> None:
    # One failure at a time: to shrink several takes minutes.
    run_state_machine_as_test(
        OrderMachine,
        settings=settings(max_examples=150, stateful_step_count=20, deadline=None, report_multiple_bugs=False),
    )
