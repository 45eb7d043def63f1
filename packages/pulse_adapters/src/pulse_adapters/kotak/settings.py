"""What the adapter is told, by the environment of whichever shell uses it."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from pulse_adapters.real_broker.settings import (
    POOL_SIZE,
    BrokerSettingsError,
    base_url,
    pool_size,
    required,
    session_secrets,
    word,
)

LOGIN_URL = "https://mis.kotaksecurities.com"


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
    login_url: str = LOGIN_URL
    pool_size: int = POOL_SIZE

    def __repr__(self) -> str:
        return f"KotakSettings(login_url={self.login_url!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


def read_kotak_settings(environ: Mapping[str, str]) -> KotakSettings:
    """Read and check the variables of the adapter.

    Raises:
        BrokerSettingsError: one is missing or wrong.
    """
    settings = KotakSettings(
        access_token=word("KOTAK_ACCESS_TOKEN", required(environ, "KOTAK_ACCESS_TOKEN")),
        session_secrets=session_secrets(environ),
        mobile_number=_optional(environ, "KOTAK_MOBILE_NUMBER", check_mobile_number),
        ucc=_optional(environ, "KOTAK_UCC", check_ucc),
        mpin=_optional(environ, "KOTAK_MPIN", check_mpin),
        totp_seed=_optional(environ, "KOTAK_TOTP_SEED", check_totp_seed),
        unattended_login=_yes_or_no(environ, "KOTAK_UNATTENDED_LOGIN"),
        login_url=base_url(environ, "KOTAK_LOGIN_URL", LOGIN_URL),
        pool_size=pool_size(environ, "KOTAK_POOL_SIZE"),
    )
    if settings.unattended_login:
        for name in ("mobile_number", "ucc", "mpin", "totp_seed"):
            if getattr(settings, name) is None:
                raise BrokerSettingsError(
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


def _optional(environ: Mapping[str, str], name: str, check: Any) -> str | None:
    text = environ.get(name, "")
    if not text:
        return None
    try:
        return str(check(text))
    except ValueError as error:
        raise BrokerSettingsError(f"{name} {error}") from None


def _yes_or_no(environ: Mapping[str, str], name: str) -> bool:
    match environ.get(name, ""):
        case "" | "no":
            return False
        case "yes":
            return True
    raise BrokerSettingsError(f"{name} must be yes or no")
