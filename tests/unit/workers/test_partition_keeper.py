"""When the days of ticks are looked after."""

import asyncio
from datetime import UTC, datetime

from pulse_adapters.postgres.tick_partitions import PartitionReport
from pulse_background.workers.partition_keeper import PartitionKeeper
from pulse_domain.errors import StorageUnavailable
from pulse_domain.testing.fake_clock import FakeClock


class CountedPartitions:
    """failures: so many calls fail first."""

    def __init__(self, failures: int = 0) -> None:
        self.kept: list[datetime] = []
        self._failures = failures

    async def keep(self, now: datetime) -> PartitionReport:
        self.kept.append(now)
        if len(self.kept) <= self._failures:
            raise StorageUnavailable
        return PartitionReport(created=(now.date(),), dropped=())


async def run_until(clock: FakeClock, partitions: CountedPartitions, seconds: float) -> list[str]:
    task = asyncio.create_task(PartitionKeeper(partitions, clock).run())
    await clock.advance(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return [f"{at:%d %H:%M}" for at in partitions.kept]


async def test_it_works_at_once_and_when_a_new_utc_day_has_begun() -> None:
    clock = FakeClock(datetime(2026, 1, 20, 23, 57, 30, tzinfo=UTC))

    assert await run_until(clock, CountedPartitions(), 600) == ["20 23:57", "21 00:00"]


async def test_a_failure_is_followed_by_another_try() -> None:
    clock = FakeClock(datetime(2026, 1, 20, 4, 0, tzinfo=UTC))

    assert await run_until(clock, CountedPartitions(failures=2), 600) == ["20 04:00", "20 04:01", "20 04:02"]
