"""Parts that are broken on purpose, each in one way: a simulation that does not catch them proves nothing."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from pulse_background.background import Background, BackgroundPorts
from pulse_background.settings import Settings
from pulse_background.workers.slice_executor import SliceExecutor
from pulse_domain.errors import IllegalTransition
from pulse_domain.orders import events as ev
from pulse_domain.orders.events import Fill, JournalEntry
from pulse_domain.orders.execution import Execution, apply
from pulse_domain.orders.ids import BrokerOrderId, execution_id
from pulse_domain.orders.model import NewOrder
from pulse_domain.ports.broker import BookRead, BrokerOrder
from pulse_domain.ports.order_store import Accepted, AtOnce, Booked, Booking, BookResult, Claim
from pulse_domain.risk import RiskLimits
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.use_cases.execute import ExecuteSlice
from pulse_domain.use_cases.reconcile import ABSENCES_NEEDED, PROVEN_ABSENT, Reconcile
from tests.simulation.exchange import SimulatedBroker
from tests.simulation.world import Parts


class UnfencedStore(InMemoryOrderStore):
    """Takes a decision from whoever makes it, whatever attempt it belongs to."""

    def _book(self, booking: Booking) -> Booked:
        booked, event = super()._book(booking), booking.event
        attempt, before = getattr(event, "attempt", None), booked.execution
        if booked.result is not BookResult.REFUSED or before is None or attempt in (None, before.attempt):
            return booked
        try:
            after = apply(before, replace(event, attempt=before.attempt))
        except IllegalTransition:
            return booked
        record = self._records[booking.order_id]
        slice_ = record.slices[event.seq]
        executions = list(slice_.executions)
        executions[event.chunk] = after
        record.slices[event.seq] = replace(slice_, executions=tuple(executions))
        self._index.put(after)
        record.journal.append(JournalEntry(seq=len(record.journal) + 1, at=self._clock.now(), event=event))
        return Booked(BookResult.APPLIED, after)


class DeafStore(InMemoryOrderStore):
    """Claims though trading is halted."""

    async def claim_executions(self, limit: int, executor: str, lease_s: float) -> list[Claim]:
        trading, self._trading = self._trading, replace(self._trading, halted=False)
        claims = await super().claim_executions(limit, executor, lease_s)
        self._trading = trading
        return claims

    async def next_due(self) -> float | None:
        trading, self._trading = self._trading, replace(self._trading, halted=False)
        due_in = await super().next_due()
        self._trading = trading
        return due_in


class AddingStore(InMemoryOrderStore):
    """Books a running total as a trade, and the trades that it stands for too."""

    def _book(self, booking: Booking) -> Booked:
        event = booking.event
        if isinstance(event, ev.ExecutionCumulativeReported):
            record = self._records[booking.order_id]
            before = record.slices[event.seq].executions[event.chunk]
            if event.quantity > before.filled_quantity and before.broker_order_id is not None:
                fill = Fill(
                    trade_id=f"TOTAL-{event.quantity}",
                    # Not the order's own: else it would pass for its trades, and nobody would ask for those.
                    broker_order_id=BrokerOrderId("TOTAL"),
                    quantity=event.quantity - before.filled_quantity,
                    price=event.average_price,
                    at=self._clock.now(),
                )
                event = ev.ExecutionFilled(seq=event.seq, chunk=event.chunk, fill=fill)
                booking = replace(booking, event=event)
        return super()._book(booking)


class ForgetfulStore(InMemoryOrderStore):
    """Acknowledges every tenth order and keeps nothing of it."""

    async def accept(
        self, new: NewOrder, limits: RiskLimits | None = None, at_once: AtOnce | None = None
    ) -> Accepted:
        accepted = await super().accept(new, limits, at_once)
        if len(self._records) % 10 == 0 and not accepted.replayed:
            del self._records[accepted.order_id]
            del self._keys[new.client_id, new.order_unique_key]
        return accepted


class BlindBroker:
    """Shows no order whose id is not known already: nothing is ever found by its tag."""

    def __init__(self, store: InMemoryOrderStore, line: SimulatedBroker) -> None:
        self._store = store
        self._line = line
        self.name = line.name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._line, name)

    async def order_book(self) -> BookRead:
        read = await self._line.order_book()
        return replace(read, orders=tuple(row for row in read.orders if self._known(row)))

    async def _known_updates(self) -> AsyncIterator[BrokerOrder]:
        async for row in self._line.updates():
            if self._known(row):
                yield row

    def updates(self) -> AsyncIterator[BrokerOrder]:
        return self._known_updates()

    def _known(self, row: BrokerOrder) -> bool:
        named: BrokerOrderId = row.broker_order_id
        return not row.tags or any(e.broker_order_id == named for e in self._store._index.tagged(row.tags))


class CarelessExecute(ExecuteSlice):
    """Does not look at its lease before it sends."""

    async def __call__(self, claim: Claim, claimed_at: float) -> Booking:
        now = self._clock.monotonic()
        assert claim.execution.lease_until is not None
        # As if it had been claimed just now; what time it is by the store's clock stays as it is.
        passed_s = now - claimed_at
        shifted = replace(claim.execution, lease_until=_later(claim.execution, passed_s))
        return await super().__call__(replace(claim, execution=shifted), now)


class HastyReconcile(Reconcile):
    """Sends again what is absent, though a call may still be in the air."""

    def _absent(self, execution: Execution, began_at: Any) -> Any:
        if execution.absences + 1 < ABSENCES_NEEDED:
            return super()._absent(execution, began_at)
        released = ev.ExecutionReleased(
            seq=execution.seq,
            chunk=execution.chunk,
            attempt=execution.attempt,
            reason=PROVEN_ABSENT,
            not_before=execution.due_at,
        )
        return released, "released"


class UnlistingStore:
    """Keeps what is asked to be accepted and claimed off the list of what the executor may have sent, until
    the answer is there."""

    def __init__(self, executor: SliceExecutor) -> None:
        self._executor = executor
        self._store = executor._store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def accept(self, new: NewOrder, limits: RiskLimits | None, at_once: AtOnce) -> Accepted:
        attempt = (execution_id(new.order_id, 1, 0), 1)
        asked_at = self._executor._handed.pop(attempt)
        try:
            return await self._store.accept(new, limits, at_once)
        finally:
            self._executor._handed[attempt] = asked_at


def _later(execution: Execution, seconds: float) -> Any:
    assert execution.lease_until is not None
    return execution.lease_until + timedelta(seconds=seconds)


def careless_worker(ports: BackgroundPorts, settings: Settings) -> Background:
    worker = Background(ports, settings)
    execute = worker._executor._execute
    worker._executor._execute = CarelessExecute(execute._broker, execute._clock, execute._settings)
    return worker


def hasty_worker(ports: BackgroundPorts, settings: Settings) -> Background:
    worker = Background(ports, settings)
    worker._sync._reconcile.__class__ = HastyReconcile
    return worker


def unlisting_worker(ports: BackgroundPorts, settings: Settings) -> Background:
    worker = Background(ports, settings)
    store: Any = UnlistingStore(worker._executor)
    worker._executor._store = store
    return worker


NO_FENCE = Parts(store=UnfencedStore)
NO_HALT = Parts(store=DeafStore)
FILLS_TWICE = Parts(store=AddingStore)
ORDERS_LOST = Parts(store=ForgetfulStore)
NO_TAG_LOOK_UP = Parts(broker=BlindBroker)
NO_LEASE_CHECK = Parts(worker=careless_worker)
CALLS_IN_THE_AIR = Parts(worker=hasty_worker)
CLAIMS_ON_THE_WAY = Parts(worker=unlisting_worker)
EVERY_SABOTAGE = {
    "no fence": (NO_FENCE, "NO_STALE_DECISION"),
    "no tag look-up": (NO_TAG_LOOK_UP, "AT_MOST_ONCE"),
    "no lease check before sending": (NO_LEASE_CHECK, "SENT_UNDER_A_LEASE"),
    "placing again while a call may be in the air": (CALLS_IN_THE_AIR, "AT_MOST_ONCE"),
    "giving back claims whose answers are on their way": (CLAIMS_ON_THE_WAY, "AT_MOST_ONCE"),
    "fills from cumulative and trades both": (FILLS_TWICE, "SAME_AS_THE_BROKER"),
    "claims during a halt": (NO_HALT, "NOTHING_WHILE_HALTED"),
    "orders that are acknowledged and lost": (ORDERS_LOST, "ACKNOWLEDGED_EXISTS"),
}
