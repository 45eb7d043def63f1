"""The bus of one process and one event loop: a task and a waiting line for each subscriber.

Publishing puts events into lines and nothing else, so it costs the same whether subscribers keep up, sleep or
raise. A handler that computes for long without waiting holds up the whole loop, as everything does there: such
work belongs into a process of its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import structlog

from pulse_adapters.bus.waiting import InLine, Latest, Waiting
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.event_bus import Handler, Overflow, SubscriberFigures, Topic

log = structlog.get_logger(__name__)

T = TypeVar("T")

# A subscriber that raises on every tick must not fill the log.
_LOG_AGAIN_S = 10.0


class _Subscription(Generic[T]):
    def __init__(
        self,
        topic: Topic[T],
        name: str,
        handler: Handler[T],
        waiting: Waiting[T],
        batch_max: int,
        clock: Clock,
        on_end: Callable[["_Subscription[Any]"], None],
    ) -> None:
        self.topic = topic
        self.name = name
        self._handler = handler
        self._waiting = waiting
        self._batch_max = batch_max
        self._clock = clock
        self._on_end = on_end
        self._woken = asyncio.Event()
        self._ends_when_empty = False
        self._delivered = self._failed = 0
        # Since when the oldest event waits of those that the handler is busy with.
        self._busy_with: float | None = None
        self._log_at = float("-inf")
        self.task = asyncio.get_running_loop().create_task(self._run(), name=f"{topic.name}: {name}")

    def put(self, events: Sequence[T], at: float) -> None:
        self._waiting.put(events, at)
        self._woken.set()

    def cancel(self) -> None:
        self._on_end(self)
        self.task.cancel()

    def end_when_empty(self) -> None:
        self._ends_when_empty = True
        self._woken.set()

    async def _run(self) -> None:
        waiting, woken = self._waiting, self._woken
        while True:
            if not waiting:
                if self._ends_when_empty:
                    return
                woken.clear()
                await woken.wait()
                continue
            self._busy_with = waiting.oldest_at()
            events = waiting.take(self._batch_max)
            self._delivered += len(events)
            try:
                await self._handler(events)
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                self._note_failure(error, len(events))  # something that it waited for was cancelled
            except Exception as error:
                self._note_failure(error, len(events))
            self._busy_with = None
            # A handler that never waits lets others have their turn all the same.
            await asyncio.sleep(0)

    def _note_failure(self, error: BaseException, events: int) -> None:
        self._failed += events
        now = self._clock.monotonic()
        if now >= self._log_at:
            self._log_at = now + _LOG_AGAIN_S
            log.error(
                "a subscriber failed",
                topic=self.topic.name,
                subscriber=self.name,
                events_failed=self._failed,
                exc_info=error,
            )

    def figures(self, now: float) -> SubscriberFigures:
        waiting = self._waiting
        since = [at for at in (self._busy_with, waiting.oldest_at()) if at is not None]
        return SubscriberFigures(
            topic=self.topic.name,
            subscriber=self.name,
            depth=len(waiting),
            lag_s=max(0.0, now - min(since)) if since else 0.0,
            delivered=self._delivered,
            failed=self._failed,
            dropped=waiting.dropped,
            conflated=waiting.conflated,
            spilled=waiting.spilled,
        )


class InProcessEventBus:
    """All methods but `figures` are called on the event loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Replaced as a whole, so that other threads and a running publish see one state or the other.
        self._by_topic: dict[str, tuple[_Subscription[Any], ...]] = {}
        self._closed = False

    def publish(self, topic: Topic[T], *events: T) -> None:
        subscriptions = self._by_topic.get(topic.name)
        if subscriptions and events and not self._closed:
            at = self._clock.monotonic()
            for subscription in subscriptions:
                subscription.put(events, at)

    def subscribe(
        self,
        topic: Topic[T],
        subscriber: str,
        handler: Handler[T],
        *,
        overflow: Overflow | None = None,
        size_max: int = 10_000,
        batch_max: int = 100,
    ) -> _Subscription[T]:
        present = self._by_topic.get(topic.name, ())
        if any(each.name == subscriber for each in present):
            raise ValueError(f"{subscriber} has subscribed to {topic.name} already")
        if batch_max < 1:
            raise ValueError("batch_max must be at least 1")
        if self._closed:
            raise ValueError("the bus is closed")
        waiting = _waiting(topic, overflow, size_max)
        added = _Subscription(topic, subscriber, handler, waiting, batch_max, self._clock, self._remove)
        self._by_topic = {**self._by_topic, topic.name: (*present, added)}
        return added

    def _remove(self, gone: _Subscription[Any]) -> None:
        left = tuple(each for each in self._by_topic.get(gone.topic.name, ()) if each is not gone)
        self._by_topic = {**self._by_topic, gone.topic.name: left}

    def figures(self) -> list[SubscriberFigures]:
        now = self._clock.monotonic()
        return [each.figures(now) for present in self._by_topic.values() for each in present]

    async def close(self, *, timeout_s: float = 5.0) -> None:
        self._closed = True
        subscriptions = [each for present in self._by_topic.values() for each in present]
        tasks = {each.task for each in subscriptions}
        for subscription in subscriptions:
            subscription.end_when_empty()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=timeout_s)
        for subscription in subscriptions:
            figures = subscription.figures(self._clock.monotonic())
            if subscription.task in late and subscription.topic.lossless:
                log.error(
                    "events were not delivered in time",
                    topic=figures.topic,
                    subscriber=figures.subscriber,
                    waiting=figures.depth,
                )
            subscription.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _waiting(topic: Topic[T], overflow: Overflow | None, size_max: int) -> Waiting[T]:
    chosen = overflow or (Overflow.SPILL if topic.lossless else Overflow.DROP_OLDEST)
    if size_max < 1:
        raise ValueError("size_max must be at least 1")
    if topic.lossless is not (chosen is Overflow.SPILL):
        raise ValueError(f"{topic.name} does not allow {chosen}")
    if chosen is Overflow.LATEST:
        if topic.key is None:
            raise ValueError(f"{topic.name} has nothing that events could replace each other by")
        return Latest(size_max, topic.key)
    return InLine(size_max, spills=chosen is Overflow.SPILL)
