"""Move orders that have been done for long out of the way of new ones."""

import structlog

from pulse_background.wakeup import Wakeup
from pulse_domain.errors import StorageUnavailable
from pulse_domain.use_cases.archive import ArchiveOrders
from service_kit import bound

log = structlog.get_logger(__name__)


class OrderArchiver:
    def __init__(self, archive: ArchiveOrders, wakeup: Wakeup, *, interval_s: float) -> None:
        self._archive = archive
        self._wakeup = wakeup
        self._interval_s = interval_s

    async def run(self) -> None:
        with bound(worker="monitor"):
            while True:
                try:
                    archived = await self._archive()
                except StorageUnavailable as error:
                    log.warning("the store does not answer", error=error.message)
                else:
                    if archived:
                        log.info("orders archived", count=archived)
                await self._wakeup.wait(self._interval_s)
