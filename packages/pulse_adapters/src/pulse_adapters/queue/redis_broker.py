"""The Dramatiq broker that services and workers share: queue name, actor names, middleware.

Dramatiq looks for messages at intervals. A hint is to be heard at once, so whoever sends one also rings a bell,
on a Redis channel, and consumers listen to it between their looks. A bell that nobody hears costs one interval.
"""

from collections.abc import Callable
from typing import Any

import dramatiq
import redis
from dramatiq.broker import MessageProxy
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import AgeLimit, Middleware, ShutdownNotifications, TimeLimit

QUEUE_NAME = "pulse"
# A hint that waited this long says nothing any more: the loops have polled since.
_AGE_LIMIT_MS = 60_000
_TIME_LIMIT_MS = 60_000


class HintBroker(RedisBroker):
    """A Redis broker whose consumers hear of messages when they come."""

    @property
    def consumer_class(self) -> Callable[..., Any]:
        return _ListeningConsumer

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        enqueued: dramatiq.Message[Any] = super().enqueue(message, delay=delay)
        self.client.publish(self.bell_of(message.queue_name), b"")
        return enqueued

    def bell_of(self, queue_name: str) -> str:
        return f"{self.namespace}:{queue_name}:bell"


_Polling: Any = RedisBroker.consumer_class.fget(None)  # type: ignore[attr-defined]  # it has no public name


class _ListeningConsumer(_Polling):  # type: ignore[misc]
    """Waits for the bell where the consumer of Dramatiq would sleep."""

    def __init__(self, broker: HintBroker, queue_name: str, prefetch: int, timeout: int) -> None:
        # No pause of its own after a look that found nothing.
        super().__init__(broker, queue_name, prefetch, 0)
        self._wait_s = timeout / 1000
        self._bell = broker.client.pubsub(ignore_subscribe_messages=True)
        # Before the first look: what comes after it is heard.
        self._listen(lambda: self._bell.subscribe(broker.bell_of(queue_name)))

    def __next__(self) -> MessageProxy | None:
        message: MessageProxy | None = super().__next__()
        if message is None:
            self._listen(lambda: self._bell.get_message(timeout=self._wait_s))
        return message

    def close(self) -> None:
        self._bell.close()
        super().close()

    def _listen(self, how: Callable[[], object]) -> None:
        try:
            how()
        except (redis.ConnectionError, redis.TimeoutError) as e:
            raise ConnectionClosed(e) from None  # type: ignore[no-untyped-call]  # dramatiq leaves it untyped


def redis_broker(redis_url: str, *middleware: Middleware) -> RedisBroker:
    """A broker of its own, not Dramatiq's global one. It connects on first use.

    There are no retries: a hint is repeated by polling, never by the queue.
    """
    broker = HintBroker(  # type: ignore[no-untyped-call]  # dramatiq leaves it untyped
        url=redis_url,
        middleware=[
            *middleware,
            AgeLimit(max_age=_AGE_LIMIT_MS),
            TimeLimit(time_limit=_TIME_LIMIT_MS),
            ShutdownNotifications(),
        ],
        # Calls end soon where Redis is gone, so that nothing piles up behind them.
        socket_timeout=5,
        socket_connect_timeout=2,
    )
    broker.declare_queue(QUEUE_NAME)
    return broker


def message(kind: str, argument: str | None) -> dramatiq.Message[None]:
    return dramatiq.Message(
        queue_name=QUEUE_NAME,
        actor_name=kind,
        args=() if argument is None else (argument,),
        kwargs={},
        options={},
    )
