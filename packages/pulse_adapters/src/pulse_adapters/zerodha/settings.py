"""What the adapter is told, by the environment of whichever shell uses it."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
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
from pulse_adapters.zerodha.protection import AUTOMATIC, OWN_LIMIT, Protection

BASE_URL = "https://api.kite.trade"
TICKER_URL = "wss://ws.kite.trade"


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
        BrokerSettingsError: one is missing or wrong.
    """
    return ZerodhaSettings(
        api_key=word("ZERODHA_API_KEY", required(environ, "ZERODHA_API_KEY")),
        api_secret=word("ZERODHA_API_SECRET", required(environ, "ZERODHA_API_SECRET")),
        session_secrets=session_secrets(environ),
        access_token=word("ZERODHA_ACCESS_TOKEN", environ.get("ZERODHA_ACCESS_TOKEN", "")) or None,
        base_url=base_url(environ, "ZERODHA_BASE_URL", BASE_URL),
        ticker_url=base_url(environ, "ZERODHA_TICKER_URL", TICKER_URL, "ws"),
        pool_size=pool_size(environ, "ZERODHA_POOL_SIZE"),
        market_protection=_protection(environ.get("ZERODHA_MARKET_PROTECTION", "")),
    )


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
        raise BrokerSettingsError(
            "ZERODHA_MARKET_PROTECTION must be automatic, limit, or a percentage above 0 and up to 100"
        )
    return Protection(percent=percent)
