"""What a person compares before trading goes on: what the broker has and we do not know, and what we doubt."""

from msgspec import Struct

from pulse_domain.orders.execution import UNPLANNED
from pulse_domain.ports.order_store import BookFindings, OrderStore, Selection, Stranger, Tracked, TradingState
from pulse_domain.ports.work_queue import Job, JobKind, WorkQueue
from pulse_domain.use_cases.book_facts import FactsReport
from pulse_domain.use_cases.reconcile import ReconcileReport

IN_DOUBT_MAX = 500
_NAMED_MAX = 5


class Review(Struct, frozen=True, kw_only=True):
    """findings: of the last look at the order book, None before the first.
    in_doubt: executions unknown or unresolved, or at the broker though never sent as far as we knew."""

    state: TradingState
    findings: BookFindings | None
    in_doubt: tuple[Tracked, ...]


class ReviewTrading:
    def __init__(self, store: OrderStore, queue: WorkQueue) -> None:
        self._store = store
        self._queue = queue

    async def look(self) -> Review:
        """Show what is stored, and have the workers read the order book anew."""
        self._queue.enqueue(Job(JobKind.RECONCILE))
        return Review(
            state=await self._store.trading_state(),
            findings=await self._store.findings(),
            in_doubt=tuple(await self._store.select(Selection.IN_DOUBT, limit=IN_DOUBT_MAX)),
        )

    async def confirm(self, confirmed_by: str, reason: str) -> TradingState:
        """Let trading go on: a person has compared.

        Raises:
            ReconcileRequired: since the halt the order book was not read completely.
        """
        return await self._store.confirm_reconciled(confirmed_by, reason)


class InspectBook:
    """Keep what each look at the order book finds; of the first complete one of a process, judge it.

    Where the broker has orders of ours that no execution explains, or such as we never sent as far as we knew,
    then the store has forgotten something: trading is halted until a person has compared.

    halted_by: who is said to have halted.
    """

    def __init__(self, store: OrderStore, halted_by: str) -> None:
        self._store = store
        self._halted_by = halted_by
        self._judged = False
        self._unplanned: dict[str, None] = {}

    def saw(self, facts: FactsReport) -> None:
        """Take in what was pushed, or read, before the judgement."""
        if not self._judged:
            self._unplanned |= {
                t.execution.execution_id: None for t in facts.flagged if UNPLANNED in t.execution.flags
            }

    async def __call__(self, report: ReconcileReport) -> str | None:
        """Keep the findings; why trading was halted, if it was.

        Raises:
            StorageUnavailable: call it again with the next look; nothing is judged before.
        """
        self.saw(report.facts)
        reason = None
        if report.complete and not self._judged:
            reason = await self._judge(report)
            if reason is not None:
                await self._store.halt_for_reconcile(self._halted_by, reason)
        await self._store.note_findings(
            BookFindings(complete=report.complete, strangers=self._strangers(report))
        )
        self._judged = self._judged or report.complete
        return reason

    async def store_is_another(self) -> bool:
        """Tell whether the store was restored or failed over; then trading is halted, and the next look is the
        first one. Raises `StorageUnavailable`."""
        if not await self._store.notice_restore(self._halted_by):
            return False
        self._judged = False
        self._unplanned = {}
        return True

    async def _judge(self, report: ReconcileReport) -> str | None:
        before = await self._store.findings()
        known = before.known if before else frozenset[str]()
        strangers: list[str] = [
            row.broker_order_id for row in report.strangers if row.broker_order_id not in known
        ]
        found = []
        if strangers:
            found.append(f"STRANGERS: the broker has orders of ours that we do not know: {_some(strangers)}")
        if self._unplanned:
            never_sent = _some(list(self._unplanned))
            found.append(f"UNPLANNED: the broker has orders that we never sent as far as we knew: {never_sent}")
        return "; ".join([*found, "compare with the broker: pulse reconcile"]) if found else None

    def _strangers(self, report: ReconcileReport) -> tuple[Stranger, ...]:
        return tuple(
            Stranger(
                broker_order_id=row.broker_order_id,
                tag=" ".join(row.tags),
                instrument=str(row.instrument),
                side=row.side,
                quantity=row.quantity,
                filled_quantity=row.filled_quantity,
                status=row.status,
                placed_at=row.placed_at,
            )
            for row in report.strangers
        )


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED_MAX
    return " ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
