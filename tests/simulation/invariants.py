"""What must hold after a simulated day: the promise that all runs share, and what only a simulation can see."""

from datetime import datetime, timedelta

from pulse_domain.orders import events as ev
from tests.promise import invariants as promise
from tests.promise.invariants import Acknowledged, BrokerRow, StoredOrder, Violation
from tests.simulation.world import DAY, TAG_PREFIX, World

# Two are needed for a proof, 5 s apart; some more may be lost with the worker that made them.
_READS_ENOUGH = 5
_READS_APART_S = 15.0


def at(seconds: float) -> datetime:
    return DAY + timedelta(seconds=seconds)


def stored_orders(world: World) -> list[StoredOrder]:
    return [
        StoredOrder(
            order=record.order,
            slices=[record.slices[seq] for seq in sorted(record.slices)],
            journal=record.journal,
        )
        for record in world.store._records.values()
    ]


def broker_rows(world: World) -> list[BrokerRow]:
    return [
        BrokerRow(
            tag=tag,
            broker_order_id=row.broker_order_id,
            quantity=row.ticket.quantity,
            filled=row.filled,
            accepted_at=at(row.arrived_at),
        )
        for row in world.exchange.rows.values()
        for tag in row.tags
    ]


def violations(world: World) -> list[Violation]:
    """Everything that is wrong with what a world has left behind."""
    orders, rows = stored_orders(world), broker_rows(world)
    acknowledged: list[Acknowledged] = list(world.acknowledged.values())
    found = promise.lost_orders(acknowledged, orders)
    found += promise.doubled_at_broker(orders, rows, tag_prefix=TAG_PREFIX)
    found += promise.claimed_after_cancel(orders, world.cancelled)
    found += promise.claimed_while_halted(orders, _halts(world))
    found += promise.stale_decisions(orders)
    found += promise.unfaithful_journals(orders)
    found += promise.undone(orders)
    found += promise.untold_by_broker(orders, rows)
    found += sent_at_the_wrong_time(world, orders)
    found += promise.claimed_while_paused(orders, {})
    found += unjustly_unresolved(world, orders)
    found += [Violation(rule="NO_PROCESS_BREAKS", text=text) for text in (*world.broken, *world.loop.faults)]
    return found


def _halts(world: World) -> list[promise.Halt]:
    halts: list[promise.Halt] = []
    began: float | None = None
    for when, halted in world.halts:
        if halted and began is None:
            began = when
        elif not halted and began is not None:
            halts.append(promise.Halt(began_at=at(began), ended_at=at(when)))
            began = None
    if began is not None:
        halts.append(promise.Halt(began_at=at(began)))
    return halts


def sent_at_the_wrong_time(world: World, orders: list[StoredOrder]) -> list[Violation]:
    """What was written to a socket came under a claim, inside lease and window, and after no acknowledged halt.

    Left out is what was held up between the last check and the socket: no one can help that.
    """
    found: list[Violation] = []
    executions = {e.tag: e for stored in orders for e in stored.executions}
    claims: dict[str, list[ev.JournalEntry]] = {}
    for stored in orders:
        tags = {(e.seq, e.chunk): e.tag for e in stored.executions}
        for entry in stored.journal:
            if isinstance(entry.event, ev.ExecutionClaimed):
                claims.setdefault(tags[entry.event.seq, entry.event.chunk], []).append(entry)
    first_due = {(s.order_id, s.seq): s.scheduled_at for stored in orders for s in stored.slices}
    halts = _halts(world)
    for send in world.exchange.sends:
        execution, when = executions.get(send.tag), at(send.at)
        if execution is None:
            found.append(Violation(rule="NOTHING_OF_NOBODY", tag=send.tag, text=f"{send}"))
            continue
        mine = [
            entry
            for entry in claims.get(send.tag, ())
            if isinstance(entry.event, ev.ExecutionClaimed)
            and entry.at <= when
            and entry.event.executor == send.sender
        ]
        place = {"order_id": execution.order_id, "tag": send.tag}
        if not mine:
            found.append(Violation(rule="SENT_UNDER_A_LEASE", text=f"no claim of {send}", **place))
            continue
        claim = mine[-1].event
        assert isinstance(claim, ev.ExecutionClaimed)
        if send.stalled_s > 1.0:
            continue
        if when > claim.lease_until:
            text = f"{send} after its lease, which ended at {claim.lease_until}"
            found.append(Violation(rule="SENT_UNDER_A_LEASE", text=text, **place))
        if (
            not first_due[execution.order_id, execution.seq]
            <= when
            <= execution.expires_at + timedelta(seconds=1)
        ):
            text = f"{send} expired at {execution.expires_at}"
            found.append(Violation(rule="INSIDE_ITS_WINDOW", text=text, **place))
        for answer in world.halt_answers:
            ended = min(
                (h.ended_at for h in halts if h.ended_at and h.ended_at > at(answer.told_at)), default=None
            )
            told = at(answer.told_at)
            in_it = told < when and (ended is None or when < ended) and mine[-1].at < told
            if in_it and send.tag not in answer.in_flight:
                text = f"{send} after the halt that was answered at {answer.told_at}"
                found.append(Violation(rule="NOTHING_WHILE_HALTED", text=text, **place))
    return found


def unjustly_unresolved(world: World, orders: list[StoredOrder]) -> list[Violation]:
    """Only what the broker could not tell is UNRESOLVED: reads that told the truth would have settled it."""
    found = []
    look_alikes = any(not row.tags for row in world.exchange.rows.values())
    for stored in orders:
        began: dict[tuple[int, int], datetime] = {}
        for entry in stored.journal:
            event = entry.event
            if isinstance(event, ev.ExecutionClaimed):
                began[event.seq, event.chunk] = event.lease_until
            elif isinstance(event, ev.ExecutionUnanswered) and event.call_ended_at is not None:
                began[event.seq, event.chunk] = event.call_ended_at
            elif isinstance(event, ev.ExecutionUnresolved) and not look_alikes:
                settled = began[event.seq, event.chunk] + timedelta(seconds=120)
                reads = [
                    read
                    for read in world.exchange.good_reads
                    if settled <= at(read) < entry.at and not world.store_fails_at(read)
                ]
                if len(reads) >= _READS_ENOUGH and reads[-1] - reads[0] > _READS_APART_S:
                    text = f"row {entry.seq}, though {len(reads)} reads from {reads[0]:.0f} on told the truth"
                    found.append(
                        Violation(rule="UNRESOLVED_FOR_A_REASON", order_id=stored.order.order_id, text=text)
                    )
    return found
