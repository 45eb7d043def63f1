"""Send executions at their instants.

The loop asks for the next due instant, sleeps to it, claims what is due for as many calls as it has free
slots, and sends each in a task of its own. What came of them is recorded in batches.
"""

import asyncio
from collections.abc import Callable

import structlog
from msgspec import Struct

from pulse_background.wakeup import Wakeup
from pulse_background.workers.outcome_recorder import OutcomeRecorder
from pulse_domain.errors import StorageUnavailable
from pulse_domain.orders.events import ExecutionReleased
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import Booking, Claim, OrderStore
from pulse_domain.use_cases.execute import ExecuteSettings, ExecuteSlice
from service_kit import Ids, bind, bound

log = structlog.get_logger(__name__)

# Something is due and was not handed out: another worker holds it for a moment, or trading is halted.
_CONTENTION_PAUSE_S = 0.02
CLAIM_LOST = "CLAIM_LOST"


class ExecutorSettings(Struct, frozen=True, kw_only=True):
    poll_s: float = 1.0
    calls_max: int = 50
    execute: ExecuteSettings


class SliceExecutor:
    def __init__(
        self,
        store: OrderStore,
        execute: ExecuteSlice,
        recorder: OutcomeRecorder,
        clock: Clock,
        wakeup: Wakeup,
        settings: ExecutorSettings,
        on_sent: Callable[[float], None] = lambda late_s: None,
    ) -> None:
        self._store = store
        self._execute = execute
        self._recorder = recorder
        self._clock = clock
        self._wakeup = wakeup
        self._settings = settings
        self._on_sent = on_sent
        self._calls: set[asyncio.Task[None]] = set()
        self._stopping = False
        # A claim was asked for and its answer lost: it may have been given.
        self._claims_in_doubt = False
        # The attempts that may have been sent, with their instants: those are never given back here.
        self._handed: dict[tuple[str, int], float] = {}

    async def run(self) -> None:
        """Work until `stop`; then return once every call has its outcome recorded."""
        with bound(worker="executor"):
            while not self._stopping:
                try:
                    await self._turn()
                except StorageUnavailable as error:
                    log.warning("the store does not answer", error=error.message)
                    await self._clock.sleep(self._settings.poll_s)
            if self._calls:
                await asyncio.wait(self._calls)
            await self._recorder.flush()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping = True
        self._wakeup.call()

    async def _turn(self) -> None:
        self._recorder.check()
        if self._claims_in_doubt:
            await self._release_unsent()
        due_in = await self._store.next_due()
        if due_in is None or due_in > 0:
            poll_s = self._settings.poll_s
            await self._wakeup.wait(poll_s if due_in is None else min(poll_s, due_in))
            if due_in is None or due_in > poll_s:
                return
        free = self._settings.calls_max - len(self._calls)
        if free == 0:
            await asyncio.wait(self._calls, return_when=asyncio.FIRST_COMPLETED)
            return
        if self._stopping:
            return
        claimed_at = self._clock.monotonic()
        settings = self._settings.execute
        self._forget_old_attempts(claimed_at)
        self._claims_in_doubt = True
        claims = await self._store.claim_executions(free, settings.executor, settings.lease_s)
        self._claims_in_doubt = False
        for claim in claims:
            self._handed[claim.execution.execution_id, claim.execution.attempt] = claimed_at
            call = asyncio.create_task(self._send(claim, claimed_at))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        if not claims:
            await self._clock.sleep(_CONTENTION_PAUSE_S)

    def _forget_old_attempts(self, now: float) -> None:
        # An attempt whose lease has run out is in flight no more. The oldest come first.
        horizon = now - 2 * self._settings.execute.lease_s
        while self._handed and next(iter(self._handed.values())) < horizon:
            del self._handed[next(iter(self._handed))]

    async def _release_unsent(self) -> None:
        """Give back what was claimed for us without our knowing: none of it was sent."""
        mine = self._settings.execute.executor
        lost = [
            Booking(
                order_id=execution.order_id,
                event=ExecutionReleased(
                    seq=execution.seq,
                    chunk=execution.chunk,
                    attempt=execution.attempt,
                    reason=CLAIM_LOST,
                    not_before=execution.due_at,
                ),
            )
            for execution in await self._store.in_flight()
            if execution.executor == mine and (execution.execution_id, execution.attempt) not in self._handed
        ]
        if lost:
            await self._store.book(lost)
            log.warning("claims whose answer was lost are given back", count=len(lost))
        self._claims_in_doubt = False

    async def _send(self, claim: Claim, claimed_at: float) -> None:
        order, execution = claim.order, claim.execution
        with bind(Ids(order.request_id, order.trace_id)), bound(order_id=order.order_id):
            self._on_sent((self._clock.now() - execution.due_at).total_seconds())
            try:
                booking = await self._execute(claim, claimed_at)
            except Exception:  # whatever broke it, the other calls go on
                # The claim stays; its lease runs out and the broker's book tells what became of it.
                log.exception("a call broke off", execution_id=execution.execution_id)
                return
            log.info(
                "execution sent",
                execution_id=execution.execution_id,
                attempt=execution.attempt,
                outcome=booking.event.__struct_config__.tag,
                duration_ms=booking.call.duration_ms if booking.call else None,
            )
            self._recorder.add(booking, order)
