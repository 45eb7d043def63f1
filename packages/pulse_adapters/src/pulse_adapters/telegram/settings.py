"""What the adapter is told, by the environment of whichever shell uses it."""

import re
from collections.abc import Mapping
from datetime import time
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

API_URL = "https://api.telegram.org"
PULSE_URL = "http://127.0.0.1:8001"
SUMMARY_AT = "15:45"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TOKEN_LENGTH_MIN = 16


class TelegramSettingsError(Exception):
    """A variable is missing or wrong; the text is one line that names it and holds no secret."""


class TelegramSettings(Struct, frozen=True, kw_only=True):
    """Names and defaults are those of doc/guides/config.md.

    chat_ids: who is told, and heard. summary_at: Indian time; None for no summary.
    pulse_url, service_token: the order API, which commands call.
    """

    bot_token: str
    chat_ids: tuple[int, ...]
    service_token: str
    api_url: str = API_URL
    pulse_url: str = PULSE_URL
    summary_at: time | None = time(15, 45)

    def __repr__(self) -> str:
        return f"TelegramSettings(api_url={self.api_url!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


def read_telegram_settings(environ: Mapping[str, str]) -> TelegramSettings:
    """Read and check the variables of the adapter.

    Raises:
        TelegramSettingsError: one is missing or wrong.
    """
    return TelegramSettings(
        bot_token=_bot_token(environ),
        chat_ids=_chat_ids(environ),
        service_token=_service_token(environ),
        api_url=_url(environ, "TELEGRAM_API_URL", API_URL),
        pulse_url=_pulse_url(environ),
        summary_at=_summary_at(environ),
    )


def _required(environ: Mapping[str, str], name: str) -> str:
    if not (text := environ.get(name, "")):
        raise TelegramSettingsError(f"{name} is not set")
    return text


def _bot_token(environ: Mapping[str, str]) -> str:
    token = _required(environ, "TELEGRAM_BOT_TOKEN")
    # It becomes a part of an address.
    if re.fullmatch(r"[0-9]{1,20}:[A-Za-z0-9_-]{20,100}", token) is None:
        raise TelegramSettingsError(
            "TELEGRAM_BOT_TOKEN must be a number, a colon and a key, as BotFather gives it"
        )
    return token


def _chat_ids(environ: Mapping[str, str]) -> tuple[int, ...]:
    parts = [part.strip() for part in _required(environ, "TELEGRAM_CHAT_IDS").split(",")]
    if any(re.fullmatch(r"-?[1-9][0-9]{0,17}", part) is None for part in parts):
        raise TelegramSettingsError("TELEGRAM_CHAT_IDS must be numbers of chats, separated by commas")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _service_token(environ: Mapping[str, str]) -> str:
    token = _required(environ, "PULSE_SERVICE_TOKEN")
    if re.fullmatch(rf"[!-~]{{{_TOKEN_LENGTH_MIN},}}", token) is None:
        raise TelegramSettingsError(
            f"PULSE_SERVICE_TOKEN must have at least {_TOKEN_LENGTH_MIN} printable characters and no space"
        )
    return token


def _pulse_url(environ: Mapping[str, str]) -> str:
    text = environ.get("PULSE_URL", "") or PULSE_URL
    if text.startswith("unix:/"):
        return text
    if not _is_base_url(text):
        raise TelegramSettingsError("PULSE_URL must be http://host:port or unix:/path, and no more")
    return text.rstrip("/")


def _url(environ: Mapping[str, str], name: str, default: str) -> str:
    url = environ.get(name, "") or default
    host = urlsplit(url).hostname if _is_base_url(url) else None
    # The bot's token is in the address of every request.
    if host is None or not (url.startswith("https://") or host in _LOOPBACK):
        raise TelegramSettingsError(
            f"{name} must be https://host:port, and no more; http:// is for this machine only"
        )
    return url.rstrip("/")


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    extra = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    return good and not extra and url.isprintable()


def _summary_at(environ: Mapping[str, str]) -> time | None:
    text = environ.get("TELEGRAM_SUMMARY_AT", "") or SUMMARY_AT
    if text == "never":
        return None
    if re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text) is None:
        raise TelegramSettingsError("TELEGRAM_SUMMARY_AT must be a time such as 15:45, or never")
    return time.fromisoformat(text)
