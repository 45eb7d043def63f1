"""What every work queue promises: little, as its jobs are hints."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pulse_domain.ports.work_queue import Job, JobKind, WorkQueue
from pulse_domain.testing.sequential_ids import SequentialIds

Received = Callable[[], Awaitable[list[Job]]]


class WorkQueueContract:
    """Subclass it and override `queue`, and `received` where a test can see what arrived."""

    @pytest.fixture
    def queue(self) -> WorkQueue:
        pytest.fail("a subclass overrides this fixture")

    @pytest.fixture
    def received(self) -> Received | None:
        """The jobs that came out at the other end so far; None where nobody can look."""
        return None

    async def test_jobs_arrive_as_they_were_handed_over(
        self, queue: WorkQueue, received: Received | None
    ) -> None:
        jobs = [Job(JobKind.RECONCILE), Job(JobKind.SPLIT_ORDER, SequentialIds().order_id())]
        for job in jobs:
            queue.enqueue(job)
        await queue.close()

        if received is not None:
            assert sorted(await received(), key=lambda job: job.kind) == jobs

    @pytest.mark.parametrize("kind", JobKind)
    async def test_every_kind_of_job_is_taken(self, queue: WorkQueue, kind: JobKind) -> None:
        queue.enqueue(Job(kind))
        queue.enqueue(Job(kind, SequentialIds().order_id()))

        await queue.close()

    async def test_handing_over_neither_waits_nor_raises(self, queue: WorkQueue) -> None:
        ids = SequentialIds()
        loop = asyncio.get_running_loop()
        began = loop.time()

        for _ in range(1000):
            queue.enqueue(Job(JobKind.SPLIT_ORDER, ids.order_id()))

        assert loop.time() - began < 1.0
        await queue.close()

    async def test_closing_ends(self, queue: WorkQueue) -> None:
        queue.enqueue(Job(JobKind.RECONCILE))

        await asyncio.wait_for(queue.close(), timeout=10)

    async def test_handing_over_after_the_end_does_not_raise(self, queue: WorkQueue) -> None:
        await queue.close()

        queue.enqueue(Job(JobKind.RECONCILE))
