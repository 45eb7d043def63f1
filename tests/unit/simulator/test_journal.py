"""The journal: what was awaited is on disk, whatever happens then."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from pulse_adapters.simulator.journal import Journal, JournalError


def stored(path: Path) -> list[bytes]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return [body for (body,) in db.execute("SELECT body FROM entries ORDER BY seq")]


async def test_entries_come_back_in_order_with_their_streams(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.append("venue", b"1")
    journal.append("kite", b"2")
    await journal.durable()
    journal.close()
    again = Journal(path)
    read = list(again.read())
    again.append("venue", b"3")
    again.close()

    assert read == [("venue", b"1"), ("kite", b"2")]
    assert stored(path) == [b"1", b"2", b"3"]


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    for number in range(1000):
        journal.append("venue", b"%d" % number)
    journal.close()

    assert len(stored(tmp_path / "journal.db")) == 1000


async def test_many_wait_for_one_flush(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")

    async def write(number: int) -> None:
        await journal.durable(journal.append("venue", b"%d" % number))

    await asyncio.gather(*(write(number) for number in range(500)))
    journal.close()

    assert len(stored(tmp_path / "journal.db")) == 500


async def test_what_is_durable_needs_no_wait(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    seq = journal.append("venue", b"1")
    await journal.durable(seq)

    await asyncio.wait_for(journal.durable(), 0.01)
    journal.close()


async def test_two_processes_cannot_have_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")

    with pytest.raises(JournalError, match="locked"):
        Journal(tmp_path / "journal.db")
    journal.close()
    Journal(tmp_path / "journal.db").close()


async def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    Journal(tmp_path / "journal.db").close()

    assert (tmp_path / "journal.db").stat().st_mode & 0o077 == 0


async def test_what_is_no_journal_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is no database, it is a text of some length" * 100)

    with pytest.raises(JournalError, match=r"journal\.db"):
        Journal(path)


async def test_after_a_failed_write_nothing_is_taken_any_more(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal._db.execute("DROP TABLE entries")
    seq = journal.append("venue", b"1")

    with pytest.raises(JournalError):
        await journal.durable(seq)
    with pytest.raises(JournalError):
        journal.append("venue", b"2")
    with pytest.raises(JournalError):
        await journal.durable()
    journal.close()
