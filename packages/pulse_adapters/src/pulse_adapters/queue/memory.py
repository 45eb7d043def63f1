"""Hints within one process: the all-in-one's work queue."""

from collections.abc import Callable

from pulse_domain.ports.work_queue import Job, JobKind


class InProcessQueue:
    """Call what listens to a kind of job. Listeners must not block: they set an event or make a task."""

    def __init__(self) -> None:
        self._listeners: dict[JobKind, list[Callable[[Job], None]]] = {}

    def listen(self, kind: JobKind, listener: Callable[[Job], None]) -> None:
        self._listeners.setdefault(kind, []).append(listener)

    def enqueue(self, job: Job) -> None:
        for listener in self._listeners.get(job.kind, ()):
            listener(job)

    async def close(self) -> None:
        self._listeners.clear()
