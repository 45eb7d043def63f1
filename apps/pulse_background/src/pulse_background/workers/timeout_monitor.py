"""Recover what time alone can tell: silent workers, windows that have closed, cancels left over."""

from collections.abc import Callable

import structlog

from pulse_background.wakeup import Wakeup
from pulse_domain.errors import StorageUnavailable
from pulse_domain.use_cases.monitor import MonitorReport, MonitorTimeouts
from service_kit import bound

log = structlog.get_logger(__name__)


class TimeoutMonitor:
    """on_report: told what each pass has come to."""

    def __init__(
        self,
        monitor: MonitorTimeouts,
        wakeup: Wakeup,
        *,
        interval_s: float,
        on_report: Callable[[MonitorReport], object] = lambda report: None,
    ) -> None:
        self._monitor = monitor
        self._wakeup = wakeup
        self._interval_s = interval_s
        self._on_report = on_report

    async def run(self) -> None:
        with bound(worker="monitor"):
            while True:
                try:
                    report = await self._monitor()
                except StorageUnavailable as error:
                    log.warning("the store does not answer", error=error.message)
                else:
                    self._on_report(report)
                    if report.splits_recovered or report.lapsed or report.unanswered or report.cancelled:
                        log.warning(
                            "recovered",
                            splits=report.splits_recovered,
                            lapsed=report.lapsed,
                            unanswered=report.unanswered,
                            cancelled=report.cancelled,
                        )
                await self._wakeup.wait(self._interval_s)
