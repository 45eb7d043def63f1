"""What every audit log promises."""

import asyncio

import pytest
from msgspec.structs import replace

from pulse_domain.ports.audit_log import AuditEntry, AuditLog


def _entry(action: str, detail: str = "") -> AuditEntry:
    return AuditEntry(
        channel="telegram", actor="user-7", place="-100123", action=action, outcome="done", detail=detail
    )


class AuditLogContract:
    """Subclass it and override `audit`, empty at every test."""

    @pytest.fixture
    def audit(self) -> AuditLog:
        pytest.fail("a subclass overrides this fixture")

    async def test_an_entry_comes_back_as_it_was_recorded(self, audit: AuditLog) -> None:
        entry = _entry("halt", detail="\u20b9 fat finger")

        await audit.record(entry)

        [read] = await audit.newest(10)
        assert replace(read, at=None) == entry
        assert read.at is not None
        assert read.at.tzinfo is not None

    async def test_the_newest_come_first_up_to_the_limit(self, audit: AuditLog) -> None:
        for action in ("halt", "resume", "kill"):
            await audit.record(_entry(action))

        assert [entry.action for entry in await audit.newest(2)] == ["kill", "resume"]

    async def test_the_same_entry_twice_is_two_entries(self, audit: AuditLog) -> None:
        for _ in range(2):
            await audit.record(_entry("halt"))

        assert len(await audit.newest(10)) == 2

    async def test_entries_recorded_at_once_are_all_kept(self, audit: AuditLog) -> None:
        await asyncio.gather(*(audit.record(_entry(f"a{number}")) for number in range(20)))

        assert {entry.action for entry in await audit.newest(50)} == {f"a{number}" for number in range(20)}

    async def test_an_empty_log_has_no_newest(self, audit: AuditLog) -> None:
        assert await audit.newest(10) == []
