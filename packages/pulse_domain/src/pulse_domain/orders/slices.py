"""A slice: the scheduled part of an order, as one or several executions."""

from datetime import datetime

from msgspec import Struct

from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import OrderId, slice_id
from pulse_domain.orders.status import (
    STAGE_TRANSITIONS,
    Phase,
    SliceOutcome,
    SliceStage,
    StageEvent,
    TerminalReason,
    next_state,
)


class Slice(Struct, frozen=True, kw_only=True):
    """`stage` and `outcome` follow from the executions; see `settle`."""

    order_id: OrderId
    seq: int
    quantity: int
    scheduled_at: datetime
    executions: tuple[Execution, ...]

    @property
    def slice_id(self) -> str:
        return slice_id(self.order_id, self.seq)

    @property
    def stage(self) -> SliceStage:
        return stage_of(self.executions)

    @property
    def outcome(self) -> SliceOutcome | None:
        return outcome_of(self.executions)


def stage_of(executions: tuple[Execution, ...]) -> SliceStage:
    phases = {execution.phase for execution in executions}
    if phases <= {Phase.LIVE, Phase.ENDED, Phase.GIVEN_UP}:
        return SliceStage.PROCESSED
    if phases == {Phase.PLANNED}:
        return SliceStage.SCHEDULED
    return SliceStage.IN_PROGRESS


_STAGE_EVENTS = {
    SliceStage.IN_PROGRESS: StageEvent.STARTED,
    SliceStage.SCHEDULED: StageEvent.NOT_SENT,
    SliceStage.PROCESSED: StageEvent.SETTLED,
}


def check_stage(before: SliceStage, after: SliceStage) -> None:
    """Prove against the table that a stage may follow another.

    Raises:
        IllegalTransition: it may not.
    """
    if before is not after:
        next_state(STAGE_TRANSITIONS, before, _STAGE_EVENTS[after])


def outcome_of(executions: tuple[Execution, ...]) -> SliceOutcome | None:
    """What became of the slice; None while an execution still works."""
    if not all(execution.is_final for execution in executions):
        return None
    filled = sum(min(execution.filled_quantity, execution.planned_quantity) for execution in executions)
    if filled >= sum(execution.planned_quantity for execution in executions):
        return SliceOutcome.FILLED
    reasons = {execution.terminal for execution in executions}
    if TerminalReason.UNRESOLVED in reasons:
        return SliceOutcome.UNRESOLVED
    if filled:
        return SliceOutcome.PARTIALLY_FILLED
    for reason, outcome in _UNFILLED:
        if reason in reasons:
            return outcome
    return SliceOutcome.CANCELLED


# The gravest of several names the slice.
_UNFILLED = (
    (TerminalReason.FAILED, SliceOutcome.FAILED),
    (TerminalReason.REJECTED, SliceOutcome.REJECTED),
    (TerminalReason.EXPIRED, SliceOutcome.EXPIRED),
    (TerminalReason.LAPSED, SliceOutcome.EXPIRED),
)
