"""The Dramatiq broker that services and workers share: queue name, actor names, middleware."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import AgeLimit, Middleware, ShutdownNotifications, TimeLimit

QUEUE_NAME = "pulse"
# A hint that waited this long says nothing any more: the loops have polled since.
_AGE_LIMIT_MS = 60_000
_TIME_LIMIT_MS = 60_000


def redis_broker(redis_url: str, *middleware: Middleware) -> RedisBroker:
    """A broker of its own, not Dramatiq's global one. It connects on first use.

    There are no retries: a hint is repeated by polling, never by the queue.
    """
    broker = RedisBroker(  # type: ignore[no-untyped-call]  # dramatiq leaves it untyped
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
