"""The work queue on Dramatiq and Redis."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable

import dramatiq
import structlog

from pulse_adapters.queue.redis_broker import message
from pulse_domain.ports.work_queue import Job

log = structlog.get_logger(__name__)

_PAUSE_S = 1.0
_COALESCE_S = 0.005


class DramatiqQueue:
    """Send hints from a thread of its own: a slow or absent Redis never holds a request up.

    Hints of one kind that come together travel as one message, as each wakes a worker that takes all
    the work there is. While Redis is unreachable hints are dropped; `on_drop` counts them.
    """

    def __init__(self, broker: dramatiq.Broker, *, on_drop: Callable[[int], None] = lambda count: None) -> None:
        self._broker = broker
        self._on_drop = on_drop
        self._waiting: dict[str, tuple[Job, contextvars.Context]] = {}
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="work-queue", daemon=True)
        self._thread.start()

    def enqueue(self, job: Job) -> None:
        with self._wake:
            # The context carries the ids of the request into the message (service_kit.dramatiq_trace).
            self._waiting[job.kind] = (job, contextvars.copy_context())
            self._wake.notify()

    async def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        await asyncio.to_thread(self._thread.join, 2.0)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._closing:
                    self._wake.wait()
                if self._closing and not self._waiting:
                    return
                batch, self._waiting = list(self._waiting.values()), {}
            try:
                for job, context in batch:
                    context.run(self._broker.enqueue, message(job.kind, job.order_id))
                # The first goes at once; those that come right after it share the next message.
                time.sleep(_COALESCE_S)
            except Exception as error:  # whatever it is, hints may be dropped, and this thread must live
                # The kind alone: the text may repeat the address, password included.
                log.warning("hints were dropped", count=len(batch), error=type(error).__name__)
                self._on_drop(len(batch))
                if self._closing:
                    return
                time.sleep(_PAUSE_S)
