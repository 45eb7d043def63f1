"""Pushed updates: every subscriber reads at its own pace from a queue of its own."""

import asyncio
from weakref import WeakSet

from pulse_domain.ports.broker import BrokerOrder


class Subscription:
    """The updates of one subscriber, from its creation on. A subscriber that falls too far behind loses the
    oldest: updates are hints, the order book has the truth."""

    def __init__(self, size_max: int) -> None:
        # None ends the iteration.
        self._queue: asyncio.Queue[BrokerOrder | None] = asyncio.Queue(size_max)

    def push(self, row: BrokerOrder | None) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(row)

    def __aiter__(self) -> "Subscription":
        return self

    async def __anext__(self) -> BrokerOrder:
        row = await self._queue.get()
        if row is None:
            self.push(None)  # asked again, it ends again
            raise StopAsyncIteration
        return row


class Subscriptions:
    """size_max: how many updates wait for a slow subscriber before it loses the oldest."""

    def __init__(self, size_max: int = 10_000) -> None:
        self._size_max = size_max
        # Weak: a subscriber that lets go of its subscription needs no goodbye.
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._closed = False

    def __bool__(self) -> bool:
        """Whether anybody listens."""
        return bool(self._subscriptions)

    def add(self) -> Subscription:
        subscription = Subscription(self._size_max)
        if self._closed:
            subscription.push(None)
        else:
            self._subscriptions.add(subscription)
        return subscription

    def publish(self, row: BrokerOrder) -> None:
        for subscription in tuple(self._subscriptions):
            subscription.push(row)

    def close(self) -> None:
        self._closed = True
        for subscription in tuple(self._subscriptions):
            subscription.push(None)
        self._subscriptions.clear()
