"""What was done to the deployment, and when: the first half of the story of a failure."""

import time
from datetime import UTC, datetime

from msgspec import Struct


class Note(Struct, frozen=True):
    """seconds: since the beginning."""

    at: datetime
    seconds: float
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.seconds:7.2f} s  {self.who:<10} {self.what}"


class Timeline:
    """loud: each note is printed as it comes."""

    def __init__(self, *, loud: bool = False) -> None:
        self._began = time.monotonic()
        self._loud = loud
        self.notes: list[Note] = []

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def note(self, who: str, what: str) -> None:
        note = Note(datetime.now(UTC), self.seconds, who, what)
        self.notes.append(note)
        if self._loud:
            print(note, flush=True)
