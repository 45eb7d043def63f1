"""What a run has come upon: a chaos that never hits the places where it hurts proves nothing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from pulse_domain.orders import events as ev
from pulse_domain.orders.status import SliceOutcome
from pulse_domain.use_cases.reconcile import EXECUTOR_DEAD
from tests.promise.invariants import Halt, StoredOrder

# What runs of many seeds must have hit, for each seed; a run of one seed only has to be sound.
NEEDED_EACH = {
    "slices": 100,
    "kills": 10,
    "kills_between_claim_and_outcome": 1.5,
    "postgres_restarts": 1,
    "redis_restarts": 1,
}


def read_coverage(orders: Iterable[StoredOrder], halts: Iterable[Halt]) -> Counter[str]:
    """Count what the journals tell."""
    found: Counter[str] = Counter()
    halts = list(halts)
    for stored in orders:
        found["orders"] += 1
        found["slices"] += len(stored.slices)
        for slice_ in stored.slices:
            outcome = slice_.outcome or "OPEN"
            found[f"slices_{outcome.lower()}"] += 1
            found["slices_filled_in_part"] += outcome is SliceOutcome.PARTIALLY_FILLED
        rows: defaultdict[tuple[int, int], list[ev.JournalEntry]] = defaultdict(list)
        for entry in stored.journal:
            if isinstance(entry.event, ev.ExecutionEvent):
                rows[entry.event.seq, entry.event.chunk].append(entry)
        for journal in rows.values():
            _read_execution(journal, halts, found)
    return found


def _read_execution(journal: list[ev.JournalEntry], halts: list[Halt], found: Counter[str]) -> None:
    claim: ev.JournalEntry | None = None
    unanswered: ev.ExecutionUnanswered | None = None
    released: ev.ExecutionReleased | None = None
    cancel_asked = False
    for entry in journal:
        event = entry.event
        if claim is not None:
            for halt in halts:
                found["halts_during_send"] += claim.at < halt.began_at < entry.at
        match event:
            case ev.ExecutionClaimed():
                if released is not None:
                    found["sent_again"] += 1
                    found["takeovers_after_proven_death"] += (
                        unanswered is not None and unanswered.reason == EXECUTOR_DEAD
                    )
                claim, unanswered, released = entry, None, None
                continue
            case ev.ExecutionUnanswered():
                unanswered = event
                found["unanswered"] += 1
            case ev.ExecutionReleased():
                released = event
            case ev.ExecutionAccepted() | ev.ExecutionFilled() if unanswered is not None and released is None:
                found["adoptions_by_tag"] += 1
                unanswered = None
            case ev.ExecutionCancelRequested():
                cancel_asked = True
            case ev.ExecutionFailed():
                found["proven_absent_and_failed"] += 1
            case _:
                pass
        if isinstance(event, ev.ExecutionFilled) and cancel_asked:
            found["late_fills_after_cancel"] += 1
        claim = None


def lacking(found: Mapping[str, float], seeds: int) -> list[str]:
    """What runs of so many seeds ought to have hit and have not."""
    return [
        f"{name}: {found.get(name, 0)} of {each * seeds:g}"
        for name, each in NEEDED_EACH.items()
        if found.get(name, 0) < each * seeds
    ]
