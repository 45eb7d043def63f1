"""The documents that are written from the code: `make docs` writes them, a test fails where one is stale."""

import inspect
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import yaml

import gapi.openapi
import pulse_api.app
from pulse_domain.orders.events import AnyExecutionEvent
from pulse_domain.orders.execution import REPORTING_PRECEDENCE
from pulse_domain.orders.status import (
    PHASE_TRANSITIONS,
    QUEUE_TRANSITIONS,
    STAGE_TRANSITIONS,
    ExecutionEventKind,
    ExecutionStatus,
    OrderState,
    Phase,
    QueueEvent,
    SliceOutcome,
    StageEvent,
)
from tests.integration.workers import broker_faults

ROOT = Path(__file__).parents[2]
ORDER_LIFECYCLE = Path("doc/order-lifecycle.md")
GAPI_OPENAPI = Path("doc/services/gapi-api/openapi.yaml")
PULSE_OPENAPI = Path("doc/services/pulse-api/openapi.yaml")

FENCED = {
    ExecutionEventKind(str(event.__struct_config__.tag))
    for event in get_args(AnyExecutionEvent)
    if "attempt" in event.__struct_fields__
}

Table = Mapping[Any, Mapping[Any, StrEnum]]


def documents() -> dict[Path, str]:
    """Every generated document: its path from the root, and what it must hold."""
    return {
        ORDER_LIFECYCLE: order_lifecycle(),
        GAPI_OPENAPI: as_yaml(gapi.openapi.document()),
        PULSE_OPENAPI: as_yaml(pulse_api.app.openapi_document()),
        broker_faults.GUIDE: broker_faults.document(),
    }


def as_yaml(document: dict[str, Any]) -> str:
    """An OpenAPI document as it is committed."""
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def main() -> None:
    for path, text in documents().items():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


# --- the life cycle of an order ----------------------------------------------------------------

INTRODUCTION = """\
# The life of an order

Written by `make docs` from `pulse_domain.orders.status` and `pulse_domain.orders.execution`; change those.

A client posts one **order**. A worker splits it into **slices**, each due at its instant; a slice is one
**execution** at the broker, or several where it is above the exchange's freeze quantity. Three small
machines follow them, and each is a table: what a table does not list cannot happen, and an attempt to make
it happen is refused and changes nothing. The diagrams leave out what does not move the state; the tables
below them have it.

What is *reported* of an execution, a slice or an order is never stored. It is worked out anew from the facts
each time: what was sent, what the broker answered, what was filled. So a fact may arrive late, twice or out
of order and the answer is the same.
"""

QUEUE = """\
## Splitting an order

The order's `order_queue_status`: is it split yet? The plan is stored in one step and never made again.
"""

STAGE = """\
## Placing a slice

The slice's `stage`: how far is its placement? It is derived from its executions. A slice is `PROCESSED` once
each of them has a broker order id or is closed; what then becomes of it is its *outcome*.
"""

PHASE = """\
## One execution at the broker

The *phase* is what we know of it. Decisions of ours carry the attempt that they belong to, and those of
another attempt are refused. Facts from the broker carry none: they are true whoever learns them, so almost
all of them are taken in at any time. `UNKNOWN` is left by what the broker says: an answer, an order book with
the order in it, or complete ones without it. Where it cannot say, we give up, and never send it again.

What has ended stays ended: a fill that arrives later is booked and flagged, and does not reopen the order.
Where we gave up on our own, a late fact corrects it.
"""

EVENT_MEANS = {
    ExecutionEventKind.CLAIMED: "A worker took it to send it at once",
    ExecutionEventKind.RELEASED: "Certainly nothing is at the broker: it may be claimed again",
    ExecutionEventKind.UNANSWERED: "No answer came; or it became known that the call has ended",
    ExecutionEventKind.ABSENCE_SEEN: "A complete order book, read after the settle time, did not hold it",
    ExecutionEventKind.WITHDRAWN: "Cancelled before it was sent",
    ExecutionEventKind.RESCHEDULED: "Late, and given another instant",
    ExecutionEventKind.LAPSED: "Not sent within its window, so never sent",
    ExecutionEventKind.FAILED: "Proven absent at the broker, and not to be sent again",
    ExecutionEventKind.UNRESOLVED: "Neither found nor proven absent: for a person",
    ExecutionEventKind.RESOLVED_FOUND: "A person found it at the broker, under this id",
    ExecutionEventKind.RESOLVED_ABSENT: "A person made sure that the broker does not have it",
    ExecutionEventKind.CANCEL_REQUESTED: "The client asks to cancel it",
    ExecutionEventKind.REPLACE_REQUESTED: "The client asks to change it: the old terms hold until confirmed",
    ExecutionEventKind.ACCEPTED: "The broker has it, under this id",
    ExecutionEventKind.RESTING: "It rests at the broker, waiting for its trigger price or not",
    ExecutionEventKind.FILLED: "A trade at the exchange; each counts once",
    ExecutionEventKind.FILL_BUSTED: "The exchange took a trade back",
    ExecutionEventKind.CUMULATIVE_REPORTED: "A total above the known trades: it stands in for those missing",
    ExecutionEventKind.COMPLETED: "The broker calls it complete",
    ExecutionEventKind.CANCELLED: "The broker cancelled it",
    ExecutionEventKind.REJECTED: "The broker refused it",
    ExecutionEventKind.EXPIRED: "The broker let it expire",
    ExecutionEventKind.CANCEL_REFUSED: "The broker does not cancel it",
    ExecutionEventKind.REPLACED: "The broker changed it as asked",
    ExecutionEventKind.REPLACE_REFUSED: "The broker does not change it",
}

REPORTED = """\
## What is reported of an execution

The first row that holds, which is the precedence of the FIX protocol.
"""

# The conditions are code; these are their words.
REPORTED_WHEN = {
    ExecutionStatus.PENDING_CANCEL: "A cancel is asked for, and the order is being sent, unanswered or live",
    ExecutionStatus.FILLED: (
        "The broker calls it complete; or all of its quantity, as amended, is filled, "
        "and it did not end rejected or expired"
    ),
    ExecutionStatus.CANCELLED: "The broker cancelled it, or it was cancelled before it was sent",
    ExecutionStatus.EXPIRED: "The broker let it expire, or it was not sent within its window",
    ExecutionStatus.REJECTED: "The broker refused it, or it is proven that the broker never had it",
    ExecutionStatus.UNKNOWN: "It was or may have been sent and no answer came; or nobody can find out any more",
    ExecutionStatus.PARTIALLY_FILLED: "Some of it is filled",
    ExecutionStatus.TRIGGER_PENDING: "It rests at the broker until its trigger price",
    ExecutionStatus.OPEN: "The broker has it",
    ExecutionStatus.CLAIMED: "A worker is sending it at this moment",
    ExecutionStatus.PLANNED: "Nothing was sent",
}

OUTCOMES = """\
## Outcomes of a slice

Empty while any of its executions may still fill, then the first row that holds. A late fact from the broker
may correct an outcome; the journal shows both.
"""

OUTCOME_WHEN = {
    SliceOutcome.FILLED: "All of its quantity is filled",
    SliceOutcome.UNRESOLVED: "Of some of it nobody knows; shown apart so that nobody sends it again",
    SliceOutcome.PARTIALLY_FILLED: "Some of it is filled, the rest will not come",
    SliceOutcome.FAILED: "Nothing is filled, and some of it provably never reached the broker",
    SliceOutcome.REJECTED: "Nothing is filled, and the broker refused some of it",
    SliceOutcome.EXPIRED: "Nothing is filled, and the time of some of it passed",
    SliceOutcome.CANCELLED: "Nothing is filled, and all of it was cancelled",
}

STATES = """\
## States of an order

What a client is told, worked out from the queue status and all executions. At every step of the journal
`filled + working + unknown + unsent + cancelled + failed = total + overfilled`.
"""

STATE_WHEN = {
    OrderState.ACCEPTED: ("no", "It is stored and not split yet"),
    OrderState.SCHEDULED: ("no", "It is split, and nothing of it was sent"),
    OrderState.WORKING: ("no", "Some of it was sent or has ended, and some may still fill"),
    OrderState.FILLED: ("yes", "All of it is filled"),
    OrderState.PARTIALLY_FILLED: ("yes", "Some of it is filled, and the rest will not come"),
    OrderState.CANCELLED: ("yes", "It was cancelled, and nothing is filled"),
    OrderState.REJECTED: ("yes", "Nothing is filled, and the broker refused some of it"),
    OrderState.EXPIRED: ("yes", "Nothing is filled, and the time of some of it passed"),
    OrderState.FAILED: (
        "yes",
        "It could not be split; or nothing is filled, and some of it provably never reached the broker",
    ),
    OrderState.SKIPPED: ("yes", "A rule refused it before it was split"),
    OrderState.UNRESOLVED: ("yes", "Of some of it nobody knows: a person has to find out"),
}


def order_lifecycle() -> str:
    reported = [(status, REPORTED_WHEN[status]) for status, _ in REPORTING_PRECEDENCE]
    states = [(state, *STATE_WHEN[state]) for state in OrderState]
    queue_events = [(event.name, *_row(QUEUE_TRANSITIONS, event)) for event in QueueEvent]
    stage_events = [(event.name, *_row(STAGE_TRANSITIONS, event)) for event in StageEvent]
    execution_events = [
        (kind.name, EVENT_MEANS[kind], "yes" if kind in FENCED else "", _moves(PHASE_TRANSITIONS, kind))
        for kind in ExecutionEventKind
    ]
    parts = [
        INTRODUCTION,
        QUEUE,
        _diagram(QUEUE_TRANSITIONS),
        _table(("Event", "Means", "Moves"), queue_events),
        STAGE,
        _diagram(STAGE_TRANSITIONS),
        _table(("Event", "Means", "Moves"), stage_events),
        PHASE,
        _diagram(PHASE_TRANSITIONS),
        _table(("Phase", "Means"), [(phase.name, _remarks(Phase)[phase.name]) for phase in Phase]),
        _table(("Event", "Means", "Fenced by the attempt", "Moves"), execution_events),
        REPORTED,
        _table(("Status", "Holds when"), reported),
        OUTCOMES,
        _table(("Outcome", "Holds when"), OUTCOME_WHEN.items()),
        STATES,
        _table(("State", "Done", "Means"), states),
    ]
    return "\n".join(parts)


def _diagram(table: Table) -> str:
    arrows: dict[tuple[StrEnum, StrEnum], list[str]] = {}
    for state, row in table.items():
        for event, following in row.items():
            if following is not state:
                arrows.setdefault((state, following), []).append(event.name)
    first = next(iter(table))
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first}"]
    lines += [
        f"    {state} --> {following}: {'<br/>'.join(names)}" for (state, following), names in arrows.items()
    ]
    lines += [f"    {state} --> [*]" for state, row in table.items() if set(row.values()) <= {state}]
    return "\n".join([*lines, "```", ""])


def _row(table: Table, event: StrEnum) -> tuple[str, str]:
    return _remarks(type(event))[event.name], _moves(table, event)


def _moves(table: Table, event: StrEnum) -> str:
    """The cells of an event; a state that it leaves as it is stands alone."""
    return ", ".join(
        state if row[event] is state else f"{state} → {row[event]}"
        for state, row in table.items()
        if event in row
    )


def _remarks(enum: type[StrEnum]) -> dict[str, str]:
    """The comment beside each member: what it means is said there, and only there."""
    remarks = re.findall(r"^    (\w+) = .*?  # (.*)$", inspect.getsource(enum), re.MULTILINE)
    return {name: remark[0].upper() + remark[1:] for name, remark in remarks}


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join([*("| " + " | ".join(line) + " |" for line in lines), ""])


if __name__ == "__main__":
    main()
