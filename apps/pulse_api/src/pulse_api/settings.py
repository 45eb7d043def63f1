"""What the service is told by its environment, read once."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from pulse_adapters.market_settings import MarketSettings, read_market
from pulse_adapters.postgres.pool import check_dsn
from pulse_adapters.risk_settings import RiskSettings, read_risk


class SettingsError(Exception):
    """A variable is missing or wrong; the text is one line that names it and holds no secret."""


class Settings(Struct, frozen=True, kw_only=True):
    """zerodha_api_secret: what that broker's postbacks are signed with; none are taken without it."""

    database_url: str
    service_token: str
    redis_url: str | None = None
    host: str = "127.0.0.1"
    port: int = 8001
    database_pool_size: int = 10
    log_level: str = "INFO"
    graceful_shutdown_seconds: int = 10
    orders_per_second: int = 8
    orders_per_minute: int = 400
    orders_per_day: int = 5000
    market: MarketSettings
    risk: RiskSettings = RiskSettings()
    zerodha_api_secret: str | None = None

    def __repr__(self) -> str:
        return f"Settings(host={self.host!r}, port={self.port})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


_VARIABLES = {
    "DATABASE_URL": "database_url",
    "PULSE_SERVICE_TOKEN": "service_token",
    "REDIS_URL": "redis_url",
    "PULSE_API_HOST": "host",
    "PULSE_API_PORT": "port",
    "DATABASE_POOL_SIZE": "database_pool_size",
    "LOG_LEVEL": "log_level",
    "GRACEFUL_SHUTDOWN_SECONDS": "graceful_shutdown_seconds",
    "BROKER_ORDERS_PER_SECOND": "orders_per_second",
    "BROKER_ORDERS_PER_MINUTE": "orders_per_minute",
    "BROKER_ORDERS_PER_DAY": "orders_per_day",
}


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check the environment.

    Raises:
        SettingsError: a variable is missing or wrong.
    """
    values: dict[str, Any] = {
        field: environ[name] for name, field in _VARIABLES.items() if environ.get(name, "") != ""
    }
    values["log_level"] = values.get("log_level", "INFO").upper()
    for name in ("DATABASE_URL", "PULSE_SERVICE_TOKEN"):
        if _VARIABLES[name] not in values:
            raise SettingsError(f"{name} is not set")
    try:
        check_dsn(values["database_url"])
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL {error}") from None
    if len(values["service_token"]) < 16:
        raise SettingsError("PULSE_SERVICE_TOKEN must have at least 16 characters")
    if not values.get("redis_url", "redis://").startswith(("redis://", "rediss://")):
        raise SettingsError("REDIS_URL must begin with redis://")
    try:
        values["market"] = read_market(environ)
        values["risk"] = read_risk(environ)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    zerodha_api_secret = environ.get("ZERODHA_API_SECRET", "")
    if zerodha_api_secret and environ.get("BROKER_TYPE") == "zerodha":
        values["zerodha_api_secret"] = zerodha_api_secret
    settings = _convert(values)
    for name, low, high in (
        ("PULSE_API_PORT", 0, 65535),
        ("DATABASE_POOL_SIZE", 1, 1000),
        ("GRACEFUL_SHUTDOWN_SECONDS", 0, 600),
        ("BROKER_ORDERS_PER_SECOND", 1, 10_000),
        ("BROKER_ORDERS_PER_MINUTE", 1, 1_000_000),
        ("BROKER_ORDERS_PER_DAY", 1, 100_000_000),
    ):
        if not low <= getattr(settings, _VARIABLES[name]) <= high:
            raise SettingsError(f"{name} must be between {low} and {high}")
    if settings.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SettingsError("LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR")
    return settings


def _convert(values: dict[str, Any]) -> Settings:
    for name, field in _VARIABLES.items():
        # One at a time, so that the message can name the variable and need not show its value.
        if field in values and Settings.__annotations__[field] is int:
            try:
                values[field] = int(values[field])
            except ValueError:
                raise SettingsError(f"{name} must be a whole number") from None
    return Settings(**values)
