"""The state folder of the all-in-one: its secrets, its data, and where it listens.

The folder lets other users pass through and no more, since the data of Postgres below it belongs to
another user where we are root. What is secret is in files that their owner alone can read.
"""

import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from pulse.errors import StateError

_SECRETS = "secrets.json"
_ENDPOINT = "endpoint.json"
_FOLDER_MODE = 0o711
_TRAVERSE = 0o011
_OTHERS_WRITE = 0o002


class Secrets(Struct, frozen=True, kw_only=True):
    """What the services of one installation share; shown nowhere."""

    jwt_secret: Annotated[str, Meta(min_length=32)]
    service_token: Annotated[str, Meta(min_length=16)]
    webhook_secret: Annotated[str, Meta(min_length=16)]

    def __repr__(self) -> str:
        return "Secrets(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


class Endpoint(Struct, frozen=True, kw_only=True):
    """Where the running all-in-one takes requests; `order_api`: from this machine only."""

    base_url: str
    order_api: str | None = None


def state_folder(environ: Mapping[str, str], *, root: bool | None = None) -> Path:
    """Say where the state is: `PULSE_STATE_DIR`, else the place that the system has for it.

    Raises:
        StateError: the user has no home folder.
    """
    if given := environ.get("PULSE_STATE_DIR"):
        return Path(given).absolute()
    if os.geteuid() == 0 if root is None else root:
        return Path("/var/lib/pulse")
    base = Path(environ.get("XDG_STATE_HOME", ""))
    if base.is_absolute():  # a relative one is to be ignored, says the standard
        return base / "pulse"
    try:
        return Path(environ.get("HOME") or Path.home()) / ".local" / "state" / "pulse"
    except RuntimeError:
        raise StateError("no home folder: set PULSE_STATE_DIR to a folder for the state") from None


def load_or_create_secrets(folder: Path) -> Secrets:
    """Read the secrets; where there are none, make them, and the folder.

    Of several processes that do so at once, all get the same ones.

    Raises:
        StateError: the folder or the file cannot be used, or others may read the file.
    """
    path = folder / _SECRETS
    try:
        _make_folder(folder)
        found = load_secrets(folder)
        if found is None:
            made = Secrets(**{name: secrets.token_urlsafe(32) for name in Secrets.__struct_fields__})
            _write_once(path, msgspec.json.encode(made))
            found = load_secrets(folder)
    except OSError as error:
        raise StateError(f"cannot use the state folder {folder}: {error.strerror}") from None
    if found is None:
        raise StateError(f"{path} vanished while it was being made")
    return found


def load_secrets(folder: Path) -> Secrets | None:
    """Read the secrets; None where there are none.

    Raises:
        StateError: the file cannot be read, is broken, or others may read it.
    """
    path = folder / _SECRETS
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise StateError(f"{path} is open to other users (mode {mode:04o}): chmod 600 it, or remove it")
            return msgspec.json.decode(file.read(), type=Secrets)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}") from None
    except msgspec.DecodeError:
        raise StateError(f"{path} is broken: remove it, and new secrets are made") from None


def write_endpoint(folder: Path, base_url: str, order_api: str) -> None:
    """Tell the command line where the all-in-one listens. Raises: StateError."""
    endpoint = Endpoint(base_url=base_url, order_api=order_api)
    try:
        replace_file(folder / _ENDPOINT, msgspec.json.encode(endpoint), 0o644)
    except OSError as error:
        raise StateError(f"cannot write {folder / _ENDPOINT}: {error.strerror}") from None


def read_endpoint(folder: Path) -> Endpoint | None:
    """Give the addresses of the running all-in-one; None where none has said so, or not to us.

    Raises:
        StateError: the file is broken.
    """
    path = folder / _ENDPOINT
    try:
        return msgspec.json.decode(path.read_bytes(), type=Endpoint)
    except OSError:
        return None
    except msgspec.DecodeError:
        raise StateError(f"{path} is broken: remove it, and start `pulse up` again") from None


def remove_endpoint(folder: Path, base_url: str) -> None:
    """Take back what `write_endpoint` said, unless another all-in-one has spoken since."""
    with suppress(StateError, OSError):
        found = read_endpoint(folder)
        if found is not None and found.base_url == base_url:
            (folder / _ENDPOINT).unlink()


def reachable_url(host: str, port: int) -> str:
    """Give the URL under which a server that is bound to an address can be reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104  # binds nothing
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        found = folder.stat()
        mode = stat.S_IMODE(found.st_mode)
        if mode & _OTHERS_WRITE and not mode & stat.S_ISVTX:
            # They could put secrets of their own in place of ours.
            raise StateError(
                f"the state folder {folder} is writable by other users (mode {mode:04o})"
            ) from None
        if os.geteuid() == 0 and mode & _TRAVERSE != _TRAVERSE:
            folder.chmod(mode | _TRAVERSE)
    else:
        folder.chmod(_FOLDER_MODE)  # whatever the umask


def _write_once(path: Path, content: bytes) -> None:
    """Give `path` its content unless it exists; nobody ever sees a part of it."""
    draft = _draft(path, content, 0o600)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:
        draft.replace(path)  # a file system without hard links
    finally:
        draft.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes, mode: int) -> None:
    """Give `path` new content; nobody ever sees a part of it. Raises: OSError."""
    draft = _draft(path, content, mode)
    try:
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _draft(path: Path, content: bytes, mode: int) -> Path:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft
