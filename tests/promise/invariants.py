"""The promise, as functions on plain values: what must hold however the run went that left them behind.

Whoever makes a run (a simulation in one process, real processes under a nemesis) hands over what was told to
the clients, what the store holds, and what the broker holds; each function gives what is wrong, and nothing if
all is well. The fold of the journal is the domain's own; the fence and the order of claims are read off the
rows, without the state machine that is to be judged.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.errors import PulseError
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.journal import OrderHistory, apply_to_order, apply_to_slice, planned_slices
from pulse_domain.orders.model import Order
from pulse_domain.orders.slices import Slice
from pulse_domain.orders.status import OrderQueueStatus, SliceOutcome
from pulse_domain.orders.summary import Tally, summarise, summarise_history, tally

_NO_TIME = timedelta(0)


class Violation(Struct, frozen=True, kw_only=True):
    """rule: the part of the promise that is broken. order_id, tag: whose, where it is somebody's."""

    rule: str
    text: str
    order_id: str = ""
    tag: str = ""

    def __str__(self) -> str:
        return f"{self.rule}: {' '.join(filter(None, (self.order_id, self.tag)))} {self.text}"


class StoredOrder(Struct, frozen=True, kw_only=True):
    """An order as the store tells it at the end, with its whole journal."""

    order: Order
    slices: Sequence[Slice]
    journal: Sequence[ev.JournalEntry]

    @property
    def executions(self) -> list[Execution]:
        return [execution for slice_ in self.slices for execution in slice_.executions]


class BrokerRow(Struct, frozen=True, kw_only=True):
    """An order that the broker has ever accepted, as the broker itself knows it.

    accepted_at: by the clock of the store.
    """

    tag: str
    broker_order_id: str
    quantity: int
    filled: int
    accepted_at: datetime


class Acknowledged(Struct, frozen=True, kw_only=True):
    """What a client was told is accepted."""

    client_id: str
    order_unique_key: str
    order_id: str


class Halt(Struct, frozen=True, kw_only=True):
    """From when on trading was halted, and until when, by the clock of the store; None: to the end."""

    began_at: datetime
    ended_at: datetime | None = None


class Freeze(Struct, frozen=True, kw_only=True):
    """A process that may hold an order in its hands was stopped, and woken again. Its time does not count."""

    began_at: datetime
    ended_at: datetime


def as_accepted(order: Order) -> Order:
    """The order as it was stored first: what its journal tells is taken off."""
    return replace(
        order, queue_status=OrderQueueStatus.PENDING, skip_reason=None, failure=None, split_attempt=0,
        cancel_requested_at=None, paused_at=None,
    )  # fmt: skip


# --- acceptance


def lost_orders(acknowledged: Iterable[Acknowledged], orders: Sequence[StoredOrder]) -> list[Violation]:
    """Every acknowledged order exists under the id that the client was given, and a key has one order."""
    known = {stored.order.order_id: stored.order for stored in orders}
    keys = Counter((order.client_id, order.order_unique_key) for order in known.values())
    found = [
        Violation(rule="ONE_ORDER_PER_KEY", text=f"{key} has {count} orders")
        for key, count in keys.items()
        if count > 1
    ]
    for each in acknowledged:
        order = known.get(each.order_id)  # type: ignore[call-overload]  # a plain text
        if order is None:
            found.append(Violation(rule="ACKNOWLEDGED_EXISTS", order_id=each.order_id, text="is not stored"))
        elif (order.client_id, order.order_unique_key) != (each.client_id, each.order_unique_key):
            found.append(Violation(rule="ACKNOWLEDGED_EXISTS", order_id=each.order_id, text=f"is not {each}"))
    return found


def revived_refusals(refused: Iterable[tuple[str, str]], orders: Sequence[StoredOrder]) -> list[Violation]:
    """What a client was definitely refused, by (client, key), is not stored."""
    known = {(o.order.client_id, o.order.order_unique_key): o.order.order_id for o in orders}
    return [
        Violation(rule="REFUSED_DOES_NOT_EXIST", order_id=known[key], text=f"{key} was refused")
        for key in refused
        if key in known
    ]


# --- at the broker


def doubled_at_broker(
    orders: Sequence[StoredOrder], rows: Iterable[BrokerRow], *, tag_prefix: str
) -> list[Violation]:
    """No more was ever accepted at the broker than an execution and its slice have; and nothing of nobody."""
    executions = {e.tag: e for stored in orders for e in stored.executions}
    quantities = {(e.order_id, e.seq): 0 for e in executions.values()}
    planned = {(slice_.order_id, slice_.seq): slice_.quantity for stored in orders for slice_ in stored.slices}
    found = []
    by_tag: defaultdict[str, list[BrokerRow]] = defaultdict(list)
    for row in rows:
        by_tag[row.tag].append(row)
    for tag, same in by_tag.items():
        execution = executions.get(tag)
        if execution is None:
            if tag.startswith(tag_prefix):
                found.append(Violation(rule="NOTHING_OF_NOBODY", tag=tag, text=f"at the broker: {same}"))
            continue
        sent = sum(row.quantity for row in same)
        quantities[execution.order_id, execution.seq] += sent
        if len(same) > 1 or sent > execution.planned_quantity:
            ids = ", ".join(row.broker_order_id for row in same)
            text = f"{sent} of {execution.planned_quantity} were accepted, as {ids}"
            found.append(Violation(rule="AT_MOST_ONCE", order_id=execution.order_id, tag=tag, text=text))
    found += [
        Violation(
            rule="AT_MOST_ONCE", order_id=key[0], text=f"slice {key[1]}: {sent} of {planned[key]} were accepted"
        )
        for key, sent in quantities.items()
        if sent > planned[key]
    ]
    return found


def untold_by_broker(orders: Sequence[StoredOrder], rows: Iterable[BrokerRow]) -> list[Violation]:
    """At the end, when all was read: an execution has the broker's order and its fills, and no others."""
    at_broker = {row.tag: row for row in rows}
    found = []
    for stored in orders:
        for execution in stored.executions:
            row = at_broker.get(execution.tag)
            theirs = (None, 0) if row is None else (row.broker_order_id, row.filled)
            ours = (execution.broker_order_id, execution.filled_quantity)
            if ours != theirs:
                text = f"we hold {ours}, the broker {theirs}"
                found.append(
                    Violation(
                        rule="SAME_AS_THE_BROKER", order_id=execution.order_id, tag=execution.tag, text=text
                    )
                )
    return found


def sent_out_of_time(
    orders: Sequence[StoredOrder],
    rows: Iterable[BrokerRow],
    *,
    slack: timedelta,
    freezes: Sequence[Freeze] = (),
) -> list[Violation]:
    """Nothing is claimed outside its window and grace, and what is at the broker came under a claim's lease.

    slack: how far clocks may differ, and how long what was sent in time may travel. freezes: time in which
    nobody could act, which is left out of the count.
    """
    executions = {e.tag: e for stored in orders for e in stored.executions}
    claims: defaultdict[str, list[ev.JournalEntry]] = defaultdict(list)
    found = []
    for stored in orders:
        tags = {(e.seq, e.chunk): e for e in stored.executions}
        first_due = {slice_.seq: slice_.scheduled_at for slice_ in stored.slices}
        for entry, event in _claims(stored.journal):
            execution = tags[event.seq, event.chunk]
            claims[execution.tag].append(entry)
            if not first_due[event.seq] <= entry.at < execution.expires_at:
                text = f"claimed at {entry.at}, due from {first_due[event.seq]} to {execution.expires_at}"
                found.append(
                    Violation(
                        rule="INSIDE_ITS_WINDOW", order_id=execution.order_id, tag=execution.tag, text=text
                    )
                )
    for row in rows:
        if row.tag not in executions:
            continue
        execution = executions[row.tag]
        if not any(_covers(entry, row.accepted_at, slack, freezes) for entry in claims[row.tag]):
            text = f"accepted at {row.accepted_at}, claims {[_lease(entry) for entry in claims[row.tag]]}"
            found.append(
                Violation(rule="SENT_UNDER_A_LEASE", order_id=execution.order_id, tag=row.tag, text=text)
            )
        latest = execution.expires_at + slack
        if row.accepted_at - _frozen(freezes, execution.due_at, row.accepted_at) > latest:
            text = f"accepted at {row.accepted_at}, expired at {execution.expires_at}"
            found.append(
                Violation(rule="INSIDE_ITS_WINDOW", order_id=execution.order_id, tag=row.tag, text=text)
            )
    return found


# --- cancel and halt


def claimed_after_cancel(
    orders: Sequence[StoredOrder], acknowledged: Mapping[str, datetime]
) -> list[Violation]:
    """After a cancel nothing is claimed or split, and one that was acknowledged is on record.

    acknowledged: by order id, when a client was told, by the clock of the store.
    """
    found = []
    for stored in orders:
        order_id = stored.order.order_id
        wished = next((e for e in stored.journal if isinstance(e.event, ev.CancelRequested)), None)
        told = acknowledged.get(order_id)
        if told is not None and (wished is None or wished.at > told):
            text = f"acknowledged at {told}, on record {None if wished is None else wished.at}"
            found.append(Violation(rule="CANCEL_IS_KEPT", order_id=order_id, text=text))
        if wished is None:
            continue
        for entry in stored.journal:
            if entry.seq > wished.seq and isinstance(entry.event, ev.ExecutionClaimed | ev.SplitSaved):
                text = f"row {entry.seq} {entry.event} after the cancel, row {wished.seq}"
                found.append(Violation(rule="NOTHING_AFTER_CANCEL", order_id=order_id, text=text))
    return found


def claimed_while_halted(orders: Sequence[StoredOrder], halts: Iterable[Halt]) -> list[Violation]:
    """From a halt that is stored to its end nothing is claimed, and no order is accepted."""
    halts = list(halts)
    return [
        Violation(
            rule="NOTHING_WHILE_HALTED",
            order_id=stored.order.order_id,
            text=f"row {entry.seq} {type(entry.event).__name__} at {entry.at}, halted from {halt.began_at}",
        )
        for stored in orders
        for entry, _ in _claims(stored.journal)
        for halt in halts
        if halt.began_at < entry.at and (halt.ended_at is None or entry.at < halt.ended_at)
    ]


def claimed_while_paused(orders: Sequence[StoredOrder], acknowledged: Mapping[str, int]) -> list[Violation]:
    """While an order is paused nothing of it is claimed, and every pause that was acknowledged is on record.

    acknowledged: by order id, how many pauses.
    """
    found = []
    for stored in orders:
        order_id, paused, pauses = stored.order.order_id, False, 0
        for entry in stored.journal:
            if isinstance(entry.event, ev.OrderPaused | ev.OrderResumed):
                paused = isinstance(entry.event, ev.OrderPaused)
                pauses += paused
            elif paused and isinstance(entry.event, ev.ExecutionClaimed):
                text = f"row {entry.seq} {entry.event}"
                found.append(Violation(rule="NOTHING_WHILE_PAUSED", order_id=order_id, text=text))
        if pauses < acknowledged.get(order_id, 0):
            text = f"{pauses} of {acknowledged[order_id]} pauses are on record"
            found.append(Violation(rule="PAUSE_IS_KEPT", order_id=order_id, text=text))
    return found


# --- the journal


def stale_decisions(orders: Sequence[StoredOrder]) -> list[Violation]:
    """Attempts count up one by one, and every decision belongs to the attempt that held the execution."""
    found = []
    for stored in orders:
        held: dict[tuple[int, int], int] = {}
        attempts: Counter[tuple[int, int]] = Counter()
        for entry in stored.journal:
            event = entry.event
            if not isinstance(event, ev.ExecutionEvent):
                continue
            key, attempt = (event.seq, event.chunk), getattr(event, "attempt", None)
            wrong = ""
            if isinstance(event, ev.ExecutionClaimed):
                if key in held:
                    wrong = f"claimed while attempt {held[key]} holds it"
                elif attempt != attempts[key] + 1:
                    wrong = f"claimed as attempt {attempt} after {attempts[key]}"
                attempts[key] += 1
                held[key] = attempts[key]
            elif attempt is not None:
                if held.get(key) != attempt:
                    wrong = f"of attempt {attempt}, held by {held.get(key)}"
                if isinstance(event, ev.ExecutionReleased):
                    held.pop(key, None)
            if wrong:
                text = f"row {entry.seq} {type(event).__name__}: {wrong}"
                found.append(Violation(rule="NO_STALE_DECISION", order_id=stored.order.order_id, text=text))
    return found


def unfaithful_journals(orders: Sequence[StoredOrder]) -> list[Violation]:
    """The journal has no gaps, its quantities add up at every row, and folding it gives the stored state."""
    found = []
    for stored in orders:
        order_id = stored.order.order_id
        seqs = [entry.seq for entry in stored.journal]
        if seqs != list(range(1, len(seqs) + 1)):
            found.append(Violation(rule="JOURNAL_HAS_NO_GAPS", order_id=order_id, text=f"rows {seqs}"))
            continue
        try:
            history, unbalanced = _fold(stored)
        except (PulseError, KeyError, IndexError) as error:
            text = f"cannot be folded: {type(error).__name__}: {error}"
            found.append(Violation(rule="JOURNAL_REPLAYS", order_id=order_id, text=text))
            continue
        found += [Violation(rule="QUANTITIES_ADD_UP", order_id=order_id, text=text) for text in unbalanced]
        if history.order != stored.order:
            text = f"folded {history.order}, stored {stored.order}"
            found.append(Violation(rule="JOURNAL_REPLAYS", order_id=order_id, text=text))
        for folded, kept in zip(history.slices, stored.slices, strict=False):
            if folded != kept:
                text = f"folded {folded}, stored {kept}"
                found.append(Violation(rule="JOURNAL_REPLAYS", order_id=order_id, text=text))
        if len(history.slices) != len(stored.slices):
            text = f"{len(history.slices)} slices folded, {len(stored.slices)} stored"
            found.append(Violation(rule="JOURNAL_REPLAYS", order_id=order_id, text=text))
    return found


# --- the end


def undone(orders: Sequence[StoredOrder], *, unresolved_allowed: bool = False) -> list[Violation]:
    """All orders are done.

    unresolved_allowed: there were executions of which the broker truly could not tell.
    """
    found = []
    for stored in orders:
        summary = summarise_history(OrderHistory(order=stored.order, slices=tuple(stored.slices)))
        order_id = stored.order.order_id
        if not summary.done:
            found.append(
                Violation(
                    rule="DONE_AFTER_THE_DEADLINE", order_id=order_id, text=f"is {summary.state}: {summary}"
                )
            )
        if not unresolved_allowed:
            found += [
                Violation(rule="RESOLVED", order_id=order_id, text=f"slice {slice_.seq} is UNRESOLVED")
                for slice_ in stored.slices
                if slice_.outcome is SliceOutcome.UNRESOLVED
            ]
    return found


def _fold(stored: StoredOrder) -> tuple[OrderHistory, list[str]]:
    order = as_accepted(stored.order)
    slices: dict[int, Slice] = {}
    unbalanced = []
    # Of every execution as it stands: only one changes with each row, and what is summed up row by row is a sum
    # over executions, so it adds up where the part of each does.
    tallies: dict[tuple[int, int], Tally] = {}
    for entry in stored.journal:
        event = entry.event
        if isinstance(event, ev.ExecutionEvent):
            slices[event.seq] = apply_to_slice(slices[event.seq], event)
            counted = tally(slices[event.seq].executions[event.chunk])
            known = tallies[event.seq, event.chunk]
            if counted == known:
                continue  # a row that moves no quantity
            tallies[event.seq, event.chunk] = counted
            part = summarise(order, (counted,)).quantities
            accounted = part.filled + part.working + part.unknown + part.unsent + part.cancelled + part.failed
            if accounted == counted.planned_quantity + part.overfilled and (
                counted.planned_quantity == known.planned_quantity
            ):
                continue
        else:
            order = apply_to_order(order, entry.event, entry.at)
            if isinstance(entry.event, ev.SplitSaved):
                slices = {slice_.seq: slice_ for slice_ in planned_slices(order, entry.event)}
                tallies = {(e.seq, e.chunk): tally(e) for s in slices.values() for e in s.executions}
            if _adds_up(order, tallies.values(), stored):
                continue
        unbalanced.append(f"at row {entry.seq}: {summarise(order, tallies.values()).quantities}")
    if not _adds_up(order, tallies.values(), stored):
        unbalanced.append(f"at the end: {summarise(order, tallies.values()).quantities}")
    return OrderHistory(order=order, slices=tuple(slices[seq] for seq in sorted(slices))), unbalanced


def _adds_up(order: Order, tallies: Iterable[Tally], stored: StoredOrder) -> bool:
    quantities = summarise(order, tallies).quantities
    return quantities.balanced and quantities.total == stored.order.request.total_quantity


def _claims(journal: Iterable[ev.JournalEntry]) -> list[tuple[ev.JournalEntry, ev.ExecutionClaimed]]:
    return [(entry, entry.event) for entry in journal if isinstance(entry.event, ev.ExecutionClaimed)]


def _lease(claim: ev.JournalEntry) -> str:
    assert isinstance(claim.event, ev.ExecutionClaimed)
    return f"{claim.at} to {claim.event.lease_until}"


def _covers(claim: ev.JournalEntry, accepted_at: datetime, slack: timedelta, freezes: Sequence[Freeze]) -> bool:
    assert isinstance(claim.event, ev.ExecutionClaimed)
    latest = claim.event.lease_until + slack + _frozen(freezes, claim.at, accepted_at)
    return claim.at - slack <= accepted_at <= latest


def _frozen(freezes: Sequence[Freeze], since: datetime, until: datetime) -> timedelta:
    """How long anybody was frozen between two instants; what overlaps counts once."""
    frozen, counted_to = _NO_TIME, since
    for each in sorted(freezes, key=lambda freeze: freeze.began_at):
        began_at, ended_at = max(counted_to, each.began_at), min(until, each.ended_at)
        if began_at < ended_at:
            frozen, counted_to = frozen + (ended_at - began_at), ended_at
    return frozen
