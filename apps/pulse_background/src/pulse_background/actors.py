"""Dramatiq actors: messages become wake-ups of the loops, on the process's own event loop.

An actor does no work of its own. The loops take all the work there is when woken, so a message that is
late, doubled or lost changes nothing else.
"""

import asyncio
from collections.abc import Callable

import dramatiq
import structlog
from dramatiq import Broker, Worker

from pulse_adapters.queue.redis_broker import QUEUE_NAME
from pulse_domain.ports.work_queue import JobKind

log = structlog.get_logger(__name__)

# Between two looks for hints that were not told of; most are (pulse_adapters.queue.redis_broker).
_POLL_MS = 250


def declare_actors(broker: Broker, loop: asyncio.AbstractEventLoop, wake: Callable[[JobKind], None]) -> None:
    """Declare `split_order(order_id)`, `cancel_order(order_id)` and `reconcile()` on a broker."""

    def listener(kind: JobKind) -> Callable[..., None]:
        def actor(order_id: str | None = None) -> None:
            log.debug("woken", job=kind.value, order_id=order_id)
            loop.call_soon_threadsafe(wake, kind)

        return actor

    for kind in JobKind:
        dramatiq.actor(actor_name=kind.value, queue_name=QUEUE_NAME, broker=broker)(listener(kind))


def start_worker(broker: Broker) -> Worker:
    """Consume messages in threads of this process until `stop` of the result."""
    # A worker built in code does not emit this, and without it the time limits never fire.
    broker.emit_after("process_boot")
    worker = Worker(broker, worker_timeout=_POLL_MS, worker_threads=2)
    worker.start()
    return worker
