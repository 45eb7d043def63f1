"""What the adapter is told, by the environment of whichever shell uses it."""

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from pulse_adapters.zerodha.protection import AUTOMATIC, OWN_LIMIT, Protection

BASE_URL = "https://api.kite.trade"
TICKER_URL = "wss://ws.kite.trade"
POOL_SIZE = 10
SECRET_LENGTH_MIN = 32
_POOL_MAX = 100
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ZerodhaSettingsError(Exception):
    """A variable is missing or wrong; the text is one line that names it and holds no secret."""


class ZerodhaSettings(Struct, frozen=True, kw_only=True):
    """Names and defaults are those of doc/guides/config.md.

    session_secrets: access tokens are sealed with the first and opened with any.
    access_token: used while no session is stored that is still valid.
    """

    api_key: str
    api_secret: str
    session_secrets: tuple[str, ...]
    access_token: str | None = None
    base_url: str = BASE_URL
    ticker_url: str = TICKER_URL
    pool_size: int = POOL_SIZE
    market_protection: Protection = AUTOMATIC

    def __repr__(self) -> str:
        return f"ZerodhaSettings(base_url={self.base_url!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


def read_zerodha_settings(environ: Mapping[str, str]) -> ZerodhaSettings:
    """Read and check the variables of the adapter.

    Raises:
        ZerodhaSettingsError: one is missing or wrong.
    """
    secrets = tuple(each.strip() for each in _required(environ, "BROKER_SESSION_SECRETS").split(","))
    if any(len(secret) < SECRET_LENGTH_MIN for secret in secrets):
        raise ZerodhaSettingsError(
            f"BROKER_SESSION_SECRETS must be secrets of at least {SECRET_LENGTH_MIN} characters"
        )
    return ZerodhaSettings(
        api_key=_word("ZERODHA_API_KEY", _required(environ, "ZERODHA_API_KEY")),
        api_secret=_word("ZERODHA_API_SECRET", _required(environ, "ZERODHA_API_SECRET")),
        session_secrets=secrets,
        access_token=_word("ZERODHA_ACCESS_TOKEN", environ.get("ZERODHA_ACCESS_TOKEN", "")) or None,
        base_url=_url(environ, "ZERODHA_BASE_URL", BASE_URL, "http"),
        ticker_url=_url(environ, "ZERODHA_TICKER_URL", TICKER_URL, "ws"),
        pool_size=_pool_size(environ.get("ZERODHA_POOL_SIZE", "")),
        market_protection=_protection(environ.get("ZERODHA_MARKET_PROTECTION", "")),
    )


def _required(environ: Mapping[str, str], name: str) -> str:
    text = environ.get(name, "")
    if not text:
        raise ZerodhaSettingsError(f"{name} is not set")
    return text


def _word(name: str, text: str) -> str:
    # It becomes a part of a header.
    if not re.fullmatch(r"[!-~]*", text):
        raise ZerodhaSettingsError(f"{name} must be printable characters without a space")
    return text


def _url(environ: Mapping[str, str], name: str, default: str, scheme: str) -> str:
    url = environ.get(name, "") or default
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    # The SDK drops a path, and a password in the address would end up in messages.
    if not good or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ZerodhaSettingsError(f"{name} must be {scheme}s://host:port, and no more")
    if parts.scheme != f"{scheme}s" and not (parts.scheme == scheme and parts.hostname in _LOOPBACK):
        raise ZerodhaSettingsError(f"{name} must begin with {scheme}s://; {scheme}:// is for this machine only")
    return url.rstrip("/")


def _pool_size(text: str) -> int:
    if not text:
        return POOL_SIZE
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _POOL_MAX:
        raise ZerodhaSettingsError(f"ZERODHA_POOL_SIZE must be a whole number from 1 to {_POOL_MAX}")
    return int(text)


def _protection(text: str) -> Protection:
    match text:
        case "" | "automatic":
            return AUTOMATIC
        case "limit":
            return OWN_LIMIT
    try:
        percent = Decimal(text)
    except InvalidOperation:
        percent = Decimal("NaN")
    if not percent.is_finite() or not 0 < percent <= 100:
        raise ZerodhaSettingsError(
            "ZERODHA_MARKET_PROTECTION must be automatic, limit, or a percentage above 0 and up to 100"
        )
    return Protection(percent=percent)
