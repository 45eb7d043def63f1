"""Carry cancels out as soon as they are asked for, and on every poll those whose hint was lost."""

import structlog

from pulse_background.wakeup import Wakeup
from pulse_domain.errors import StorageUnavailable
from pulse_domain.use_cases.cancel import CancelExecutions
from service_kit import bound

log = structlog.get_logger(__name__)


class OrderCanceller:
    def __init__(self, cancel: CancelExecutions, wakeup: Wakeup, *, poll_s: float) -> None:
        self._cancel = cancel
        self._wakeup = wakeup
        self._poll_s = poll_s

    async def run(self) -> None:
        with bound(worker="executor"):
            while True:
                await self._wakeup.wait(self._poll_s)
                try:
                    await self._cancel()
                except StorageUnavailable as error:
                    log.warning("the store does not answer", error=error.message)
