"""What the settings of the real brokers have in common."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

POOL_SIZE = 10
SECRET_LENGTH_MIN = 32
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_POOL_MAX = 100


class BrokerSettingsError(Exception):
    """A variable is missing or wrong; the text is one line that names it and holds no secret."""


def required(environ: Mapping[str, str], name: str) -> str:
    if not (text := environ.get(name, "")):
        raise BrokerSettingsError(f"{name} is not set")
    return text


def word(name: str, text: str) -> str:
    # It becomes a part of a header.
    if not re.fullmatch(r"[!-~]*", text):
        raise BrokerSettingsError(f"{name} must be printable characters without a space")
    return text


def session_secrets(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Tokens are sealed with the first and opened with any."""
    secrets = tuple(each.strip() for each in required(environ, "BROKER_SESSION_SECRETS").split(","))
    if any(len(secret) < SECRET_LENGTH_MIN for secret in secrets):
        raise BrokerSettingsError(
            f"BROKER_SESSION_SECRETS must be secrets of at least {SECRET_LENGTH_MIN} characters"
        )
    return secrets


def pool_size(environ: Mapping[str, str], name: str) -> int:
    if not (text := environ.get(name, "")):
        return POOL_SIZE
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _POOL_MAX:
        raise BrokerSettingsError(f"{name} must be a whole number from 1 to {_POOL_MAX}")
    return int(text)


def base_url(environ: Mapping[str, str], name: str, default: str, scheme: str = "http") -> str:
    url = environ.get(name, "") or default
    if not is_base_url(url, scheme, loopback=True):
        raise BrokerSettingsError(
            f"{name} must be {scheme}s://host:port, and no more; {scheme}:// is for this machine only"
        )
    return url.rstrip("/")


def is_base_url(url: str, scheme: str = "http", *, loopback: bool) -> bool:
    """Whether it is scheme, host and port, as SDKs drop a path, and a password in the address would end up in
    messages. loopback: whether it may be unencrypted on this machine."""
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    if not good or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        return False
    if parts.scheme == f"{scheme}s":
        return True
    return loopback and parts.scheme == scheme and parts.hostname in LOOPBACK
