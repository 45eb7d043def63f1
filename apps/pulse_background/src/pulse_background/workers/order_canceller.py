"""Carry cancels out as soon as they are asked for; the timeout monitor repeats what was missed."""

import structlog

from pulse_background.wakeup import Wakeup
from pulse_domain.errors import StorageUnavailable
from pulse_domain.use_cases.cancel import CancelExecutions
from service_kit import bound

log = structlog.get_logger(__name__)

_IDLE_S = 3600.0


class OrderCanceller:
    def __init__(self, cancel: CancelExecutions, wakeup: Wakeup) -> None:
        self._cancel = cancel
        self._wakeup = wakeup

    async def run(self) -> None:
        with bound(worker="executor"):
            while True:
                await self._wakeup.wait(_IDLE_S)
                try:
                    await self._cancel()
                except StorageUnavailable as error:
                    log.warning("the store does not answer", error=error.message)
