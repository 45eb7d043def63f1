"""Send executions at their instants.

The loop asks for the next due instant, sleeps to it, takes leave of the limiter for as many calls as it has
free slots, claims what is due for those, and sends each in a task of its own. Leave that finds nothing to
claim is given back. What came of the calls is recorded in batches.

An order that this process accepts itself need not wait for its turn, where a call may begin now: it is accepted
with its execution claimed, which is one commit in place of four.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from msgspec import Struct

from pulse_background.wakeup import Wakeup
from pulse_background.workers.outcome_recorder import OutcomeRecorder
from pulse_domain.errors import PulseError, StorageUnavailable
from pulse_domain.orders.events import ExecutionReleased
from pulse_domain.orders.ids import execution_id
from pulse_domain.orders.model import NewOrder
from pulse_domain.orders.plan import tag_of_only_execution
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import LATE_S, Accepted, AtOnce, Booking, Claim, OrderStore
from pulse_domain.ports.rate_limiter import RateLimiter
from pulse_domain.risk import RiskLimits
from pulse_domain.traffic import CallKind, Granted, Unlimited
from pulse_domain.use_cases.catch_up import CatchUp
from pulse_domain.use_cases.execute import ExecuteSettings, ExecuteSlice
from service_kit import Ids, bind, bound

log = structlog.get_logger(__name__)

# Something is due and was not handed out: another worker holds it for a moment, or trading is halted.
_CONTENTION_PAUSE_S = 0.02
# How long to wait for leave in one go; a wish to stop ends it sooner.
_LEAVE_S = 30.0
# While more is due than there are slots, a claim waits for half of them to be free, but no longer than this: it
# costs nearly the same for one execution as for many.
_SLOTS_S = 0.02
CLAIM_LOST = "CLAIM_LOST"


async def always_open() -> bool:
    return True


class ExecutorSettings(Struct, frozen=True, kw_only=True):
    """tag_prefix, grace_s: as the splitter has them, for orders that are sent at once."""

    tag_prefix: str
    grace_s: float
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
        is_open: Callable[[], Awaitable[bool]] = always_open,
        limiter: RateLimiter | None = None,
    ) -> None:
        self._store = store
        self._catch_up = CatchUp(store)
        self._execute = execute
        self._recorder = recorder
        self._clock = clock
        self._wakeup = wakeup
        self._settings = settings
        self._on_sent = on_sent
        self._is_open = is_open
        self._limiter = limiter or Unlimited()
        # How many calls to ask leave for: twice as many as long as all of it is used, since leave that is asked
        # for in vain makes other processes wait. Where it costs nobody anything, always for all.
        self._eager = isinstance(self._limiter, Unlimited)
        self._stride = 1
        # The last claim found as many as were asked for: there may be more.
        self._more_due = False
        self._slots_free = Wakeup(clock)
        self._calls: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._is_running = False
        # A claim was asked for and its answer lost: it may have been given.
        self._claims_in_doubt = False
        # The attempts that may have been sent, with their instants: those are never given back here.
        self._handed: dict[tuple[str, int], float] = {}

    async def run(self) -> None:
        """Work until `stop`; then return once every call has its outcome recorded."""
        with bound(worker="executor"):
            self._is_running = True
            while not self._stopping.is_set():
                try:
                    await self._turn()
                except StorageUnavailable as error:
                    log.warning("the store does not answer", error=error.message)
                    await self._clock.sleep(self._settings.poll_s)
            while self._calls:
                await asyncio.wait(self._calls)
            await self._recorder.flush()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping.set()
        self._wakeup.call()

    # --- orders that are sent at once

    async def accept_at_once(self, new: NewOrder, limits: RiskLimits | None) -> Accepted | None:
        """Accept an order that has one execution, due now, and send that; None, with nothing stored, where it
        has more, or is to wait for its turn. Raises as `OrderStore.accept` does."""
        settings = self._settings
        tag = tag_of_only_execution(new, settings.tag_prefix)
        if tag is None or new.body_digest is not None or settings.grace_s <= 0 or not await self._may_call():
            return None
        leave = await self._limiter.acquire(CallKind.PLACE, timeout_s=0.0)
        if not isinstance(leave, Granted):
            return None
        at_once = AtOnce(
            executor=settings.execute.executor,
            lease_s=settings.execute.lease_s,
            tag=tag,
            grace_s=settings.grace_s,
        )
        stored: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        # A task of its own: once it is claimed it is sent, whether or not somebody still waits for the answer.
        self._begin(self._accept_and_send(new, limits, at_once, leave, stored))
        return await stored

    async def _may_call(self) -> bool:
        """Whether a call may begin now, as far as this process goes."""
        if not self._is_running or not await self._is_open():
            return False
        return not self._stopping.is_set() and len(self._calls) < self._settings.calls_max

    async def _accept_and_send(
        self,
        new: NewOrder,
        limits: RiskLimits | None,
        at_once: AtOnce,
        leave: Granted,
        stored: asyncio.Future[Accepted],
    ) -> None:
        first_attempt = (execution_id(new.order_id, 1, 0), 1)
        asked_at = self._clock.monotonic()
        # From here on: the claim may be in the store before its answer is here, and is not lost yet.
        self._handed[first_attempt] = asked_at
        claim: Claim | None = None
        try:
            accepted = await self._store.accept(new, limits, at_once)
            claim, lost = accepted.claim, accepted.claim is None and not accepted.replayed
            if not stored.done():
                stored.set_result(accepted)
        except Exception as error:
            # What the store says no to is claimed by nobody; of all else nothing is known.
            lost = isinstance(error, StorageUnavailable) or not isinstance(error, PulseError)
            if not stored.done():
                stored.set_exception(error)
        except BaseException:
            stored.cancel()
            raise
        if claim is None:
            # It is not sent here: where it was claimed all the same, it is to be given back. After two leases
            # it is not on the list any more.
            self._handed.pop(first_attempt, None)
            if lost:
                self._claims_in_doubt = True
                self._wakeup.call()
            await self._limiter.give_back(leave.tokens)
            return
        await self._send(claim, asked_at, leave.tokens[0], leave.fresh_until)

    def _begin(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._call_ended)

    # --- what is due

    async def _turn(self) -> None:
        self._recorder.check()
        if self._claims_in_doubt:
            await self._release_unsent()
        if self._more_due:
            await self._wait_for_slots()
        asked_at = self._clock.monotonic()
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
        if not await self._is_open():
            # A claim would only be given back, again and again, until the slice's time is over.
            await self._wakeup.wait(self._settings.poll_s)
            return
        leave = await self._take_leave(free if self._eager else min(free, self._stride))
        if leave is None:
            return
        late = due_in + asked_at - self._clock.monotonic() <= -LATE_S
        claimed = await self._claim(leave, late=late)
        self._more_due = claimed == leave.count
        self._stride = 2 * claimed if self._more_due else max(1, claimed)
        if not claimed:
            await self._clock.sleep(_CONTENTION_PAUSE_S)

    async def _wait_for_slots(self) -> None:
        until = self._clock.monotonic() + _SLOTS_S
        while not self._half_free and (left_s := until - self._clock.monotonic()) > 0:
            await self._slots_free.wait(left_s)

    @property
    def _half_free(self) -> bool:
        calls_max = self._settings.calls_max
        return calls_max - len(self._calls) >= max(1, calls_max // 2)

    def _call_ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if self._half_free:
            self._slots_free.call()

    async def _take_leave(self, free: int) -> Granted | None:
        """Leave for up to so many calls; None where nothing is to be claimed now."""
        if self._stopping.is_set():
            return None
        if self._eager:
            # There is nothing to wait for.
            at_once = await self._limiter.acquire(CallKind.PLACE, count=free, timeout_s=_LEAVE_S)
            return at_once if isinstance(at_once, Granted) else None
        asking = asyncio.ensure_future(self._limiter.acquire(CallKind.PLACE, count=free, timeout_s=_LEAVE_S))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not asking.done():
                asking.cancel()
        # Stopped, and what was asked for is not given, or given back by the limiter itself.
        leave = asking.result() if asking.done() else None
        if not isinstance(leave, Granted):
            return None
        # It may have taken long.
        if self._stopping.is_set() or not await self._is_open():
            await self._limiter.give_back(leave.tokens)
            return None
        return leave

    async def _claim(self, leave: Granted, *, late: bool) -> int:
        """Claim as many executions as there is leave for, and have them sent; leave that is over goes back.

        late: some have missed their instants by so much that they are to be spaced first.
        """
        settings = self._settings.execute
        claims: list[Claim] = []
        try:
            if late:
                moved = await self._catch_up()
                log.warning("late executions were given new instants", count=moved)
            claimed_at = self._clock.monotonic()
            self._forget_old_attempts(claimed_at)
            try:
                claims = await self._store.claim_executions(leave.count, settings.executor, settings.lease_s)
            except BaseException:
                self._claims_in_doubt = True
                raise
            for claim, token in zip(claims, leave.tokens, strict=False):
                self._handed[claim.execution.execution_id, claim.execution.attempt] = claimed_at
                self._begin(self._send(claim, claimed_at, token, leave.fresh_until))
        finally:
            if len(claims) < leave.count:
                await self._limiter.give_back(leave.tokens[len(claims) :])
        return len(claims)

    def _forget_old_attempts(self, now: float) -> None:
        # An attempt whose lease has run out is in flight no more. The oldest come first.
        horizon = now - 2 * self._settings.execute.lease_s
        while self._handed and next(iter(self._handed.values())) < horizon:
            del self._handed[next(iter(self._handed))]

    async def _release_unsent(self) -> None:
        """Give back what was claimed for us without our knowing: none of it was sent."""
        # Another may get lost while this goes on.
        self._claims_in_doubt = False
        try:
            await self._release_lost()
        except BaseException:
            self._claims_in_doubt = True
            raise

    async def _release_lost(self) -> None:
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

    async def _renew(self, claim: Claim, claimed_at: float, token: str) -> None:
        """Change leave that has waited for the claim too long into new one.

        Where there is none while the lease lasts, the call is not begun: its deadline has passed then.
        """
        await self._limiter.give_back([token])
        left_s = claim.lease_s - (self._clock.monotonic() - claimed_at)
        spare_s = max(0.0, left_s - self._settings.execute.call_timeout_s)
        await self._limiter.acquire(CallKind.PLACE, timeout_s=spare_s)

    async def _send(self, claim: Claim, claimed_at: float, token: str, fresh_until: float) -> None:
        order, execution = claim.order, claim.execution
        with bind(Ids(order.request_id, order.trace_id)), bound(order_id=order.order_id):
            try:
                if self._clock.monotonic() > fresh_until:
                    await self._renew(claim, claimed_at, token)
                self._on_sent((self._clock.now() - execution.due_at).total_seconds())
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
