"""What the adapter is told, by the environment of whichever shell uses it."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

LOGIN_URL = "https://mis.kotaksecurities.com"
POOL_SIZE = 10
SECRET_LENGTH_MIN = 32
_POOL_MAX = 100
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class KotakSettingsError(Exception):
    """A variable is missing or wrong; the text is one line that names it and holds no secret."""


class ClientKind(StrEnum):
    SDK = "sdk"  # the broker's own
    REST = "rest"  # the same requests, by this package


class KotakSettings(Struct, frozen=True, kw_only=True):
    """Names and defaults are those of doc/guides/config.md.

    session_secrets: sessions are sealed with the first and opened with any.
    mobile_number, ucc, mpin, totp_seed: of the person; for logins only.
    unattended_login: whether a process may log in by itself, where there is no valid session.
    """

    access_token: str
    session_secrets: tuple[str, ...]
    mobile_number: str | None = None
    ucc: str | None = None
    mpin: str | None = None
    totp_seed: str | None = None
    unattended_login: bool = False
    client: ClientKind = ClientKind.SDK
    login_url: str = LOGIN_URL
    pool_size: int = POOL_SIZE

    def __repr__(self) -> str:
        return f"KotakSettings(client={self.client.value!r}, login_url={self.login_url!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


def read_kotak_settings(environ: Mapping[str, str]) -> KotakSettings:
    """Read and check the variables of the adapter.

    Raises:
        KotakSettingsError: one is missing or wrong.
    """
    secrets = tuple(each.strip() for each in _required(environ, "BROKER_SESSION_SECRETS").split(","))
    if any(len(secret) < SECRET_LENGTH_MIN for secret in secrets):
        raise KotakSettingsError(
            f"BROKER_SESSION_SECRETS must be secrets of at least {SECRET_LENGTH_MIN} characters"
        )
    settings = KotakSettings(
        access_token=_word("KOTAK_ACCESS_TOKEN", _required(environ, "KOTAK_ACCESS_TOKEN")),
        session_secrets=secrets,
        mobile_number=_optional(environ, "KOTAK_MOBILE_NUMBER", check_mobile_number),
        ucc=_optional(environ, "KOTAK_UCC", check_ucc),
        mpin=_optional(environ, "KOTAK_MPIN", check_mpin),
        totp_seed=_optional(environ, "KOTAK_TOTP_SEED", check_totp_seed),
        unattended_login=_yes_or_no(environ, "KOTAK_UNATTENDED_LOGIN"),
        client=_client(environ.get("KOTAK_CLIENT", "")),
        login_url=_url(environ.get("KOTAK_LOGIN_URL", "")),
        pool_size=_pool_size(environ.get("KOTAK_POOL_SIZE", "")),
    )
    if settings.unattended_login:
        for name in ("mobile_number", "ucc", "mpin", "totp_seed"):
            if getattr(settings, name) is None:
                raise KotakSettingsError(
                    f"KOTAK_{name.upper()} is not set, and KOTAK_UNATTENDED_LOGIN needs it"
                )
    return settings


# What a person types is checked by the same rules as what the environment says. They raise ValueError.


def check_mobile_number(text: str) -> str:
    if re.fullmatch(r"\+\d{10,14}", text) is None:
        raise ValueError("must be + with the country's and the number's digits, such as +919876543210")
    return text


def check_ucc(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9]{1,16}", text) is None:
        raise ValueError("must be letters and digits")
    return text


def check_mpin(text: str) -> str:
    if re.fullmatch(r"\d{4,8}", text, re.ASCII) is None:
        raise ValueError("must be digits")
    return text


def check_totp_seed(text: str) -> str:
    seed = text.replace(" ", "").upper()
    if re.fullmatch(r"[A-Z2-7]{16,128}=*", seed) is None:
        raise ValueError("must be the letters A-Z and digits 2-7 that the authenticator is set up with")
    return seed


def _required(environ: Mapping[str, str], name: str) -> str:
    text = environ.get(name, "")
    if not text:
        raise KotakSettingsError(f"{name} is not set")
    return text


def _optional(environ: Mapping[str, str], name: str, check: Any) -> str | None:
    text = environ.get(name, "")
    if not text:
        return None
    try:
        return str(check(text))
    except ValueError as error:
        raise KotakSettingsError(f"{name} {error}") from None


def _word(name: str, text: str) -> str:
    # It becomes a part of a header.
    if not re.fullmatch(r"[!-~]*", text):
        raise KotakSettingsError(f"{name} must be printable characters without a space")
    return text


def _yes_or_no(environ: Mapping[str, str], name: str) -> bool:
    match environ.get(name, ""):
        case "" | "no":
            return False
        case "yes":
            return True
    raise KotakSettingsError(f"{name} must be yes or no")


def _client(text: str) -> ClientKind:
    try:
        return ClientKind(text or "sdk")
    except ValueError:
        raise KotakSettingsError("KOTAK_CLIENT must be sdk or rest") from None


def _url(text: str) -> str:
    url = text or LOGIN_URL
    if not is_base_url(url, loopback=True):
        raise KotakSettingsError(
            "KOTAK_LOGIN_URL must be https://host:port, and no more; http:// is for this machine only"
        )
    return url.rstrip("/")


def is_base_url(url: str, *, loopback: bool) -> bool:
    """Whether it is scheme, host and port. loopback: whether it may be plain http on this machine."""
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    if not good or parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (loopback and parts.scheme == "http" and parts.hostname in LOOPBACK)


def _pool_size(text: str) -> int:
    if not text:
        return POOL_SIZE
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _POOL_MAX:
        raise KotakSettingsError(f"KOTAK_POOL_SIZE must be a whole number from 1 to {_POOL_MAX}")
    return int(text)
