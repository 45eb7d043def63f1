"""The real console script, and a gateway for it to talk to."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pulse.client import Gateway
from pulse.tokens import make_token, own_tokens
from tests.integration.cli.fake_gateway import SECRET, FakeGateway

PULSE = Path(sys.executable).with_name("pulse")
Run = Callable[..., subprocess.CompletedProcess[str]]
_WAIT_S = 30.0


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    gateway = FakeGateway()
    yield gateway
    gateway.close()


@pytest.fixture
def client(gateway: FakeGateway) -> Iterator[Gateway]:
    """Tries as often as the real one, in less time."""
    with Gateway(gateway.base_url, own_tokens(SECRET), pause_s=0.02) as client:
        yield client


@pytest.fixture
def environ(gateway: FakeGateway, tmp_path: Path) -> dict[str, str]:
    token = make_token(
        SECRET,
        client="demo",
        scope="orders:read orders:write",
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TZ": "Asia/Kolkata",
        "PULSE_STATE_DIR": str(tmp_path / "state"),
        "PULSE_GATEWAY_URL": gateway.base_url,
        "PULSE_TOKEN": token,
    }


@pytest.fixture
def pulse(environ: dict[str, str]) -> Run:
    """Run `pulse` to its end; `pulse("order list", NAME="value")`."""

    def run(line: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PULSE, *line.split()],
            env=environ | changes,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_WAIT_S,
        )

    return run


@pytest.fixture
def start(environ: dict[str, str]) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start `pulse`; what still runs at the end is ended."""
    started: list[subprocess.Popen[str]] = []

    def begin(line: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [PULSE, *line.split()],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with process:
            process.kill()


@pytest.fixture
def on_a_terminal(environ: dict[str, str]) -> Callable[[str], tuple[int, str]]:
    """Run `pulse` on a terminal of 100 columns: its exit code and all that it wrote there."""

    def run(line: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [PULSE, *line.split()],
            env=environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        written, until = b"", time.monotonic() + _WAIT_S
        with process:
            while time.monotonic() < until:
                if not select.select([ours], [], [], 0.2)[0]:
                    continue
                try:
                    written += os.read(ours, 65536)
                except OSError:  # the other side is closed
                    break
            else:
                process.kill()
            os.close(ours)
        return process.returncode, written.decode()

    return run


def error_line(done: subprocess.CompletedProcess[Any]) -> str:
    """The one line that was written to stderr."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return str(lines[0])
