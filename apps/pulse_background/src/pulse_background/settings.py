"""What the workers are told by their environment, read once."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pulse_adapters.kotak.settings import KotakSettings, read_kotak_settings
from pulse_adapters.market_settings import MarketSettings, read_market
from pulse_adapters.postgres.pool import check_dsn
from pulse_adapters.real_broker.settings import BrokerSettingsError
from pulse_adapters.risk_settings import RiskSettings, read_risk
from pulse_adapters.telegram.settings import (
    TelegramSettings,
    TelegramSettingsError,
    read_telegram_settings,
)
from pulse_adapters.zerodha.settings import ZerodhaSettings, read_zerodha_settings
from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.splitting import PaceLimits


class SettingsError(Exception):
    """A variable is missing or wrong; the text is one line that names it and holds no secret."""


class Settings(Struct, frozen=True, kw_only=True):
    """Names and defaults are those of doc/guides/config.md.

    kotak, zerodha: what that broker's adapter is told, where it is the broker, or the one that the virtual
        broker reads from.
    telegram: what that adapter is told, where there is a bot.
    market, risk: the market's rules and the desk's limits, as the order API reads them.
    """

    database_url: str
    redis_url: str | None = None
    broker_type: str = "virtual"
    virtual_broker_reads: str | None = None
    virtual_broker_poll_seconds: float = 1.0
    virtual_broker_capital: int | None = None
    market_feed: str = "synthetic"
    feed_speed: float = 1.0
    tag_prefix: str = "PU"
    batch_size: int = 10
    order_splitter_poll_interval_seconds: float = 5.0
    slice_executor_poll_interval_seconds: float = 1.0
    timeout_monitor_interval_seconds: float = 30.0
    broker_sync_interval_seconds: float = 5.0
    order_split_timeout_minutes: float = 5.0
    order_split_attempts_max: int = 3
    slice_execution_timeout_minutes: float = 2.0
    slice_grace_seconds: float = 60.0
    on_window_end: str = "leave"
    clock_skew_max_seconds: float = 0.25
    broker_call_timeout_seconds: float = 10.0
    broker_calls_max: int = 50
    broker_account: str = "default"
    broker_orders_per_second: int | None = None
    broker_orders_per_minute: int | None = None
    broker_orders_per_day: int | None = None
    broker_cancel_reserve: float = 0.05
    broker_rate_margin_seconds: float = 0.05
    breaker_failures: int = 5
    breaker_window_seconds: float = 60.0
    breaker_pause_seconds: float = 5.0
    breaker_pause_max_seconds: float = 60.0
    unknown_settle_seconds: float = 120.0
    unknown_give_up_seconds: float = 1800.0
    market_desk: str = "apart"
    feed_silence_seconds: float = 5.0
    feed_instruments: str = ""
    strategy_capital: int = 10_000_000
    strategy_fresh_seconds: float = 60.0
    strategy_call_timeout_seconds: float = 30.0
    strategy_processes: str = ""
    tick_retention_days: int = 7
    retention_days: int = 0
    database_pool_size: int = 10
    metrics_port: int | None = None
    metrics_host: str = "127.0.0.1"
    log_level: str = "INFO"
    graceful_shutdown_seconds: float = 15.0
    kotak: KotakSettings | None = None
    zerodha: ZerodhaSettings | None = None
    telegram: TelegramSettings | None = None
    market: MarketSettings = read_market({})
    risk: RiskSettings = RiskSettings()

    def __repr__(self) -> str:
        return f"Settings(broker_type={self.broker_type!r}, market_feed={self.market_feed!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


# The market desk works in the workers' process.
DESK_HERE = "here"
# Read by their adapters.
_BROKERS = ("kotak", "zerodha")
_RETENTION_DAYS_MAX = 3650
_READ_BY_ADAPTERS = (*_BROKERS, "telegram", "market", "risk")
_POSITIVE = {
    name
    for name, kind in Settings.__annotations__.items()
    if kind in (int, float, int | None)
    and name not in ("slice_grace_seconds", "broker_cancel_reserve", "retention_days")
}


def pace_limits(settings: Settings) -> PaceLimits | None:
    """What the broker takes; None for the virtual exchange, which takes everything unless told otherwise."""
    given = {
        "per_second": settings.broker_orders_per_second,
        "per_minute": settings.broker_orders_per_minute,
        "per_day": settings.broker_orders_per_day,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    if settings.broker_type in ("virtual", "mock") and not chosen:
        return None
    return PaceLimits(**chosen)


def feed_instruments(settings: Settings) -> tuple[Instrument, ...]:
    """What prices are taken of in any case.

    Raises:
        InvalidInstrument: one is none; not of settings that were read.
    """
    return tuple(map(Instrument.parse, words(settings.feed_instruments)))


def words(text: str) -> list[str]:
    """What stands between commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check the environment; a variable has the name of its field in capitals.

    Raises:
        SettingsError: a variable is missing or wrong.
    """
    values: dict[str, Any] = {}
    for field, kind in Settings.__annotations__.items():
        if field in _READ_BY_ADAPTERS:
            continue
        text = environ.get(field.upper(), "")
        if text:
            values[field] = _convert(field, text.upper() if field == "log_level" else text, kind)
    if "database_url" not in values:
        raise SettingsError("DATABASE_URL is not set")
    settings = Settings(**values)
    _check(settings)
    try:
        settings = replace(settings, market=read_market(environ), risk=read_risk(environ))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    if settings.risk.kill_on_daily_loss and settings.market.charges is None:
        raise SettingsError(
            f"RISK_KILL_ON_DAILY_LOSS needs BROKER_CHARGES: what {settings.market.broker} charges is not known"
        )
    try:
        if environ.get("TELEGRAM_BOT_TOKEN"):
            settings = replace(settings, telegram=read_telegram_settings(environ))
        match settings.virtual_broker_reads or settings.broker_type:
            case "kotak":
                return replace(settings, kotak=read_kotak_settings(environ))
            case "zerodha":
                return replace(settings, zerodha=read_zerodha_settings(environ))
    except (BrokerSettingsError, TelegramSettingsError) as error:
        raise SettingsError(str(error)) from None
    return settings


def _convert(field: str, text: str, kind: Any) -> Any:
    if kind not in (int, float, int | None):
        return text
    try:
        value = float(text) if kind is float else int(text)
    except ValueError:
        raise SettingsError(f"{field.upper()} must be a number") from None
    if field in _POSITIVE and not 0 < value < 1e9:
        raise SettingsError(f"{field.upper()} must be above 0")
    return value


def _check(settings: Settings) -> None:
    try:
        check_dsn(settings.database_url)
    except ValueError as error:
        raise SettingsError(f"DATABASE_URL {error}") from None
    if settings.redis_url is not None and not settings.redis_url.startswith(("redis://", "rediss://")):
        raise SettingsError("REDIS_URL must begin with redis://")
    if settings.metrics_port is not None and settings.metrics_port > 65535:
        raise SettingsError("METRICS_PORT must be at most 65535")
    if settings.broker_type not in ("virtual", "mock", *_BROKERS):
        raise SettingsError("BROKER_TYPE must be virtual (or its alias mock), kotak or zerodha")
    if settings.virtual_broker_reads not in (None, *_BROKERS):
        raise SettingsError("VIRTUAL_BROKER_READS must be kotak or zerodha")
    if settings.virtual_broker_reads is not None and settings.broker_type in _BROKERS:
        # Somebody would think that no real orders are placed.
        raise SettingsError("VIRTUAL_BROKER_READS goes with BROKER_TYPE=virtual only")
    if settings.virtual_broker_capital is not None and settings.broker_type in _BROKERS:
        # Somebody would think that it limits real orders.
        raise SettingsError("VIRTUAL_BROKER_CAPITAL goes with BROKER_TYPE=virtual only")
    if settings.market_desk not in ("apart", DESK_HERE):
        raise SettingsError("MARKET_DESK must be apart or here")
    if settings.market_desk == DESK_HERE and not {settings.broker_type, settings.virtual_broker_reads} & {
        *_BROKERS
    }:
        # Desk and exchange would each have prices of their own.
        raise SettingsError(
            "MARKET_DESK=here needs a real BROKER_TYPE or VIRTUAL_BROKER_READS; else use pulse up"
        )
    if re.fullmatch(r"[A-Z0-9]{2}", settings.tag_prefix) is None:
        raise SettingsError("TAG_PREFIX must be two of A-Z and 0-9")
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", settings.broker_account) is None:
        raise SettingsError("BROKER_ACCOUNT must be 1 to 64 letters, digits, '_', '.' or '-'")
    if not 0 <= settings.broker_cancel_reserve < 1:
        raise SettingsError("BROKER_CANCEL_RESERVE must be at least 0 and below 1")
    if not 0 <= settings.slice_grace_seconds < 1e9:
        raise SettingsError("SLICE_GRACE_SECONDS must not be negative")
    lease_s = settings.slice_execution_timeout_minutes * 60
    if lease_s < 2 * settings.broker_call_timeout_seconds:
        # A call must end, and its outcome be recorded, while the lease still runs.
        raise SettingsError("SLICE_EXECUTION_TIMEOUT_MINUTES must be twice BROKER_CALL_TIMEOUT_SECONDS or more")
    if settings.on_window_end not in ("leave", "cancel"):
        raise SettingsError("ON_WINDOW_END must be leave or cancel")
    if not 0 <= settings.retention_days <= _RETENTION_DAYS_MAX:
        raise SettingsError(f"RETENTION_DAYS must be 0, to keep orders for ever, to {_RETENTION_DAYS_MAX}")
    if settings.tick_retention_days > _RETENTION_DAYS_MAX:
        raise SettingsError(f"TICK_RETENTION_DAYS must be at most {_RETENTION_DAYS_MAX}")
    try:
        feed_instruments(settings)
    except InvalidInstrument as error:
        raise SettingsError(f"FEED_INSTRUMENTS: {error.message}") from None
    if not all(
        re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}", name) for name in words(settings.strategy_processes)
    ):
        raise SettingsError("STRATEGY_PROCESSES must be names of strategies, separated by commas")
    if settings.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise SettingsError("LOG_LEVEL must be DEBUG, INFO, WARNING or ERROR")
