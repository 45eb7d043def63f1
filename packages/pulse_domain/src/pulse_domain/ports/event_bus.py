"""Events inside one process: who publishes does not know who listens.

What may be lost is told by the topic. Of market data the newest counts, so a subscriber that falls behind loses
the oldest, or skips to the latest of each instrument; both are counted. Of orders nothing is ever skipped:
what a subscriber has not taken piles up in memory, and how far it is behind can be seen. What has to survive
the process is in the store.
"""

from collections.abc import Callable, Hashable, Sequence
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from pulse_domain.candles import ClosedCandle
from pulse_domain.matching import Tick
from pulse_domain.orders.model import NewOrder, OrderRequest
from pulse_domain.ports.notifier import Notification
from pulse_domain.strategy import OrderUpdate

T = TypeVar("T")
_T_contra = TypeVar("_T_contra", contravariant=True)


class Overflow(StrEnum):
    """What becomes of events that a subscriber has not taken.

    LATEST: a newer event replaces the one of the same key, and takes its place in the line.
    DROP_OLDEST: beyond `size_max` the oldest go.
    SPILL: none goes; those beyond `size_max` are counted as spilled, and stay in memory.
    """

    LATEST = "LATEST"
    DROP_OLDEST = "DROP_OLDEST"
    SPILL = "SPILL"


class Topic(Struct, Generic[T], frozen=True, kw_only=True):
    """A kind of events; `name` is unique.

    lossless: whether every subscriber gets every event.
    key: what events replace each other by; None where they cannot.
    """

    name: str
    lossless: bool
    key: Callable[[T], Hashable] | None = None


class Signal(Struct, frozen=True, kw_only=True):
    """What a strategy wants, before anybody has checked it.

    at: the instant of the event that it answers, in the time of the prices.
    sent_at: when it was told, by the clock.
    order_unique_key: the same for the same answer to the same event, however often it is given.
    """

    at: datetime
    sent_at: datetime
    strategy_tag: str
    order_unique_key: str
    request: OrderRequest


class Command(Struct, frozen=True, kw_only=True):
    """What a person asks for over a channel; `sender` is who, as the channel has proven it."""

    at: datetime
    sender: str
    name: str
    arguments: tuple[str, ...] = ()


TICKS: Topic[Tick] = Topic(name="tick", lossless=False, key=attrgetter("instrument"))
CANDLES: Topic[ClosedCandle] = Topic(name="candle", lossless=False, key=attrgetter("instrument", "minutes"))
SIGNALS: Topic[Signal] = Topic(name="signal", lossless=True)
VALIDATED_ORDERS: Topic[NewOrder] = Topic(name="validated_order", lossless=True)
ORDER_UPDATES: Topic[OrderUpdate] = Topic(name="order_update", lossless=True)
NOTIFICATIONS: Topic[Notification] = Topic(name="notification", lossless=True)
COMMANDS: Topic[Command] = Topic(name="command", lossless=True)


class Handler(Protocol[_T_contra]):
    async def __call__(self, events: Sequence[_T_contra], /) -> None:
        """Take events, oldest first; the next come when this has returned."""
        ...


class SubscriberFigures(Struct, frozen=True, kw_only=True):
    """How a subscriber fares.

    depth: events that wait for it, without those it is busy with.
    lag_s: the age of the oldest that it is not done with, in seconds; 0 where there is none.
    delivered: events it was given; `failed` of them in calls that raised.
    dropped, conflated, spilled: what has overflown, by what became of it.
    """

    topic: str
    subscriber: str
    depth: int
    lag_s: float
    delivered: int
    failed: int
    dropped: int
    conflated: int
    spilled: int


class Subscription(Protocol):
    def cancel(self) -> None:
        """Give the subscriber nothing more; it may be called again."""
        ...


class EventBus(Protocol):
    """Every subscriber gets the events of its topic from when it subscribed on, in the order in which they were
    published; with LATEST that order holds among events of one key. Order between topics is not promised."""

    def publish(self, topic: Topic[T], *events: T) -> None:
        """Hand events over. Never waits and never raises; after the end nobody gets them."""
        ...

    def subscribe(
        self,
        topic: Topic[T],
        subscriber: str,
        handler: Handler[T],
        *,
        overflow: Overflow | None = None,
        size_max: int = 10_000,
        batch_max: int = 100,
    ) -> Subscription:
        """Call `handler` with what is published from now on.

        What it raises is logged and counted, and concerns nobody else; the events of that call are not given
        again. With `batch_max=1` a call has one event, so that a bad one takes no others with it.

        overflow: by default SPILL for a topic that is lossless, else DROP_OLDEST.
        size_max: events that wait at most, or before they count as spilled; with LATEST keys.

        Raises:
            ValueError: the name is taken, the topic does not allow the overflow, or a bound is below 1.
        """
        ...

    def figures(self) -> list[SubscriberFigures]:
        """The figures of all subscribers; from any thread."""
        ...

    async def close(self, *, timeout_s: float = 5.0) -> None:
        """Deliver what waits, for so many seconds at most, and end all subscriptions."""
        ...
