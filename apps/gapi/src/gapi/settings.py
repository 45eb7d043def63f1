"""What the environment says, read once into a frozen value. Secrets are in no repr and in no error."""

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from gapi.orders import SplitConfig

_SECRET_CHARS_MIN = 16
_JWT_SECRET_BYTES_MIN = 32
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class SettingsError(Exception):
    """A variable is missing or wrong: one line that names it."""


class _Quiet(Struct, frozen=True, kw_only=True):
    """Shows no field; a Struct of its own would show them all."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Hook(_Quiet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A webhook: whoever knows `secret` sends orders as `client_id`."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]
    client_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,64}\Z")]
    # It is also a part of an address, and compared with one.
    secret: Annotated[str, Meta(pattern=r"^[!-~]{16,256}\Z")]
    default_split: SplitConfig | None = None


class Settings(_Quiet, frozen=True, kw_only=True):
    """pulse_url: `http://host:port`, or `unix:/path/to.sock`."""

    host: str
    port: int
    pulse_url: str
    pulse_timeout_s: float
    pulse_connections: int
    service_token: str
    jwt_secrets: tuple[str, ...]
    hooks: tuple[Hook, ...]
    log_level: str
    graceful_shutdown_s: int

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        """Read and check the variables; an empty one counts as absent.

        Raises:
            SettingsError: one is missing or wrong.
        """
        return cls(
            host=environ.get("GAPI_HOST") or "127.0.0.1",
            port=_whole(environ, "GAPI_PORT", 8000, 0, 65535),
            pulse_url=_pulse_url(environ, "PULSE_URL"),
            pulse_timeout_s=_seconds(environ, "GAPI_PULSE_TIMEOUT_SECONDS", 5, 0.1, 60),
            pulse_connections=_whole(environ, "GAPI_PULSE_CONNECTIONS", 64, 1, 10_000),
            service_token=_service_token(environ, "PULSE_SERVICE_TOKEN"),
            jwt_secrets=_jwt_secrets(environ, "GAPI_JWT_SECRETS"),
            hooks=_hooks(environ, "GAPI_WEBHOOK_HOOKS"),
            log_level=_log_level(environ, "LOG_LEVEL"),
            graceful_shutdown_s=_whole(environ, "GRACEFUL_SHUTDOWN_SECONDS", 10, 0, 600),
        )


def _required(environ: Mapping[str, str], name: str) -> str:
    text = environ.get(name, "")
    if not text:
        raise SettingsError(f"{name} is not set")
    return text


def _whole(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = environ.get(name) or str(default)
    if re.fullmatch(r"[0-9]{1,9}", text) is None or not low <= int(text) <= high:
        raise SettingsError(f"{name} must be a whole number from {low} to {high}")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = environ.get(name) or str(default)
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) is None or not low <= float(text) <= high:
        raise SettingsError(f"{name} must be a number of seconds from {low} to {high}")
    return float(text)


def _pulse_url(environ: Mapping[str, str], name: str) -> str:
    text = environ.get(name) or "http://127.0.0.1:8001"
    if text.startswith("unix:/"):
        return text
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or "@" in parts.netloc or not text.isprintable():
        raise SettingsError(f"{name} must be http://host:port or unix:/path, and no more")
    return text.rstrip("/")


def _service_token(environ: Mapping[str, str], name: str) -> str:
    token = _required(environ, name)
    if re.fullmatch(rf"[!-~]{{{_SECRET_CHARS_MIN},}}", token) is None:
        raise SettingsError(f"{name} must have at least {_SECRET_CHARS_MIN} printable characters and no space")
    return token


def _jwt_secrets(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    secrets = tuple(secret.strip() for secret in _required(environ, name).split(","))
    for secret in secrets:
        # What is not UTF-8 arrives from the environment as lone surrogates.
        if not _is_text(secret) or len(secret.encode()) < _JWT_SECRET_BYTES_MIN:
            raise SettingsError(
                f"{name} must be secrets of at least {_JWT_SECRET_BYTES_MIN} bytes, separated by commas"
            )
    return secrets


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hooks(environ: Mapping[str, str], name: str) -> tuple[Hook, ...]:
    text = environ.get(name) or "[]"
    try:
        hooks = msgspec.json.decode(text.encode("utf-8", "replace"), type=tuple[Hook, ...])
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        if "unknown field" in problem:  # the only problem that quotes what was given, and that may be a secret
            problem = "unknown field"
        raise SettingsError(f"{name} at {place or '`$`'}: {problem}") from None
    except msgspec.DecodeError:
        raise SettingsError(f"{name} must be a JSON list of hooks") from None
    if len({hook.secret for hook in hooks}) < len(hooks):
        raise SettingsError(f"{name} must give each hook a secret of its own")
    return hooks


def _log_level(environ: Mapping[str, str], name: str) -> str:
    level = (environ.get(name) or "INFO").upper()
    if level not in _LOG_LEVELS:
        raise SettingsError(f"{name} must be one of {', '.join(_LOG_LEVELS)}")
    return level
