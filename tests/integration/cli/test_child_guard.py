"""The guard of a supervised process: however it, the process or the supervisor ends, nothing is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulse import child_guard
from pulse_adapters.embedded.guard import alive

PATIENCE_S = 10.0
SLEEPS = "import time; print('ready', flush=True); time.sleep(60)"
IGNORES = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEPS}"


class Guarded:
    """A process behind its guard; we are the supervisor."""

    def __init__(self, program: str, *, graceful_s: float = 5.0) -> None:
        command = [
            sys.executable,
            "-I",
            "-S",
            child_guard.__file__,
            str(graceful_s),
            sys.executable,
            "-c",
            program,
        ]
        self.guard = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.pid = int(self.line())

    def line(self) -> str:
        assert self.guard.stdout is not None
        return self.guard.stdout.readline().strip()

    def ended(self) -> int:
        """The guard's exit code; the process must have ended."""
        code = self.guard.wait(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while alive(self.pid) and not is_zombie(self.pid):
            assert time.monotonic() < deadline, "the process is left"
            time.sleep(0.02)
        return code

    def close(self) -> None:
        assert self.guard.stdin is not None
        assert self.guard.stdout is not None
        self.guard.stdin.close()
        self.guard.wait(PATIENCE_S)
        self.guard.stdout.close()


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def started() -> Iterator[list[Guarded]]:
    started: list[Guarded] = []
    yield started
    for each in started:
        each.close()


def sleeper(started: list[Guarded], program: str = SLEEPS, *, graceful_s: float = 5.0) -> Guarded:
    guarded = Guarded(program, graceful_s=graceful_s)
    started.append(guarded)
    assert guarded.line() == "ready"
    return guarded


@pytest.mark.parametrize("code", [0, 3])
def test_its_end_is_told(started: list[Guarded], code: int) -> None:
    guarded = Guarded(f"print('said'); raise SystemExit({code})")
    started.append(guarded)

    assert guarded.line() == "said"
    assert guarded.ended() == code


def test_a_kill_is_told(started: list[Guarded]) -> None:
    guarded = sleeper(started)
    os.kill(guarded.pid, signal.SIGKILL)

    assert guarded.ended() == 128 + signal.SIGKILL


def test_sigterm_is_passed_on(started: list[Guarded]) -> None:
    guarded = sleeper(started)
    guarded.guard.terminate()

    assert guarded.ended() == 128 + signal.SIGTERM


def test_one_that_does_not_end_is_killed(started: list[Guarded]) -> None:
    guarded = sleeper(started, IGNORES, graceful_s=0.3)
    guarded.guard.terminate()

    assert guarded.ended() == 128 + signal.SIGKILL


def test_the_end_of_the_supervisor_ends_it(started: list[Guarded]) -> None:
    guarded = sleeper(started, IGNORES)
    assert guarded.guard.stdin is not None
    guarded.guard.stdin.close()

    assert guarded.ended() == 128 + signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's doing, and Linux alone does it")
def test_a_killed_guard_takes_it_along(started: list[Guarded]) -> None:
    guarded = sleeper(started)
    guarded.guard.kill()

    assert guarded.ended() == -signal.SIGKILL


def test_ctrl_c_passes_by(started: list[Guarded]) -> None:
    guarded = sleeper(started)
    guarded.guard.send_signal(signal.SIGINT)
    time.sleep(0.3)

    assert alive(guarded.pid)


def test_a_program_that_does_not_exist_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", child_guard.__file__, "1", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.PIPE, timeout=PATIENCE_S)

    assert done.returncode == child_guard.CANNOT_RUN
    assert "cannot be started: No such file or directory" in done.stderr
