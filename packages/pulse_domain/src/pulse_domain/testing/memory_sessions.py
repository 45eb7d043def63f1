"""Broker sessions in memory."""

from pulse_domain.errors import StorageUnavailable
from pulse_domain.ports.broker_sessions import BrokerSession


class InMemorySessions:
    """Implements the `BrokerSessions` port.

    down: while set, every call fails as that of an unreachable store does.
    """

    def __init__(self) -> None:
        self.down = False
        self._saved: list[BrokerSession] = []

    async def save(self, session: BrokerSession) -> None:
        self._check()
        self._saved.append(session)

    async def newest(self, broker: str) -> BrokerSession | None:
        self._check()
        return next((session for session in reversed(self._saved) if session.broker == broker), None)

    def _check(self) -> None:
        if self.down:
            raise StorageUnavailable
