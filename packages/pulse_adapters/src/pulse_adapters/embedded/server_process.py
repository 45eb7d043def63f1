"""The owner's side of a guarded server: start, halt, resume and stop it through the guard."""

import json
import os
import secrets
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from pulse_adapters.embedded import guard
from pulse_adapters.embedded.errors import EmbeddedServerError

HOST = "127.0.0.1"
_PREPARE_TIMEOUT_S = 90.0  # a slow disk under initdb, or the previous server still writing its last checkpoint
_READY_TIMEOUT_S = 60.0  # covers the recovery of a large database
_STOP_TIMEOUT_S = 75.0  # longer than all the guard's own time-outs together
_PORT_ATTEMPTS = 3
_SAME_PORT_PATIENCE_S = 3.0
_KILLED_PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of a server: `data`, its log, and a lock."""

    folder: Path
    temporary: bool

    @classmethod
    def choose(cls, folder: Path | None, name: str) -> "Home":
        """Take the given folder, or the name of a new temporary one, which the guard makes and removes."""
        if folder is not None:
            return cls(Path(os.path.abspath(folder)), temporary=False)
        unique = f"pulse-{name.lower()}-{secrets.token_hex(8)}"
        return cls(Path(tempfile.gettempdir()).resolve() / unique, temporary=True)

    @property
    def data(self) -> Path:
        return self.folder / "data"


class Recipe(Protocol):
    """What differs between servers."""

    name: str

    def plan(self) -> guard.Plan:
        """Say what the guard sets up; called once."""

    def command(self, port: int, password: str) -> tuple[list[str], str]:
        """Return the arguments and the standard input of the server."""

    def before_run(self) -> None:
        """Clear what would keep the server from starting."""

    def is_ready(self, pid: int) -> bool:
        """Tell whether that process accepts connections."""


class ServerProcess:
    """A server under guard, on one port of the loopback interface from start to stop."""

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._owner = os.getpid()
        self._unread = b""
        self._password = ""
        self.log_name = ""
        self.port = 0
        self.pid: int | None = None
        self._temporary: list[str] = []
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, port: int | None) -> str:
        """Start the guard and the server, and return the password of its data.

        Raises:
            EmbeddedServerError: it cannot be started; nothing of it is left.
        """
        try:
            self._start_guard()
            self._start_on(port)
        except BaseException:
            self.stop()
            raise
        return self._password

    def _start_guard(self) -> None:
        plan = self._recipe.plan()
        self._password = plan["password"]
        self.log_name = plan["log"]
        self._temporary = [plan["home"]] if plan["temporary"] else []
        self._temporary += [plan["copy_root"]] if plan["copy_root"] else []
        self._guard = subprocess.Popen(  # noqa: S603  our own script
            [sys.executable, "-I", "-S", guard.__file__, self._recipe.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # until it has opened the log
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
        self._send(dict(plan))
        answer = self._receive("prepared", timeout_s=_PREPARE_TIMEOUT_S)
        self._password = answer["password"]

    def _start_on(self, port: int | None) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.port = port or _free_port()
            try:
                self._run()
            except _PortTaken:
                if port is not None or attempt == _PORT_ATTEMPTS:
                    raise
            else:
                return

    def halt(self, signals: guard.Signals) -> None:
        """End the server and keep everything else, so that `resume` goes on with port and data."""
        self._send({"do": "halt", "signals": signals})
        self._receive("halted", timeout_s=_STOP_TIMEOUT_S)
        self.pid = None

    def resume(self) -> None:
        """Run the server again after `halt`, or after it ended by itself."""
        deadline = time.monotonic() + _SAME_PORT_PATIENCE_S
        while True:
            try:
                self._run()
            except _PortTaken:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def _run(self) -> None:
        """Run the server; one before it that was killed may need a moment to be gone altogether."""
        deadline = time.monotonic() + _KILLED_PATIENCE_S
        while True:
            try:
                self._run_once()
            except _StillEnding:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def _run_once(self) -> None:
        self._recipe.before_run()
        argv, text = self._recipe.command(self.port, self._password)
        self._send({"do": "run", "argv": argv, "input": text})
        pid: int = self._receive("running", timeout_s=30.0)["pid"]
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._recipe.is_ready(pid):
            message = self._next_message(time.monotonic() + 0.005)
            if message is not None and message["event"] == "exited":
                self._raise_exited(message)
            if time.monotonic() > deadline:
                self._send({"do": "halt", "signals": []})
                log = self._receive("halted", timeout_s=_STOP_TIMEOUT_S)["log"]
                raise self._error(f"was not ready after {_READY_TIMEOUT_S:.0f} s", log)
        self.pid = pid

    def _raise_exited(self, message: dict[str, Any]) -> None:
        log = message["log"]
        if "Address already in use" in log:
            raise _PortTaken(f"{self._recipe.name}: port {self.port} of {HOST} is taken")
        if "pre-existing shared memory block" in log:
            raise _StillEnding(f"{self._recipe.name}: processes of a killed server still use the data")
        raise self._error(f"ended with status {message['status']} instead of starting", log)

    def stop(self) -> None:
        """End server and guard and remove what is temporary; safe to repeat.

        A fork of the owner only lets go of it.
        """
        running, self._guard, self.pid = self._guard, None, None
        if running is None:
            return
        assert running.stdin is not None
        assert running.stdout is not None
        with running.stdout:
            running.stdin.close()  # the guard takes it from here, even if the wait below is interrupted
            if os.getpid() != self._owner:
                running.returncode = 0  # not our child
                return
            try:
                running.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                running.kill()  # which ends the server, by the kernel
                running.wait()
        if running.returncode:
            self._remove_temporary()

    def _remove_temporary(self) -> None:
        """Do it for a guard that was killed, while the server may still be on its way out."""
        deadline = time.monotonic() + guard.REMOVAL_PATIENCE_S
        for folder in self._temporary:
            while os.path.lexists(folder) and time.monotonic() < deadline:
                shutil.rmtree(folder, ignore_errors=True)
                time.sleep(0.05)

    # Messages.

    def _send(self, message: dict[str, Any]) -> None:
        if self._guard is None:
            raise EmbeddedServerError(f"{self._recipe.name} is stopped")
        assert self._guard.stdin is not None
        try:
            self._guard.stdin.write(json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            raise EmbeddedServerError(f"{self._recipe.name}: its guard process has ended") from None

    def _receive(self, event: str, *, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._next_message(deadline)
            if message is None:
                raise EmbeddedServerError(f"{self._recipe.name}: no answer within {timeout_s:.0f} s")
            if message["event"] == "refused":
                raise self._error(f"cannot start: {message['reason']}", message["log"])
            if message["event"] == event:
                return message

    def _next_message(self, deadline: float) -> dict[str, Any] | None:
        assert self._guard is not None
        assert self._guard.stdout is not None
        with selectors.DefaultSelector() as selector:  # select() itself fails in a process with 1024 files
            selector.register(self._guard.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                chunk = os.read(self._guard.stdout.fileno(), 65536)
                if not chunk:
                    raise EmbeddedServerError(f"{self._recipe.name}: its guard process has ended")
                self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def _error(self, what: str, log: str) -> EmbeddedServerError:
        text = f"{self._recipe.name} {what}" + (f": {log}" if log else "")
        return EmbeddedServerError(text.replace(self._password, "***") if self._password else text)


class EmbeddedServer:
    """What the servers have in common."""

    def __init__(self, process: ServerProcess, home: Home, password: str) -> None:
        self._process = process
        self._home = home
        self._password = password

    @property
    def port(self) -> int:
        return self._process.port

    @property
    def pid(self) -> int | None:
        """The process id of the server, None while it is halted or stopped."""
        return self._process.pid

    @property
    def log_file(self) -> Path:
        return self._home.folder / self._process.log_name

    def resume(self) -> None:
        """Run the server again on its port, after `halt` or after it was killed."""
        self._process.resume()

    def stop(self) -> None:
        """End the server, and remove its folder if that is temporary; safe to repeat."""
        self._process.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(port={self.port}, pid={self.pid}, folder={str(self._home.folder)!r})"


class _PortTaken(EmbeddedServerError):
    pass


class _StillEnding(EmbeddedServerError):
    pass


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
