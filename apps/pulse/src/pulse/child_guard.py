"""Keep one child process of the supervisor, and end it when the supervisor ends.

The supervisor cannot tidy up after its own kill -9, so it starts its children through this script
(`python -I -S child_guard.py SECONDS COMMAND...`, standard library only, a session of its own so that a
terminal's Ctrl-C passes by):

- the supervisor holds the only write end of a pipe into our standard input. End of file there or a changed
  parent ends the child at once;
- SIGTERM ends it gracefully: SIGTERM to the child, and after SECONDS SIGKILL;
- the kernel kills the child when this process dies (Linux), which covers a kill -9 of the guard.

Output passes through to the supervisor's pipe; the first line is the child's process id. The exit code is the
child's, 128 + N where signal N ended it.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

PARENT_CHECK_S = 1.0
# Nobody is left to say what it should still do.
ORPHAN_GRACE_S = 3.0
CANNOT_RUN = 127
PR_SET_PDEATHSIG = 1


class Guard:
    def __init__(self, graceful_s: float) -> None:
        self.pid = os.getpid()
        self.parent = os.getppid()
        self.graceful_s = graceful_s
        self.told_to_end = False
        self.is_orphan = False
        self.kill_at: float | None = None
        self.prctl: Callable[..., int] | None = None
        if sys.platform == "linux":
            self.prctl = ctypes.CDLL(None).prctl
        self.wake, wake_write = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self.note_end)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            # A handler rather than SIG_IGN, which the child would inherit.
            signal.signal(number, lambda *_: None)

    def note_end(self, *_: object) -> None:
        self.told_to_end = True

    def before_exec(self) -> None:
        if self.prctl is not None:
            self.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != self.pid:
                os._exit(CANNOT_RUN)
        # Before anything that the child itself can say.
        os.write(1, f"{os.getpid()}\n".encode())

    def run(self, command: list[str]) -> int:
        child = subprocess.Popen(  # noqa: S603  # the supervisor's command
            command, stdin=subprocess.DEVNULL, preexec_fn=self.before_exec
        )
        while child.poll() is None:
            self.watch()
            if self.kill_at is None and (self.told_to_end or self.is_orphan):
                child.send_signal(signal.SIGTERM)
                child.send_signal(signal.SIGCONT)  # a suspended one would not notice
                self.kill_at = time.monotonic() + (ORPHAN_GRACE_S if self.is_orphan else self.graceful_s)
            if self.kill_at is not None and time.monotonic() >= self.kill_at:
                child.kill()
        return child.returncode if child.returncode >= 0 else 128 - child.returncode

    def watch(self) -> None:
        """Wait for the supervisor's end, a signal, the child's end, or a second."""
        waited_for = [self.wake] if self.is_orphan else [0, self.wake]
        ready, _, _ = select.select(waited_for, [], [], PARENT_CHECK_S)
        if self.wake in ready:
            os.read(self.wake, 4096)
        if (0 in ready and not os.read(0, 4096)) or os.getppid() != self.parent:
            if not self.is_orphan and self.kill_at is not None:
                self.kill_at = min(self.kill_at, time.monotonic() + ORPHAN_GRACE_S)
            self.is_orphan = True


def main() -> int:
    guard = Guard(float(sys.argv[1]))
    try:
        return guard.run(sys.argv[2:])
    except OSError as error:
        os.write(2, f"cannot be started: {error.strerror}\n".encode())
        return CANNOT_RUN


if __name__ == "__main__":
    sys.exit(main())
