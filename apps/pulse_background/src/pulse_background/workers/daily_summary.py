"""Tell people once a day what became of its orders."""

from collections.abc import Callable, Mapping
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal

import structlog

from pulse_domain.errors import StorageRejected, StorageUnavailable
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.notifier import Notification, NotificationKind, Value
from pulse_domain.use_cases.day_summary import DayFigures, DaySummary
from service_kit import bound

log = structlog.get_logger(__name__)

_INDIA = timezone(timedelta(hours=5, minutes=30))
# In steps, as the wall clock may be set while one waits.
_STEP_S = 60.0
_RETRY_S = 10.0


class DailySummary:
    """The leader's part. A day on which there is no leader at that time has no summary, nor one without orders.

    at: Indian time.
    """

    def __init__(
        self, summarise: DaySummary, clock: Clock, notify: Callable[[Notification], None], *, at: time
    ) -> None:
        self._summarise = summarise
        self._clock = clock
        self._notify = notify
        self._at = at

    async def run(self) -> None:
        with bound(worker="monitor"):
            due = self._next_after(self._clock.now())
            while True:
                left_s = (due - self._clock.now()).total_seconds()
                if left_s > 0:
                    await self._clock.sleep(min(left_s, _STEP_S))
                    continue
                try:
                    figures = await self._summarise(due)
                except (StorageUnavailable, StorageRejected) as error:
                    log.warning("the day cannot be summarised yet", error=error.message)
                    await self._clock.sleep(_RETRY_S)
                    continue
                if figures.orders:
                    self._notify(_notification(due, figures))
                due = self._next_after(self._clock.now())

    def _next_after(self, now: datetime) -> datetime:
        due = datetime.combine(now.astimezone(_INDIA).date(), self._at, _INDIA)
        return due if due > now else due + timedelta(days=1)


def _notification(due: datetime, figures: DayFigures) -> Notification:
    parts: dict[str, Value] = {
        "orders": _counts(figures.orders),
        "slices": _counts(figures.slices),
        "fills": figures.fills,
        "value in rupees": figures.filled_value.quantize(Decimal("0.01")),
    }
    return Notification(
        kind=NotificationKind.DAILY_SUMMARY, about=f"{due.astimezone(_INDIA):%Y-%m-%d}", parts=parts
    )


def _counts(counts: Mapping[str, int]) -> str:
    return " ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"
