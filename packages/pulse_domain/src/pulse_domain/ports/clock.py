"""Time, read and waited for."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Everything that reads time or waits does it here, so that a simulation can own both."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait; returns at once for zero or less."""
        ...
