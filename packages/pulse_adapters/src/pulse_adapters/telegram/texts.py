"""How things read in a chat: plain text, so that nothing in it can be taken for markup."""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from pulse_domain.ports.notifier import Notification, NotificationKind, Severity, Value

MESSAGE_MAX = 4096
_CUT = "\u2026"

_HEADLINES: Mapping[NotificationKind, str] = {
    NotificationKind.FILL: "Fill",
    NotificationKind.REJECT: "Rejected",
    NotificationKind.UNSENT: "Not sent in time",
    NotificationKind.UNRESOLVED: "Unresolved: nobody knows what became of it",
    NotificationKind.ANOMALY: "Anomaly",
    NotificationKind.HALT: "Trading is halted",
    NotificationKind.RESUME: "Trading goes on",
    NotificationKind.SESSION: "Broker session",
    NotificationKind.BREAKER: "Broker line",
    NotificationKind.CLOCK: "Clock",
    NotificationKind.STRATEGY: "Strategy",
    NotificationKind.FEED: "Prices",
    NotificationKind.RISK: "Risk",
    NotificationKind.DAILY_SUMMARY: "Day summary",
}


def notification_text(notification: Notification) -> str:
    """One line: what happened, what it is about, and its parts."""
    mark = "\u2757 " if notification.severity is Severity.HIGH else ""
    headline = _HEADLINES[notification.kind]
    about = f" {notification.about}" if notification.about else ""
    parts = ", ".join(f"{name} {value_text(value)}" for name, value in notification.parts.items())
    return f"{mark}{headline}{about}" + (f": {parts}" if parts else "")


def value_text(value: Value) -> str:
    """Figures with separators, decimals without an exponent; text on one line."""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Decimal):
        return f"{value:,f}"
    return " ".join(value.split())


def length(text: str) -> int:
    """As Telegram counts: UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def cut(text: str, units: int = MESSAGE_MAX) -> str:
    """The text, or as much of its beginning as goes into a message."""
    if length(text) <= units:
        return text
    kept = text.encode("utf-16-le", "surrogatepass")[: 2 * (units - length(_CUT))]
    # Half of a character may be left at the end.
    return kept.decode("utf-16-le", "ignore") + _CUT


def lines_that_fit(lines: Iterable[str], units: int = MESSAGE_MAX) -> int:
    """How many of the lines, joined, go into one message: at least one, which may have to be cut."""
    used, count = 0, 0
    for line in lines:
        used += length(line) + (1 if count else 0)
        if used > units and count:
            break
        count += 1
    return count
