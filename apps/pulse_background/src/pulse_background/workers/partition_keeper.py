"""Once a day: make the partitions of the days to come, and drop those that are too old."""

from datetime import UTC, date, datetime
from typing import Protocol

import structlog

from pulse_adapters.postgres.tick_partitions import PartitionReport
from pulse_domain.errors import StorageUnavailable
from pulse_domain.ports.clock import Clock
from service_kit import bound

log = structlog.get_logger(__name__)

_CHECK_S = 60.0


class Partitions(Protocol):
    async def keep(self, now: datetime) -> PartitionReport: ...


class PartitionKeeper:
    def __init__(self, partitions: Partitions, clock: Clock) -> None:
        self._partitions = partitions
        self._clock = clock

    async def run(self) -> None:
        """Work when it takes the lead, and on every new UTC day; what fails is tried again a minute later."""
        with bound(worker="monitor"):
            done: date | None = None
            while True:
                now = self._clock.now()
                today = now.astimezone(UTC).date()
                if today != done:
                    try:
                        report = await self._partitions.keep(now)
                    except StorageUnavailable as error:
                        log.error("the days of ticks are not kept", error=error.message)
                    else:
                        done = today
                        log.info(
                            "days of ticks are kept",
                            created=[day.isoformat() for day in report.created],
                            dropped=[day.isoformat() for day in report.dropped],
                        )
                await self._clock.sleep(_CHECK_S)
