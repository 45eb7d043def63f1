"""What happened, on disk before anybody is told: an append-only table in SQLite.

Entries are appended in memory and written by one thread, all that wait in one transaction: whoever answers
awaits `durable`, and many answers share one flush to the disk. SQLite because its write-ahead log already
knows how to end after a torn write; with synchronous=FULL a commit that returned survives a power cut.

One process at a time may have it: the lock is held until `close`, or the death of the process.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

VENUE = "venue"
CLOCK = "clock"  # seconds by which the clock was moved on


class JournalError(Exception):
    """The journal cannot be used; the message names its file."""


class Journal:
    """Entries of several streams in one sequence.

    Create it inside the event loop that awaits `durable`.

    Raises:
        JournalError: the file cannot be opened, or another process has it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loop = asyncio.get_running_loop()
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)  # it holds session tokens
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS entries"
                " (seq INTEGER PRIMARY KEY, stream TEXT NOT NULL, body BLOB NOT NULL) STRICT"
            )
            self._db.execute("BEGIN IMMEDIATE")  # take the lock now, not at the first entry
            (last,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()
            self._db.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"cannot use the journal {path}: {error}") from error
        self._last: int = last
        self._written: int = last
        self._failure: JournalError | None = None
        self._waiting: list[tuple[int, str, bytes]] = []
        self._more = threading.Condition()
        self._is_closing = False
        self._flushes: list[tuple[int, asyncio.Future[None]]] = []
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Every entry on disk, in order; for the start, before anything is appended."""
        yield from self._db.execute("SELECT stream, body FROM entries ORDER BY seq")

    def append(self, stream: str, body: bytes) -> int:
        """Add an entry; it is on disk once `durable` returns.

        Raises:
            JournalError: an earlier entry could not be written: from then on nothing is taken.
        """
        if self._failure is not None:
            raise self._failure
        self._last += 1
        with self._more:
            self._waiting.append((self._last, stream, body))
            self._more.notify()
        return self._last

    async def durable(self, seq: int | None = None) -> None:
        """Wait until an entry, or all appended so far, are on disk.

        Raises:
            JournalError: they will never be.
        """
        seq = self._last if seq is None else seq
        if self._failure is not None:
            raise self._failure
        if seq > self._written:
            flushed: asyncio.Future[None] = self._loop.create_future()
            self._flushes.append((seq, flushed))
            await flushed

    def close(self) -> None:
        """Write what waits and let the file go."""
        with self._more:
            self._is_closing = True
            self._more.notify()
        self._writer.join()
        self._db.close()

    def _write(self) -> None:
        while True:
            with self._more:
                while not self._waiting and not self._is_closing:
                    self._more.wait()
                batch, self._waiting = self._waiting, []
            if not batch:
                return
            failure = None
            try:
                self._db.execute("BEGIN")
                self._db.executemany("INSERT INTO entries (seq, stream, body) VALUES (?, ?, ?)", batch)
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                failure = JournalError(f"cannot write the journal {self._path}: {error}")
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._flushed, batch[-1][0], failure)
            if failure is not None:
                return

    def _flushed(self, seq: int, failure: JournalError | None) -> None:
        self._failure = failure
        if failure is None:
            self._written = seq
        waiting, self._flushes = self._flushes, []
        for wanted, flushed in waiting:
            if flushed.done():
                continue
            if failure is not None:
                flushed.set_exception(failure)
            elif wanted <= seq:
                flushed.set_result(None)
            else:
                self._flushes.append((wanted, flushed))
