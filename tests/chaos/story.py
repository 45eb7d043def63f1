"""A failure as a person wants to read it: the rule, what was done, the order's journal, the exchange's rows."""

from msgspec import json

from tests.chaos.evidence import Evidence, state_of
from tests.chaos.timeline import Timeline
from tests.promise.invariants import StoredOrder, Violation

_TOLD_MAX = 5
_VIOLATIONS_MAX = 40


def tell(seed: int, violations: list[Violation], evidence: Evidence, timeline: Timeline) -> str:
    """Everything about the first orders concerned, and nothing about the others."""
    lines = [f"seed {seed}: {len(violations)} violations"]
    lines += [f"  {each}"[:600] for each in violations[:_VIOLATIONS_MAX]]
    concerned = list(dict.fromkeys(_order_of(each, evidence) for each in violations))[:_TOLD_MAX]
    others = {stored.order.order_id for stored in evidence.orders} - set(concerned)
    lines += ["", "what was done"]
    lines += [str(note) for note in timeline.notes if not any(order_id in note.what for order_id in others)]
    for stored in evidence.orders:
        if stored.order.order_id in concerned:
            lines += ["", *_tell_order(stored, violations, evidence, timeline)]
    return "\n".join(lines)


def _order_of(violation: Violation, evidence: Evidence) -> str:
    if violation.order_id or not violation.tag:
        return violation.order_id
    return next((s.order.order_id for s in evidence.orders if violation.tag in _tags(s)), "")


def _tags(stored: StoredOrder) -> dict[str, str]:
    return {execution.tag: f"{execution.seq}.{execution.chunk}" for execution in stored.executions}


def _tell_order(
    stored: StoredOrder, violations: list[Violation], evidence: Evidence, timeline: Timeline
) -> list[str]:
    began = timeline.notes[0].at.timestamp() - timeline.notes[0].seconds
    tags = _tags(stored)
    concerned = {each.tag for each in violations if each.tag in tags}
    places = {tags[tag] for tag in concerned}
    lines = [f"{stored.order.order_id} is {state_of(stored)}, {stored.order.request}"]
    for entry in stored.journal:
        place = f"{getattr(entry.event, 'seq', '')}.{getattr(entry.event, 'chunk', '')}"
        # Of an execution, where some of them are concerned, only theirs; of the order, all but the plan.
        if places and place != "." and place not in places:
            continue
        told = json.encode(entry.event).decode()
        lines.append(f"{entry.at.timestamp() - began:7.2f} s  row {entry.seq:<4} {told[:300]}")
    lines += [
        f"{row.accepted_at.timestamp() - began:7.2f} s  exchange   {tags[row.tag]} {row.tag}"
        f" {row.broker_order_id} {row.filled} of {row.quantity}"
        for row in evidence.rows
        if row.tag in tags and (not concerned or row.tag in concerned)
    ]
    return lines
