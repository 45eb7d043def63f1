"""Tell people what happens. What is told changes nothing: nobody waits for it, and losing it loses no order."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from msgspec import Struct, field

Value = str | int | Decimal


class NotificationKind(StrEnum):
    FILL = "FILL"
    REJECT = "REJECT"
    UNSENT = "UNSENT"  # not sent within its window, and never will be
    UNRESOLVED = "UNRESOLVED"  # nobody knows what became of it
    ANOMALY = "ANOMALY"  # the broker has or says what does not fit
    HALT = "HALT"
    RESUME = "RESUME"
    SESSION = "SESSION"  # of the broker: over, or there again
    BREAKER = "BREAKER"  # the broker does not answer, or answers again
    CLOCK = "CLOCK"  # of a worker: off, or right again
    RISK = "RISK"  # what was done about positions and results
    STRATEGY = "STRATEGY"  # one has failed, or runs
    FEED = "FEED"  # prices have stopped, or come again
    DAILY_SUMMARY = "DAILY_SUMMARY"


class Severity(StrEnum):
    """HIGH is never dropped; what is below may be, where more comes than can be told."""

    LOW = "LOW"
    HIGH = "HIGH"


class Notification(Struct, frozen=True, kw_only=True):
    """One thing that happened, in parts: how they read is up to who tells them.

    about: in a few words what it is about, such as `NSE:RELIANCE` or `zerodha`.
    parts: what is known of it, by name, in the order in which it is told.
    """

    kind: NotificationKind
    severity: Severity = Severity.LOW
    about: str = ""
    parts: Mapping[str, Value] = field(default_factory=dict)


class Notifier(Protocol):
    def notify(self, notification: Notification) -> None:
        """Take a notification, to be told soon. Never waits and never raises.

        Those of one severity are told in order, HIGH ones before others that wait. HIGH ones are kept until
        they are told or `close` ends; of the others the newest are dropped while too many wait.
        """
        ...

    async def close(self) -> None:
        """Tell what is waiting, as far as that goes within a few seconds, and end."""
        ...
