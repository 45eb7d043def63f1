"""A work queue that keeps its jobs in a list."""

from pulse_domain.ports.work_queue import Job


class RecordingQueue:
    """Hold every job for a test to look at."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def enqueue(self, job: Job) -> None:
        self.jobs.append(job)

    async def close(self) -> None:
        pass
