"""An audit log in memory."""

from msgspec.structs import replace

from pulse_domain.errors import StorageUnavailable
from pulse_domain.ports.audit_log import AuditEntry
from pulse_domain.ports.clock import Clock


class InMemoryAuditLog:
    """Implements the `AuditLog` port.

    down: while set, every call fails as that of an unreachable log does.
    """

    def __init__(self, clock: Clock) -> None:
        self.down = False
        self._clock = clock
        self._entries: list[AuditEntry] = []

    async def record(self, entry: AuditEntry) -> None:
        self._check()
        self._entries.append(replace(entry, at=self._clock.now()))

    async def newest(self, limit: int) -> list[AuditEntry]:
        self._check()
        return self._entries[::-1][:limit]

    def _check(self) -> None:
        if self.down:
            raise StorageUnavailable
