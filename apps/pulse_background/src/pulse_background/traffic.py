"""The limiter of this process, as its settings want it, and the figures of what it lets through."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from pulse_adapters.limits.in_process import InProcessGate
from pulse_adapters.limits.limiter import Gate, GatedLimiter
from pulse_adapters.limits.redis import RedisLane
from pulse_adapters.limits.shared import SharedGate
from pulse_background.settings import Settings, pace_limits
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.ports.rate_limiter import RateLimiter
from pulse_domain.traffic import (
    BreakerState,
    CallCounts,
    CallKind,
    Granted,
    LaneRules,
    LaneView,
    Refused,
    Unlimited,
)
from pulse_domain.use_cases.count_calls import CountCalls

_WAIT_BUCKETS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 30)


def create_limiter(settings: Settings, store: OrderStore, clock: Clock, worker: str) -> RateLimiter:
    """Shared through Redis where there is one; else this process has the limits for itself.

    A broker without limits gets a limiter that grants everything, which is its type too.
    """
    limits = pace_limits(settings)
    if limits is None:
        return Unlimited()
    rules = LaneRules(
        limits=limits,
        cancel_reserve=settings.broker_cancel_reserve,
        margin_s=settings.broker_rate_margin_seconds,
    )
    gate: Gate
    if settings.redis_url is None:
        gate = InProcessGate(rules, clock)
    else:
        lane = f"{settings.broker_type}:{settings.broker_account}"
        gate = SharedGate(RedisLane(settings.redis_url, rules, lane=lane, worker=worker), rules, clock)
    return GatedLimiter(gate, clock, rules, CountCalls(store, clock), name=worker)


class TrafficMetrics:
    """Figures of limiter and breaker; doc/deployment.md lists them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self.granted = counter("broker_leave_granted", "Calls that the limiter let through.", "kind")
        self.returned = counter("broker_leave_returned", "Calls let through and not made.")
        self.refused = counter("broker_leave_refused", "Waits for leave that ended without it.", "kind")
        self.wait = Histogram(
            "broker_leave_wait_seconds",
            "How long it took to get leave.",
            ("kind",),
            registry=registry,
            buckets=_WAIT_BUCKETS_S,
        )
        self.waiting = gauge("broker_leave_waiting", "Who waits for leave in this process.", "kind")
        self._counted = gauge("broker_calls_counted", "Calls within the limits' windows.", "window")
        self._callers = gauge("broker_callers_waiting", "Who waits for leave in all processes.")
        self._shared = gauge("broker_limits_shared", "1 while the limits are shared, 0 on a share.")
        self._state = gauge("broker_breaker_state", "1 for the state of the circuit breaker.", "state")
        self._opened = counter("broker_breaker_opened", "How often the circuit breaker opened.")
        for kind in CallKind:
            for metric in (self.granted, self.refused, self.wait, self.waiting):
                metric.labels(kind)
        self._show_state(BreakerState.CLOSED)

    def show_lane(self, view: LaneView) -> None:
        self._counted.labels("second").set(view.second)
        self._counted.labels("minute").set(view.minute)
        self._counted.labels("day").set(view.day)
        self._callers.set(view.waiting)
        self._shared.set(view.shared)

    def show_breaker(self, state: BreakerState) -> None:
        if state is BreakerState.OPEN:
            self._opened.inc()
        self._show_state(state)

    def _show_state(self, state: BreakerState) -> None:
        for each in BreakerState:
            self._state.labels(each).set(each is state)


class MeteredLimiter:
    """Implements the `RateLimiter` port by another limiter, and counts what goes through it."""

    def __init__(self, limiter: RateLimiter, metrics: TrafficMetrics, clock: Clock) -> None:
        self._limiter = limiter
        self._metrics = metrics
        self._clock = clock

    async def acquire(self, kind: CallKind, *, count: int = 1, timeout_s: float) -> Granted | Refused:
        metrics, began = self._metrics, self._clock.monotonic()
        with metrics.waiting.labels(kind).track_inprogress():
            leave = await self._limiter.acquire(kind, count=count, timeout_s=timeout_s)
        if isinstance(leave, Granted):
            metrics.granted.labels(kind).inc(leave.count)
            metrics.wait.labels(kind).observe(self._clock.monotonic() - began)
        else:
            metrics.refused.labels(kind).inc()
        return leave

    async def give_back(self, tokens: Sequence[str]) -> None:
        self._metrics.returned.inc(len(tokens))
        await self._limiter.give_back(tokens)

    async def peek(self) -> LaneView:
        view = await self._limiter.peek()
        self._metrics.show_lane(view)
        return view

    async def reseed(self, counts: CallCounts) -> None:
        await self._limiter.reseed(counts)

    async def close(self) -> None:
        await self._limiter.close()
