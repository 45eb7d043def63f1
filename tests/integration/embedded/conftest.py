"""Processes that own servers, so that the tests can end them in every way."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

OWNER = Path(__file__).with_name("owner.py")


class Owner:
    """A running `owner.py` with a folder for temporary files of its own."""

    def __init__(
        self, temporary: Path, wanted: dict[str, Any], python: str = sys.executable, **kind: Any
    ) -> None:
        self.temporary = temporary
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        environment = {**kept, "TMPDIR": str(temporary), "HOME": str(temporary)}
        self.process = subprocess.Popen(
            [python, str(OWNER), json.dumps(wanted)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment | kind.pop("environment", {}),
            start_new_session=True,  # a group of its own, as a shell would give it
            text=True,
            **kind,
        )

    def facts(self) -> dict[str, Any]:
        """Wait for the servers and return what the process printed about them."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        facts: dict[str, Any] = json.loads(line)
        return facts

    def close(self) -> None:
        with self.process:
            self.process.kill()


@pytest.fixture
def start_owner(tmp_path: Path) -> Iterator[Callable[..., Owner]]:
    """Start owners; `start_owner(postgres=None)` wants a Postgres without a folder of its own."""
    owners: list[Owner] = []

    def start(*, temporary: Path | None = None, **wanted: Any) -> Owner:
        folder = temporary or tmp_path / "tmp"
        folder.mkdir(exist_ok=True)
        kind = wanted.pop("kind", {})
        owners.append(Owner(folder, wanted, **kind))
        return owners[-1]

    yield start
    for owner in owners:
        owner.close()


def _running(pid: int) -> bool:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()[:1] not in ("", "Z")


@pytest.fixture
def running() -> Callable[[int], bool]:
    """Tell whether a process runs; a zombie does not."""
    return _running


@pytest.fixture
def guard_of() -> Callable[[int], int]:
    """Return the guard of a server."""

    def parent(pid: int) -> int:
        shown = subprocess.run(
            ["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True
        )
        return int(shown.stdout)

    return parent


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    """Wait up to half a minute for a condition."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "it did not happen within 30 s"
            time.sleep(0.02)

    return wait
