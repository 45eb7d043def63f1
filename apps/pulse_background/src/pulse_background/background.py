"""The loops of one process, put together by plain calls, and their life."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import structlog
from msgspec import Struct

from pulse_adapters.limits.guarded_broker import GuardedBroker
from pulse_background.alerts import Alerts, Notify
from pulse_background.scheduler import Leadership, Scheduler
from pulse_background.settings import Settings
from pulse_background.wakeup import Wakeup
from pulse_background.workers.broker_probe import BrokerProbe
from pulse_background.workers.broker_sync import BrokerSync
from pulse_background.workers.executor_presence import ExecutorPresence, Presence
from pulse_background.workers.limiter_watch import LimiterWatch
from pulse_background.workers.order_archiver import OrderArchiver
from pulse_background.workers.order_canceller import OrderCanceller
from pulse_background.workers.order_splitter import OrderSplitter, log_outcome
from pulse_background.workers.outcome_recorder import OutcomeRecorder
from pulse_background.workers.skew_watch import SkewWatch
from pulse_background.workers.slice_executor import ExecutorSettings, SliceExecutor, always_open
from pulse_background.workers.timeout_monitor import TimeoutMonitor
from pulse_domain.orders.events import AnyExecutionEvent
from pulse_domain.orders.model import NewOrder, Order
from pulse_domain.ports.broker import Broker
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import Accepted, OrderStore
from pulse_domain.ports.rate_limiter import RateLimiter
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.risk import RiskLimits
from pulse_domain.traffic import BreakerSettings, BreakerState, Unlimited
from pulse_domain.use_cases.archive import ArchiveOrders
from pulse_domain.use_cases.book_facts import BookFacts
from pulse_domain.use_cases.cancel import CancelExecutions
from pulse_domain.use_cases.execute import ExecuteSettings, ExecuteSlice
from pulse_domain.use_cases.guard import BrokerGuard
from pulse_domain.use_cases.monitor import MonitorTimeouts, OnWindowEnd
from pulse_domain.use_cases.reconcile import Reconcile, ReconcileSettings
from pulse_domain.use_cases.record_outcome import RecordOutcomes
from pulse_domain.use_cases.review import InspectBook
from pulse_domain.use_cases.split import SplitOrders, SplitSettings

log = structlog.get_logger(__name__)

_SPLIT_LEASE_MIN_S = 5.0
_ARCHIVE_INTERVAL_S = 3600.0
_ARCHIVE_PAUSE_S = 0.1


def split_lease_s(settings: Settings) -> float:
    # A split takes milliseconds. Where its worker dies, another must have the time to take over before the
    # first slice is too late to be sent.
    longest = settings.order_split_timeout_minutes * 60
    return min(longest, max(_SPLIT_LEASE_MIN_S, settings.slice_grace_seconds / 3))


class BackgroundPorts(Struct, frozen=True, kw_only=True):
    store: OrderStore
    broker: Broker
    clock: Clock
    leadership: Leadership
    presence: Presence
    # The name of this process in claims, never used again.
    executor_id: str
    on_sent: Callable[[float], None] = lambda late_s: None
    # Whether the broker takes anything at all: without a session it does not.
    is_open: Callable[[], Awaitable[bool]] = always_open
    limiter: RateLimiter = Unlimited()
    on_breaker: Callable[[BreakerState], object] = lambda state: None
    on_skew: Callable[[float], object] = lambda skew_s: None
    # Tells people; never waits and never raises.
    notify: Notify = lambda notification: None
    # Told of everything new that is stored of an execution.
    on_booked: Callable[[Order, AnyExecutionEvent], object] = lambda order, event: None
    # More that one process at a time runs; none of them may end.
    leader_loops: tuple[Callable[[], Awaitable[None]], ...] = ()


class Background:
    """Splitter and executor run in every process; monitor and broker sync in the leader's."""

    def __init__(self, ports: BackgroundPorts, settings: Settings) -> None:
        store, clock = ports.store, ports.clock
        self._on_breaker, self._on_skew = ports.on_breaker, ports.on_skew
        self._alerts, self._on_booked = Alerts(ports.notify), ports.on_booked
        self._due, self._probe_due = Wakeup(clock), Wakeup(clock)
        guard = BrokerGuard(
            clock,
            Random(ports.executor_id),  # noqa: S311  # every process its own pauses
            BreakerSettings(
                failures=settings.breaker_failures,
                window_s=settings.breaker_window_seconds,
                pause_s=settings.breaker_pause_seconds,
                pause_max_s=settings.breaker_pause_max_seconds,
            ),
            self._breaker_changed,
        )
        broker = GuardedBroker(ports.broker, guard)

        self._skew = SkewWatch(
            store,
            clock,
            max_s=settings.clock_skew_max_seconds,
            on_skew=self._skew_measured,
            on_change=self._due.call,
        )
        self._presence = ExecutorPresence(ports.presence, clock)

        async def can_place() -> bool:
            return guard.lets_place and self._skew.lets_place and await ports.is_open()

        self._graceful_s = settings.graceful_shutdown_seconds
        call_timeout_s = settings.broker_call_timeout_seconds
        cancel = CancelExecutions(store, broker, clock, call_timeout_s=call_timeout_s, limiter=ports.limiter)
        self._wakeups = {
            JobKind.SPLIT_ORDER: Wakeup(clock),
            JobKind.CANCEL_ORDER: Wakeup(clock),
            JobKind.RECONCILE: Wakeup(clock),
        }
        wake_canceller = self._wakeups[JobKind.CANCEL_ORDER].call
        facts = BookFacts(store, broker, settings.tag_prefix, wake_canceller, self._booked)
        due = self._due
        self._splitter = OrderSplitter(
            SplitOrders(
                store,
                SplitSettings(
                    executor=ports.executor_id,
                    tag_prefix=settings.tag_prefix,
                    batch_size=settings.batch_size,
                    lease_s=split_lease_s(settings),
                    grace_s=settings.slice_grace_seconds,
                ),
                self._split_ended,
            ),
            lambda: store.recover_splits(settings.order_split_attempts_max),
            clock,
            self._wakeups[JobKind.SPLIT_ORDER],
            poll_s=settings.order_splitter_poll_interval_seconds,
            on_saved=due.call,
        )
        execute = ExecuteSettings(
            executor=ports.executor_id,
            call_timeout_s=call_timeout_s,
            lease_s=settings.slice_execution_timeout_minutes * 60,
        )
        self._executor = SliceExecutor(
            store,
            ExecuteSlice(broker, clock, execute),
            OutcomeRecorder(RecordOutcomes(store, wake_canceller), clock, self._booked),
            clock,
            due,
            ExecutorSettings(
                tag_prefix=settings.tag_prefix,
                grace_s=settings.slice_grace_seconds,
                poll_s=settings.slice_executor_poll_interval_seconds,
                calls_max=settings.broker_calls_max,
                execute=execute,
            ),
            ports.on_sent,
            can_place,
            ports.limiter,
        )
        self._limiter_watch = LimiterWatch(ports.limiter, clock)
        self._probe = BrokerProbe(guard, broker, self._probe_due)
        self._sync = BrokerSync(
            broker,
            facts,
            Reconcile(
                store,
                broker,
                facts,
                clock,
                ReconcileSettings(
                    settle_s=settings.unknown_settle_seconds, give_up_s=settings.unknown_give_up_seconds
                ),
            ),
            InspectBook(store, ports.executor_id),
            clock,
            self._wakeups[JobKind.RECONCILE],
            interval_s=settings.broker_sync_interval_seconds,
            alerts=self._alerts,
        )
        self._canceller = OrderCanceller(
            cancel,
            self._wakeups[JobKind.CANCEL_ORDER],
            poll_s=settings.order_splitter_poll_interval_seconds,
        )
        monitor = TimeoutMonitor(
            MonitorTimeouts(
                store,
                cancel,
                split_attempts_max=settings.order_split_attempts_max,
                on_window_end=OnWindowEnd(settings.on_window_end),
            ),
            Wakeup(clock),
            interval_s=settings.timeout_monitor_interval_seconds,
            on_report=self._alerts.monitored,
        )
        loops = [monitor.run, self._sync.run, *ports.leader_loops]
        if settings.retention_days:
            archive = ArchiveOrders(
                store, lambda: clock.sleep(_ARCHIVE_PAUSE_S), done_for_s=settings.retention_days * 86400.0
            )
            loops.append(OrderArchiver(archive, Wakeup(clock), interval_s=_ARCHIVE_INTERVAL_S).run)
        self._scheduler = Scheduler(ports.leadership, clock, tuple(loops))

    def wake(self, kind: JobKind) -> None:
        """Take a hint; call it on the event loop's thread."""
        self._wakeups[kind].call()

    async def accept_at_once(self, new: NewOrder, limits: RiskLimits | None) -> Accepted | None:
        """As `SendAtOnce`, for orders that this process accepts itself."""
        return await self._executor.accept_at_once(new, limits)

    def _booked(self, order: Order, event: AnyExecutionEvent) -> None:
        self._alerts.booked(order, event)
        self._on_booked(order, event)

    def _split_ended(self, order: Order, outcome: str) -> None:
        log_outcome(order, outcome)
        if outcome == "failed":
            self._alerts.not_split(order)

    def _skew_measured(self, skew_s: float) -> None:
        self._on_skew(skew_s)
        self._alerts.clock(self._skew.lets_place)

    def _breaker_changed(self, state: BreakerState) -> None:
        if state is BreakerState.OPEN:
            log.error("the broker does not answer; placements are held back")
        elif state is BreakerState.CLOSED:
            log.warning("the broker answers again; placements go on")
        self._on_breaker(state)
        self._alerts.breaker(state)
        self._due.call()
        self._probe_due.call()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then finish what is in the air and return.

        Raises:
            ExceptionGroup: a loop ended by a fault; the process should end too.
        """
        try:
            await self._work(stop)
        except BaseExceptionGroup as faults:
            log.error("a loop ended by a fault", exc_info=faults)
            raise

    async def _work(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            helpers = [
                group.create_task(self._scheduler.run(), name="scheduler"),
                group.create_task(self._canceller.run(), name="order-canceller"),
                group.create_task(self._probe.run(), name="broker-probe"),
                group.create_task(self._limiter_watch.run(), name="limiter-watch"),
                group.create_task(self._presence.run(), name="executor-presence"),
                group.create_task(self._skew.run(), name="skew-watch"),
                group.create_task(self._sync.follow_hints(), name="broker-hints"),
                group.create_task(self._sync.watch_store(), name="store-watch"),
            ]
            splitter = group.create_task(self._splitter.run(), name="order-splitter")
            executor = group.create_task(self._execute(stop), name="slice-executor")
            await stop.wait()
            self._splitter.stop()
            self._executor.stop()
            _, unfinished = await asyncio.wait({splitter, executor}, timeout=self._graceful_s)
            if unfinished:
                # Claims whose outcome could not be stored are found by their leases.
                log.warning("stopping with work unfinished", tasks=[task.get_name() for task in unfinished])
            for task in (*helpers, *unfinished):
                task.cancel()

    async def _execute(self, stop: asyncio.Event) -> None:
        # Nothing is sent before the broker's book was read: it may hold what we have forgotten.
        first_read = asyncio.ensure_future(self._sync.first_read())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({first_read, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            if not first_read.done():
                first_read.cancel()
        if not stop.is_set():
            await first_read
            await self._executor.run()
