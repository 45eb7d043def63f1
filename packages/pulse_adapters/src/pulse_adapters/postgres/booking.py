"""Events on a slice: applied by the domain, written down as arrays for one statement."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pulse_adapters.postgres.rows import LEDGER_CHANGES
from pulse_domain.errors import IllegalTransition
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution, apply, trading_day
from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.slices import Slice, check_stage, outcome_of, stage_of
from pulse_domain.orders.status import Phase
from pulse_domain.ports.order_store import Booked, Booking, BookResult


class SliceState(Struct, frozen=True, kw_only=True):
    """A slice as some statement left it; `version` tells whether it still is so."""

    order_id: OrderId
    seq: int
    version: int
    quantity: int
    scheduled_at: datetime
    executions: tuple[Execution, ...]

    def slice(self) -> Slice:
        return Slice(
            order_id=self.order_id,
            seq=self.seq,
            quantity=self.quantity,
            scheduled_at=self.scheduled_at,
            executions=self.executions,
        )


TradeKey = tuple[str, str, date]
# The executions that trades belong to, as far as one booking needs to know.
TradeOwners = dict[TradeKey, tuple[OrderId, int, int]]


def trade_key(fill: ev.Fill) -> TradeKey:
    """What a trade is known by at its exchange."""
    return fill.broker_order_id, fill.trade_id, trading_day(fill.at)


def advance(
    state: SliceState, bookings: Sequence[Booking], owners: TradeOwners
) -> tuple[SliceState, list[Booked]]:
    """Apply bookings of one slice in order: the new state, and an answer each.

    owners: trades known to belong to an execution; new ones are added. A trade of another is refused.
    """
    executions = list(state.executions)
    answers = list[Booked]()
    for booking in bookings:
        event = booking.event
        if not 0 <= event.chunk < len(executions):
            answers.append(Booked(BookResult.NOT_FOUND))
            continue
        before = executions[event.chunk]
        if isinstance(event, ev.ExecutionFilled):
            us = (state.order_id, state.seq, event.chunk)
            if owners.setdefault(trade_key(event.fill), us) != us:
                answers.append(Booked(BookResult.REFUSED, before))
                continue
        try:
            after = apply(before, event)
        except IllegalTransition:
            answers.append(Booked(BookResult.REFUSED, before))
            continue
        if after is before:
            answers.append(Booked(BookResult.UNCHANGED, before))
            continue
        executions[event.chunk] = after
        answers.append(Booked(BookResult.APPLIED, after))
    changed = tuple(executions)
    check_stage(stage_of(state.executions), stage_of(changed))
    return replace(state, version=state.version + 1, executions=changed), answers


class BookArguments:
    """The arrays of the BOOK statement."""

    def __init__(self, calls: Sequence[Booking]) -> None:
        names = ["order_ids", "seqs", "versions", "stages", "outcomes"]
        names += ["l_order_ids", "l_seqs", "l_chunks", "l_answers"]
        names += [f"l_{name}" for name, _, _ in LEDGER_CHANGES]
        names += ["e_order_ids", "e_seqs", "e_kinds", "e_data"]
        names += [
            "f_order_ids", "f_seqs", "f_chunks", "f_broker_order_ids", "f_trade_ids", "f_trade_days",
            "f_quantities", "f_prices", "f_filled_ats", "b_order_ids", "b_seqs", "b_chunks", "b_trade_ids",
            "b_trade_days",
            "c_order_ids", "c_seqs", "c_chunks", "c_brokers", "c_operations", "c_began_ats", "c_durations",
            "c_requests", "c_answers", "c_errors",
        ]  # fmt: skip
        self.arrays: dict[str, list[Any]] = {name: [] for name in names}
        for booking in calls:
            self._add_call(booking)

    @property
    def planned(self) -> list[datetime]:
        """The instants of executions that are to be claimed, again maybe."""
        arrays = self.arrays
        return [
            due_at
            for due_at, phase in zip(arrays["l_due_at"], arrays["l_phase"], strict=True)
            if phase == Phase.PLANNED
        ]

    @property
    def empty(self) -> bool:
        return not self.arrays["order_ids"] and not self.arrays["c_order_ids"]

    def _append(self, prefix: str, **values: Any) -> None:
        for name, value in values.items():
            self.arrays[prefix + name].append(value)

    def add(self, before: SliceState, after: SliceState, happened: Sequence[Booking]) -> None:
        """Add one slice whose state the bookings in `happened` changed."""
        outcome = outcome_of(after.executions)
        self._append(
            "",
            order_ids=before.order_id,
            seqs=before.seq,
            versions=before.version,
            stages=stage_of(after.executions).value,
            outcomes=outcome.value if outcome else None,
        )
        answers: dict[int, dict[str, Any]] = {}
        for booking in happened:
            if booking.answer is not None:
                answers.setdefault(booking.event.chunk, {}).update(booking.answer)
        for old, new in zip(before.executions, after.executions, strict=True):
            if new is old:
                continue
            answer = answers.get(new.chunk)
            self._append(
                "l_",
                order_ids=new.order_id,
                seqs=new.seq,
                chunks=new.chunk,
                answers=_text(answer) if answer else None,
                **{name: value(new) for name, _, value in LEDGER_CHANGES},
            )
            self._add_fills(old, new)

    def add_event(self, booking: Booking) -> None:
        """Add a journal row of a slice that was added; an order's rows keep the order they are added in."""
        event, order_id = booking.event, booking.order_id
        self._append(
            "e_",
            order_ids=order_id,
            seqs=event.seq,
            kinds=event.__struct_config__.tag,
            data=_text(event),
        )

    def _add_fills(self, old: Execution, new: Execution) -> None:
        # What the events come to, not each of them: a trade may be told and taken back in one batch.
        place = {"order_ids": new.order_id, "seqs": new.seq, "chunks": new.chunk}
        for fill in new.fills:
            if fill not in old.fills:
                self._append(
                    "f_",
                    **place,
                    broker_order_ids=fill.broker_order_id,
                    trade_ids=fill.trade_id,
                    trade_days=trading_day(fill.at),
                    quantities=fill.quantity,
                    prices=fill.price,
                    filled_ats=fill.at,
                )
        for fill in old.fills:
            if fill not in new.fills:
                self._append("b_", **place, trade_ids=fill.trade_id, trade_days=trading_day(fill.at))

    def _add_call(self, booking: Booking) -> None:
        call = booking.call
        assert call is not None, "only bookings with a call come here"
        self._append(
            "c_",
            order_ids=booking.order_id,
            seqs=booking.event.seq,
            chunks=booking.event.chunk,
            brokers=call.broker,
            operations=call.operation,
            began_ats=call.began_at,
            durations=call.duration_ms,
            requests=_text(call.request),
            answers=_text(call.answer) if call.answer is not None else None,
            errors=call.error,
        )


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
