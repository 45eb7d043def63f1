"""Whom a server runs as: Postgres refuses root, and Redis has no need of it."""

import os
import pwd
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pulse_adapters.embedded.errors import EmbeddedServerError
from pulse_adapters.embedded.guard import searchable

_PREFERRED = ("nobody", "postgres", "daemon")


@dataclass(frozen=True, slots=True)
class Account:
    """An unprivileged account of the passwd file; Postgres refuses a number without an entry there."""

    name: str
    uid: int
    gid: int

    def can_run(self, program: Path) -> bool:
        """Tell by trying whether the account reaches the program and the libraries it loads."""
        try:
            answer = subprocess.run(  # noqa: S603  the program is the one of the wheel
                [program, "--version"],
                user=self.uid,
                group=self.gid,
                extra_groups=[],
                cwd="/",
                env={"PATH": "/usr/bin:/bin"},
                capture_output=True,
                timeout=30,
                check=False,
            )
        except OSError:
            return False
        return answer.returncode == 0

    def reachable_folder(self) -> Path:
        """Find a folder for programs that the account cannot reach where they are installed."""
        for folder in dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp", "/var/lib")):  # noqa: S108  names inside are random
            if os.access(folder, os.W_OK) and searchable(folder, self.uid, self.gid):
                return Path(folder)
        raise EmbeddedServerError(f"no folder for temporary files can be reached by the account {self.name}")


def server_account(data: Path) -> Account | None:
    """Choose the account for a server: None for the own one, another only when we are root.

    Existing data stay with the account they belong to.
    """
    if os.geteuid() != 0:
        return None
    owner = data.stat().st_uid if data.exists() else 0
    entries = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid > 0 and entry.pw_gid > 0}
    if owner:
        candidates = [entry for entry in entries.values() if entry.pw_uid == owner]
    else:
        candidates = [entries[name] for name in _PREFERRED if name in entries] or list(entries.values())
    if not candidates:
        whom = f"account {owner}, the owner of {data}" if owner else "an unprivileged account"
        raise EmbeddedServerError(f"a server does not run as root, and the passwd file does not list {whom}")
    return Account(candidates[0].pw_name, candidates[0].pw_uid, candidates[0].pw_gid)
