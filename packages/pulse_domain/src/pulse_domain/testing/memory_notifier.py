"""A notifier that keeps what it is told in a list."""

from pulse_domain.ports.notifier import Notification, Severity


class RecordingNotifier:
    """Implements the `Notifier` port.

    told: what was taken and not dropped, in order.
    dropped: how many were not taken, as `waiting_max` others waited; nothing goes away here.
    """

    def __init__(self, *, waiting_max: int = 500) -> None:
        self.told: list[Notification] = []
        self.dropped = 0
        self._waiting_max = waiting_max

    def notify(self, notification: Notification) -> None:
        low = sum(each.severity is Severity.LOW for each in self.told)
        if notification.severity is Severity.LOW and low >= self._waiting_max:
            self.dropped += 1
            return
        self.told.append(notification)

    async def close(self) -> None:
        pass
