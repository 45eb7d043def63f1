"""What a run has met: a simulation that never kills between claim and outcome proves nothing about that."""

from collections import Counter
from collections.abc import Iterable, Sequence

from pulse_background.workers.slice_executor import CLAIM_LOST
from pulse_domain.orders import events as ev
from pulse_domain.use_cases.reconcile import EXECUTOR_DEAD, PROVEN_ABSENT
from tests.promise.invariants import StoredOrder

# Each of these has to be met in a run of enough seeds.
REQUIRED = (
    "kill between claim and outcome",
    "adoption by tag",
    "late fill after cancel",
    "take-over after proven death",
    "woken SIGSTOP",
    "halt during send",
    "commit unknown",
    "sent at once",
    "at once and lost",
)
# So many seeds meet all of them, with a wide margin.
SEEDS_ENOUGH = 100


def met_by_journals(orders: Iterable[StoredOrder]) -> Counter[str]:
    """What the journals tell of."""
    met: Counter[str] = Counter()
    for stored in orders:
        by_execution: dict[tuple[int, int], list[ev.ExecutionEvent]] = {}
        for entry in stored.journal:
            if isinstance(entry.event, ev.ExecutionEvent):
                by_execution.setdefault((entry.event.seq, entry.event.chunk), []).append(entry.event)
            elif isinstance(entry.event, ev.SplitLeaseExpired):
                met["split taken over"] += 1
        if claimed_at_once(stored.journal):
            met["sent at once"] += 1
            released = (
                entry.event for entry in stored.journal if isinstance(entry.event, ev.ExecutionReleased)
            )
            met["at once and lost"] += any(event.reason == CLAIM_LOST for event in released)
        for events in by_execution.values():
            met.update(_met_by(events))
    return met


def claimed_at_once(journal: Sequence[ev.JournalEntry]) -> bool:
    """Whether the step that accepted the order claimed its execution too."""
    return (
        len(journal) > 3
        and isinstance(journal[3].event, ev.ExecutionClaimed)
        and journal[3].at == journal[0].at
    )


def _met_by(events: list[ev.ExecutionEvent]) -> Iterable[str]:
    unanswered = cancelled = dead = absent = given_up = False
    for event in events:
        match event:
            case ev.ExecutionUnanswered():
                unanswered, dead = True, dead or event.reason == EXECUTOR_DEAD
            case ev.ExecutionReleased():
                unanswered, absent = False, event.reason == PROVEN_ABSENT
                yield "proven absent and sent again" if absent else "released"
            case ev.ExecutionClaimed():
                if absent and dead:
                    yield "take-over after proven death"
                dead = False
            case ev.ExecutionAccepted():
                if given_up:
                    yield "corrected by a late fact"
                elif unanswered:
                    yield "adoption by tag"
                unanswered = given_up = False
            case ev.ExecutionCancelled():
                cancelled = True
            case ev.ExecutionFilled():
                if cancelled:
                    yield "late fill after cancel"
            case ev.ExecutionFailed() | ev.ExecutionUnresolved():
                given_up = True
                yield "failed" if isinstance(event, ev.ExecutionFailed) else "unresolved"
            case ev.ExecutionLapsed():
                yield "lapsed"
            case ev.ExecutionRescheduled():
                yield "late and given another instant"
