"""The sessions at brokers that a person has opened, shared by every process."""

from datetime import datetime
from typing import Protocol

from msgspec import Struct


class BrokerSession(Struct, frozen=True, kw_only=True):
    """A session as it is stored: the token is sealed before it comes here, and opened only by who uses it.

    valid_until: when the broker ends it at the latest.
    """

    broker: str
    user_id: str
    sealed_token: bytes
    valid_until: datetime


class BrokerSessions(Protocol):
    async def save(self, session: BrokerSession) -> None:
        """Keep a session; from now on it is the newest of its broker, for every process.

        Raises:
            StorageUnavailable: it may or may not be kept; saving it again is safe.
        """
        ...

    async def newest(self, broker: str) -> BrokerSession | None:
        """The session of the broker that was saved last, whatever its validity.

        Raises:
            StorageUnavailable: the store cannot be reached.
        """
        ...
