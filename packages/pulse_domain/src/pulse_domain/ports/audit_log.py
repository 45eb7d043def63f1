"""Who asked for what, and what came of it: append-only."""

from datetime import datetime
from typing import Protocol

from msgspec import Struct


class AuditEntry(Struct, frozen=True, kw_only=True):
    """channel: how it came, such as `telegram`. place: where, such as the chat's id.
    action: what was asked for, such as `halt`. outcome: in a word, such as `asked`, `done`, `refused`.
    at: by the log's clock, set by the log."""

    channel: str
    actor: str
    place: str
    action: str
    outcome: str
    detail: str = ""
    at: datetime | None = None


class AuditLog(Protocol):
    async def record(self, entry: AuditEntry) -> None:
        """Keep an entry.

        Raises:
            StorageUnavailable: it may not be kept.
        """
        ...

    async def newest(self, limit: int) -> list[AuditEntry]:
        """The newest entries, newest first.

        Raises:
            StorageUnavailable: the log does not answer.
        """
        ...
