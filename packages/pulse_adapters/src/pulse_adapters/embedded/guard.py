"""Keep one server process, and end it when its owner ends.

A Python process cannot tidy up after its own kill -9, so it never starts a server itself. It starts this
script (``python -I -S guard.py NAME``, standard library only, a session of its own so that a terminal's
Ctrl-C passes by), and this script makes the folders, runs the server and waits:

- the owner holds the only write end of a pipe into our standard input. End of file there, a changed parent
  (should a fork of the owner have kept the pipe open) or SIGTERM ends the server, by ever harder signals,
  and then removes the folders that are temporary;
- the kernel signals the server when this process dies (Linux), which covers a kill -9 of the guard;
- descendants of a killed server become our children (Linux), so none is left behind.

Owner and guard exchange lines of JSON. The owner sends a `Plan` first, then commands with a key `do`
(`run`, `halt`); the guard answers with a key `event` (`prepared`, `refused`, `running`, `halted`) and says
`exited` unasked. Passwords travel over these pipes only, never in arguments, which anybody can list.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TypedDict

Signals = list[tuple[int, float]]  # a signal, and the seconds to wait before the next one


class Plan(TypedDict):
    """What the guard is to set up."""

    home: str  # the folder with the log, the lock and the server's data
    temporary: bool  # remove home at the end
    account: tuple[int, int] | None  # uid and gid of the server, if not ours
    log: str
    copy_root: str  # a temporary folder for programs the account cannot reach where they are; "" for none
    copies: list[tuple[str, str]]
    initialise: list[list[str]]  # commands that fill an empty data folder: the first that succeeds
    password: str  # for new data
    password_file: str  # where existing data keep theirs; "" when it is not kept
    stop: Signals
    stop_with_guard: int  # the signal the kernel sends the server when the guard dies


ENVIRONMENT = {"PATH": "/usr/bin:/bin", "TZ": "UTC"}
DATA = "{data}"  # stands for the data folder in arguments
LAST_RESORT: Signals = [(signal.SIGKILL, 5.0)]
DESCENDANTS_PATIENCE_S = 2.0
REMOVAL_PATIENCE_S = 5.0
OWNER_CHECK_S = 1.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Ended(Exception):
    """The owner is gone, or we were told to end."""


class Refused(Exception):
    """The plan cannot be carried out."""


def searchable(folder: str, uid: int, gid: int) -> bool:
    """Tell by their modes whether an account without other groups may pass a folder and all above it."""
    folder = os.path.realpath(folder)
    while True:
        status = os.stat(folder)
        bit = 0o100 if status.st_uid == uid else 0o010 if status.st_gid == gid else 0o001
        if not status.st_mode & bit:
            return False
        if folder == os.path.dirname(folder):
            return True
        folder = os.path.dirname(folder)


def alive(pid: int) -> bool:
    """Tell whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Guard:
    """One server process with the folders it lives in."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.owner = os.getppid()
        self.unread = b""
        self.told_to_end = False
        self.child: subprocess.Popen[bytes] | None = None
        self.exit_unreported = False
        self.log = -1
        self.log_start = 0
        self.lock = -1
        self.temporary: list[str] = []
        self.account: tuple[int, int] | None = None
        self.stop: Signals = []
        self.stop_with_guard = signal.SIGTERM
        self.data = ""
        self.data_argument = ""
        self.pass_fds: tuple[int, ...] = ()
        self.prctl: Callable[..., int] | None = None
        if sys.platform == "linux":
            self.prctl = ctypes.CDLL(None).prctl
            self.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

        self.wake, wake_write = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self.note_end)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            # A handler rather than SIG_IGN, which the server would inherit.
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def note_end(self, *_: object) -> None:
        self.told_to_end = True

    # The owner.

    def tell(self, event: str, **facts: object) -> None:
        with contextlib.suppress(OSError):  # when the owner is gone, the end of our input says it too
            os.write(1, json.dumps({"event": event, **facts}).encode() + b"\n")

    def next_message(self) -> dict[str, Any]:
        while b"\n" not in self.unread:
            self.watch(OWNER_CHECK_S)
            if self.exit_unreported and self.child is not None and self.child.poll() is not None:
                self.exit_unreported = False
                self.tell("exited", status=self.child.returncode, log=self.log_tail())
        line, _, self.unread = self.unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def watch(self, timeout_s: float) -> None:
        """Wait for the owner, a signal, the end of a child, or the time."""
        ready, _, _ = select.select([0, self.wake], [], [], timeout_s)
        if self.wake in ready:
            os.read(self.wake, 4096)
        if 0 in ready:
            chunk = os.read(0, 65536)
            if not chunk:
                raise Ended
            self.unread += chunk
        if self.told_to_end or os.getppid() != self.owner:
            raise Ended

    # Setting up.

    def prepare(self, plan: Plan) -> str:
        """Make folders and data, and return the password of the data."""
        self.account = plan["account"]
        self.stop = plan["stop"]
        self.stop_with_guard = signal.Signals(plan["stop_with_guard"])
        home = plan["home"]
        if plan["temporary"] or not os.path.isdir(home):
            os.makedirs(home, exist_ok=not plan["temporary"])
            if plan["temporary"]:
                self.temporary.append(home)
            # The data folder below is closed to others; this one lets its owner pass.
            os.chmod(home, 0o711 if self.account else 0o700)
        self.take_lock(home)
        self.open_log(home, plan["log"])
        if plan["copy_root"]:
            self.copy_programs(plan["copy_root"], plan["copies"])
        return self.prepare_data(home, plan)

    def take_lock(self, home: str) -> None:
        """Hold the folder while we live; wait for a guard whose owner is gone, which is about to end."""
        self.lock = self.open_own(os.path.join(home, "lock"), os.O_RDWR | os.O_CREAT)
        while True:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = int(os.pread(self.lock, 20, 0) or b"0")
                if holder and alive(holder):
                    raise Refused(
                        f"{home} is in use by another live server, started by process {holder}"
                    ) from None
                self.watch(0.02)
            else:
                os.ftruncate(self.lock, 0)
                os.pwrite(self.lock, str(self.owner).encode(), 0)
                return

    def open_log(self, home: str, name: str) -> None:
        path = os.path.join(home, name)
        if os.path.exists(path):
            os.replace(path, path + ".1")
        self.log = self.open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(self.log, 2)

    def open_own(self, path: str, flags: int) -> int:
        """Open a private file that belongs to the owner of its folder, even when root made it."""
        descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:
            folder = os.stat(os.path.dirname(path))
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        return descriptor

    def copy_programs(self, root: str, copies: list[tuple[str, str]]) -> None:
        os.mkdir(root, 0o755)
        self.temporary.append(root)
        for source, target in copies:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            if os.path.isdir(source):
                unneeded = shutil.ignore_patterns("*.a", "pkgconfig", "man", "doc")
                shutil.copytree(source, target, ignore=unneeded)
            else:
                shutil.copy(source, target)
        for folder, _, files in os.walk(root):
            for path in (folder, *(os.path.join(folder, name) for name in files)):
                os.chmod(path, 0o755)  # noqa: S103  programs that anybody may install

    def prepare_data(self, home: str, plan: Plan) -> str:
        self.data = os.path.join(home, "data")
        password_file = plan["password_file"] and os.path.join(home, plan["password_file"])
        if os.path.isdir(self.data):
            self.use_data(self.data)
            return self.read_password(password_file) if password_file else plan["password"]

        # Data appear under their name when they are complete; what a kill left half made is made anew.
        unfinished = self.data + ".new"
        self.make_empty(unfinished)
        for number, command in enumerate(plan["initialise"], start=1):
            if self.initialise(unfinished, command, plan["password"]):
                break
            if number == len(plan["initialise"]):
                raise Refused("the data folder could not be made")
            self.make_empty(unfinished)
        if password_file:
            self.write_password(password_file, plan["password"])
        os.rename(unfinished, self.data)
        self.use_data(self.data)
        return plan["password"]

    def make_empty(self, folder: str) -> None:
        if os.path.lexists(folder):
            shutil.rmtree(folder)
        os.mkdir(folder, 0o700)
        if self.account:
            os.chown(folder, *self.account)

    def use_data(self, folder: str) -> None:
        """Name the folder for the server's arguments.

        Below a folder its account may not enter, the name is that of an inherited descriptor. It leads to the
        data and, with the folder around them closed, to nothing else.
        """
        for descriptor in self.pass_fds:
            os.close(descriptor)
        self.pass_fds = ()
        self.data_argument = folder
        uid, gid = self.account or (os.geteuid(), os.getegid())
        if os.stat(folder).st_uid != uid:
            raise Refused(f"{folder} belongs to another account")
        if self.account and not searchable(os.path.dirname(folder), uid, gid):
            if not os.path.isdir("/proc/self/fd"):
                raise Refused(f"{folder} cannot be reached by account {uid}, which runs the server")
            os.chmod(os.path.dirname(folder), 0o700)
            self.pass_fds = (os.open(folder, os.O_RDONLY | os.O_DIRECTORY),)
            self.data_argument = f"/proc/self/fd/{self.pass_fds[0]}"

    def initialise(self, folder: str, command: list[str], password: str) -> bool:
        self.use_data(folder)
        self.log_start = os.fstat(self.log).st_size
        child = self.start(command, password + "\n", cwd=folder)
        try:
            while child.poll() is None:
                self.watch(OWNER_CHECK_S)
        except Ended:
            # What it has made is not used, so it need not end well; on a busy machine that takes its time.
            self.end_child([])
            raise
        self.child = None
        return child.returncode == 0

    def read_password(self, path: str) -> str:
        try:
            with open(path, encoding="ascii") as file:
                return file.read().strip()
        except FileNotFoundError:
            raise Refused(f"{path}, the password of existing data, is missing") from None

    def write_password(self, path: str, password: str) -> None:
        descriptor = self.open_own(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(password + "\n")
            file.flush()
            os.fsync(descriptor)
        os.replace(path + ".new", path)

    # The server.

    def serve(self) -> None:
        while True:
            message = self.next_message()
            if message["do"] == "run":
                self.end_child(self.stop)  # one that was killed may still have descendants
                self.log_start = os.fstat(self.log).st_size
                child = self.start(message["argv"], message["input"], cwd=self.data)
                self.exit_unreported = True
                self.tell("running", pid=child.pid)
            elif message["do"] == "halt":
                self.end_child(message["signals"])
                self.tell("halted", log=self.log_tail())

    def start(self, command: list[str], text: str, cwd: str) -> "subprocess.Popen[bytes]":
        uid, gid = self.account or (None, None)
        argv = [part.replace(DATA, self.data_argument) for part in command]
        child = subprocess.Popen(  # noqa: S603  the command is our owner's
            argv,
            stdin=subprocess.PIPE if text else subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            cwd=cwd,  # entered before the change of account, so it need not be reachable
            env=ENVIRONMENT,
            user=uid,
            group=gid,
            extra_groups=[] if self.account else None,
            umask=0o077,
            pass_fds=self.pass_fds,
            preexec_fn=self.tie_to_guard,  # runs after the change of account, which would undo it
        )
        self.child = child
        if child.stdin is not None:
            if self.account:
                os.fchown(child.stdin.fileno(), *self.account)  # so that it can open /dev/stdin
            with contextlib.suppress(BrokenPipeError), child.stdin:  # it may end at once; its log says why
                child.stdin.write(text.encode())
        return child

    def tie_to_guard(self) -> None:
        if self.prctl is not None:
            self.prctl(PR_SET_PDEATHSIG, self.stop_with_guard, 0, 0, 0)
            if os.getppid() != self.pid:
                os._exit(1)

    def log_tail(self) -> str:
        """Return the last lines of the present run's log as one."""
        if self.log < 0:
            return ""
        size = os.fstat(self.log).st_size
        start = max(self.log_start, size - 4096)
        text = os.pread(self.log, size - start, start).decode(errors="replace")
        return " | ".join([line.strip() for line in text.splitlines() if line.strip()][-6:])

    # The end.

    def end_child(self, signals: Signals) -> None:
        if self.child is None:
            return
        for number, patience_s in [*signals, *LAST_RESORT]:
            if self.child.poll() is None:
                self.child.send_signal(number)
                self.child.send_signal(signal.SIGCONT)  # a suspended one would not notice
            if self.await_exit(patience_s):
                break
        self.await_descendants()
        self.child = None
        self.exit_unreported = False

    def await_exit(self, patience_s: float) -> bool:
        assert self.child is not None
        deadline = time.monotonic() + patience_s
        while self.child.poll() is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            self.await_signal(left_s)
        return True

    def await_descendants(self) -> None:
        """Wait until what the server left behind is gone too: its folders are about to be reused."""
        for attempt in (self.kill_descendants, None):
            deadline = time.monotonic() + DESCENDANTS_PATIENCE_S
            while time.monotonic() < deadline:
                try:
                    if os.waitpid(-1, os.WNOHANG)[0]:
                        continue
                except ChildProcessError:
                    return
                self.await_signal(0.1)
            if attempt is not None:
                attempt()

    def kill_descendants(self) -> None:
        with contextlib.suppress(OSError), open(f"/proc/self/task/{self.pid}/children") as file:
            for pid in file.read().split():
                os.kill(int(pid), signal.SIGKILL)

    def await_signal(self, timeout_s: float) -> None:
        if select.select([self.wake], [], [], timeout_s)[0]:
            os.read(self.wake, 4096)

    def end(self) -> None:
        try:
            self.end_child(self.stop)
        finally:
            deadline = time.monotonic() + REMOVAL_PATIENCE_S
            for folder in self.temporary:
                while os.path.lexists(folder) and time.monotonic() < deadline:
                    shutil.rmtree(folder, ignore_errors=True)
                    if os.path.lexists(folder):
                        time.sleep(0.05)


def main() -> None:
    guard = Guard()
    try:
        plan: Any = guard.next_message()
        guard.tell("prepared", password=guard.prepare(plan))
        guard.serve()
    except Ended:
        pass
    except (Refused, OSError, subprocess.SubprocessError) as reason:
        guard.tell("refused", reason=str(reason), log=guard.log_tail())
    finally:
        guard.end()


if __name__ == "__main__":
    main()
