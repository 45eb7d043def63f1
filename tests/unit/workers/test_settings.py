from typing import Any

import pytest

from pulse_background.settings import Settings, SettingsError, pace_limits, read_settings
from pulse_domain.splitting import PaceLimits

NEEDED = {"DATABASE_URL": "postgresql://pulse:planted@localhost/pulse"}
DEFAULTS: dict[str, Any] = {
    "redis_url": None,
    "broker_type": "virtual",
    "virtual_broker_reads": None,
    "virtual_broker_poll_seconds": 1.0,
    "virtual_broker_capital": None,
    "market_feed": "synthetic",
    "market_desk": "apart",
    "feed_speed": 1.0,
    "tag_prefix": "PU",
    "batch_size": 10,
    "order_splitter_poll_interval_seconds": 5.0,
    "slice_executor_poll_interval_seconds": 1.0,
    "timeout_monitor_interval_seconds": 30.0,
    "broker_sync_interval_seconds": 5.0,
    "order_split_timeout_minutes": 5.0,
    "order_split_attempts_max": 3,
    "slice_execution_timeout_minutes": 2.0,
    "slice_grace_seconds": 60.0,
    "retention_days": 0,
    "on_window_end": "leave",
    "clock_skew_max_seconds": 0.25,
    "broker_call_timeout_seconds": 10.0,
    "broker_calls_max": 50,
    "broker_account": "default",
    "broker_orders_per_second": None,
    "broker_orders_per_minute": None,
    "broker_orders_per_day": None,
    "broker_cancel_reserve": 0.05,
    "broker_rate_margin_seconds": 0.05,
    "breaker_failures": 5,
    "breaker_window_seconds": 60.0,
    "breaker_pause_seconds": 5.0,
    "breaker_pause_max_seconds": 60.0,
    "unknown_settle_seconds": 120.0,
    "unknown_give_up_seconds": 1800.0,
    "feed_silence_seconds": 5.0,
    "feed_instruments": "",
    "strategy_capital": 10_000_000,
    "strategy_fresh_seconds": 60.0,
    "strategy_call_timeout_seconds": 30.0,
    "strategy_processes": "",
    "tick_retention_days": 7,
    "database_pool_size": 10,
    "metrics_port": None,
    "metrics_host": "127.0.0.1",
    "log_level": "INFO",
    "graceful_shutdown_seconds": 15.0,
}
GOOD: dict[str, tuple[str, Any]] = {
    "DATABASE_URL": ("postgres://localhost/other", "postgres://localhost/other"),
    "REDIS_URL": ("rediss://:planted@localhost:6380/1", "rediss://:planted@localhost:6380/1"),
    "BROKER_TYPE": ("mock", "mock"),
    "VIRTUAL_BROKER_POLL_SECONDS": ("2.5", 2.5),
    "VIRTUAL_BROKER_CAPITAL": ("1000000", 1_000_000),
    "MARKET_FEED": ("synthetic:7", "synthetic:7"),
    "FEED_SPEED": ("60", 60.0),
    "TAG_PREFIX": ("D2", "D2"),
    "BATCH_SIZE": ("25", 25),
    "ORDER_SPLITTER_POLL_INTERVAL_SECONDS": ("0.5", 0.5),
    "SLICE_EXECUTOR_POLL_INTERVAL_SECONDS": ("0.25", 0.25),
    "TIMEOUT_MONITOR_INTERVAL_SECONDS": ("10", 10.0),
    "BROKER_SYNC_INTERVAL_SECONDS": ("2.5", 2.5),
    "ORDER_SPLIT_TIMEOUT_MINUTES": ("1", 1.0),
    "ORDER_SPLIT_ATTEMPTS_MAX": ("5", 5),
    "SLICE_EXECUTION_TIMEOUT_MINUTES": ("0.5", 0.5),
    "SLICE_GRACE_SECONDS": ("0", 0.0),
    "RETENTION_DAYS": ("90", 90),
    "ON_WINDOW_END": ("cancel", "cancel"),
    "CLOCK_SKEW_MAX_SECONDS": ("0.5", 0.5),
    "BROKER_CALL_TIMEOUT_SECONDS": ("7.5", 7.5),
    "BROKER_CALLS_MAX": ("8", 8),
    "BROKER_ACCOUNT": ("AB-12.c_d", "AB-12.c_d"),
    "BROKER_ORDERS_PER_SECOND": ("9", 9),
    "BROKER_ORDERS_PER_MINUTE": ("200", 200),
    "BROKER_ORDERS_PER_DAY": ("3000", 3000),
    "BROKER_CANCEL_RESERVE": ("0", 0.0),
    "BROKER_RATE_MARGIN_SECONDS": ("0.25", 0.25),
    "BREAKER_FAILURES": ("3", 3),
    "BREAKER_WINDOW_SECONDS": ("30", 30.0),
    "BREAKER_PAUSE_SECONDS": ("2.5", 2.5),
    "BREAKER_PAUSE_MAX_SECONDS": ("120", 120.0),
    "UNKNOWN_SETTLE_SECONDS": ("90", 90.0),
    "UNKNOWN_GIVE_UP_SECONDS": ("600", 600.0),
    "FEED_SILENCE_SECONDS": ("2.5", 2.5),
    "FEED_INSTRUMENTS": ("NSE:TCS,NSE:INFY", "NSE:TCS,NSE:INFY"),
    "STRATEGY_CAPITAL": ("500000", 500_000),
    "STRATEGY_FRESH_SECONDS": ("12.5", 12.5),
    "STRATEGY_CALL_TIMEOUT_SECONDS": ("5", 5.0),
    "STRATEGY_PROCESSES": ("a,b", "a,b"),
    "TICK_RETENTION_DAYS": ("3650", 3650),
    "DATABASE_POOL_SIZE": ("20", 20),
    "METRICS_PORT": ("9100", 9100),
    "METRICS_HOST": ("0.0.0.0", "0.0.0.0"),
    "LOG_LEVEL": ("debug", "DEBUG"),
    "GRACEFUL_SHUTDOWN_SECONDS": ("30", 30.0),
}
WHOLE = (
    "BATCH_SIZE",
    "ORDER_SPLIT_ATTEMPTS_MAX",
    "BROKER_CALLS_MAX",
    "BROKER_ORDERS_PER_SECOND",
    "BROKER_ORDERS_PER_MINUTE",
    "BROKER_ORDERS_PER_DAY",
    "BREAKER_FAILURES",
    "DATABASE_POOL_SIZE",
    "STRATEGY_CAPITAL",
    "VIRTUAL_BROKER_CAPITAL",
    "TICK_RETENTION_DAYS",
)
FRACTIONAL = (
    "FEED_SPEED",
    "VIRTUAL_BROKER_POLL_SECONDS",
    "ORDER_SPLITTER_POLL_INTERVAL_SECONDS",
    "SLICE_EXECUTOR_POLL_INTERVAL_SECONDS",
    "CLOCK_SKEW_MAX_SECONDS",
    "TIMEOUT_MONITOR_INTERVAL_SECONDS",
    "BROKER_SYNC_INTERVAL_SECONDS",
    "ORDER_SPLIT_TIMEOUT_MINUTES",
    "SLICE_EXECUTION_TIMEOUT_MINUTES",
    "BROKER_CALL_TIMEOUT_SECONDS",
    "FEED_SILENCE_SECONDS",
    "STRATEGY_FRESH_SECONDS",
    "STRATEGY_CALL_TIMEOUT_SECONDS",
    "BROKER_RATE_MARGIN_SECONDS",
    "BREAKER_WINDOW_SECONDS",
    "BREAKER_PAUSE_SECONDS",
    "BREAKER_PAUSE_MAX_SECONDS",
    "UNKNOWN_SETTLE_SECONDS",
    "UNKNOWN_GIVE_UP_SECONDS",
    "GRACEFUL_SHUTDOWN_SECONDS",
)
BAD = [
    ("FEED_INSTRUMENTS", "NSE:TCS,planted"),
    ("STRATEGY_PROCESSES", "a,/planted"),
    ("MARKET_DESK", "planted"),
    # The virtual exchange would have prices of its own.
    ("MARKET_DESK", "here"),
    ("DATABASE_URL", "mysql://pulse:planted@localhost/pulse"),
    ("DATABASE_URL", "planted"),
    ("REDIS_URL", "http://:planted@localhost"),
    ("REDIS_URL", "planted"),
    ("REDIS_URL", "redis"),
    ("BROKER_TYPE", "planted"),
    ("VIRTUAL_BROKER_READS", "planted"),
    ("VIRTUAL_BROKER_READS", "virtual"),
    ("ON_WINDOW_END", "planted"),
    ("TAG_PREFIX", "P"),
    ("TAG_PREFIX", "PUL"),
    ("TAG_PREFIX", "P-"),
    ("TAG_PREFIX", "éé"),
    ("BROKER_ACCOUNT", "planted {}"),
    ("BROKER_ACCOUNT", "planted" * 10),
    ("BROKER_CANCEL_RESERVE", "-0.1"),
    ("BROKER_CANCEL_RESERVE", "1"),
    ("BROKER_CANCEL_RESERVE", "nan"),
    ("BROKER_CANCEL_RESERVE", "planted"),
    ("RETENTION_DAYS", "-1"),
    ("RETENTION_DAYS", "0.5"),
    ("RETENTION_DAYS", "3651"),
    ("TICK_RETENTION_DAYS", "3651"),
    ("SLICE_GRACE_SECONDS", "-1"),
    ("SLICE_GRACE_SECONDS", "planted"),
    ("SLICE_GRACE_SECONDS", "nan"),
    ("SLICE_GRACE_SECONDS", "inf"),
    ("METRICS_PORT", "planted"),
    ("METRICS_PORT", "80.0"),
    ("METRICS_PORT", "-1"),
    ("METRICS_PORT", "65536"),
    ("LOG_LEVEL", "LOUD"),
    # The lease must outlive the call that it covers.
    ("SLICE_EXECUTION_TIMEOUT_MINUTES", "0.3"),
    *((name, value) for name in WHOLE for value in ("0", "-1", "1.5", "nan", "planted")),
    *((name, value) for name in FRACTIONAL for value in ("0", "-0.5", "nan", "inf", "planted")),
]


def problem(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        read_settings(environ)
    return str(raised.value)


def test_every_variable_is_tried_here() -> None:
    fields = set(Settings.__struct_fields__)

    # What concerns one adapter only is read by it, as is what the order API reads too: tried elsewhere.
    fields -= {"kotak", "telegram", "zerodha", "market", "risk"}
    assert set(DEFAULTS) | {"database_url"} == fields
    # With it a broker's own variables are needed too: it has a test below.
    assert {name.lower() for name in GOOD} | {"virtual_broker_reads", "market_desk"} == fields
    assert {name.lower() for name, _ in BAD} == fields - {"market_feed", "metrics_host"}


@pytest.mark.parametrize("field", DEFAULTS)
def test_it_has_a_default(field: str) -> None:
    assert getattr(read_settings(NEEDED), field) == DEFAULTS[field]


@pytest.mark.parametrize("name", GOOD)
def test_it_can_be_set(name: str) -> None:
    text, value = GOOD[name]

    settings = read_settings(NEEDED | {name: text})

    assert getattr(settings, name.lower()) == value


@pytest.mark.parametrize("field", DEFAULTS)
def test_an_empty_value_counts_as_absent(field: str) -> None:
    assert getattr(read_settings(NEEDED | {field.upper(): ""}), field) == DEFAULTS[field]


@pytest.mark.parametrize("environ", [{}, {"DATABASE_URL": ""}], ids=["absent", "empty"])
def test_a_missing_database_is_named(environ: dict[str, str]) -> None:
    assert problem(environ) == "DATABASE_URL is not set"


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_wrong_value_is_one_line_that_names_the_variable(name: str, value: str) -> None:
    text = problem(NEEDED | {name: value})

    assert text.startswith(name)
    assert "\n" not in text
    assert "planted" not in text


def test_the_lease_is_measured_against_the_calls_own_deadline() -> None:
    given = {"SLICE_EXECUTION_TIMEOUT_MINUTES": "0.05", "BROKER_CALL_TIMEOUT_SECONDS": "1.5"}

    assert read_settings(NEEDED | given).broker_call_timeout_seconds == 1.5


ZERODHA = {
    "BROKER_TYPE": "zerodha",
    "ZERODHA_API_KEY": "planted-key",
    "ZERODHA_API_SECRET": "planted-secret",
    "BROKER_SESSION_SECRETS": "planted-session-secret-of-32-characters",
}


def test_a_real_broker_brings_its_own_settings() -> None:
    settings = read_settings(NEEDED | ZERODHA)

    assert settings.zerodha is not None
    assert settings.zerodha.api_key == "planted-key"
    assert "planted" not in f"{settings!r} {settings} {[settings]}"


KOTAK = {
    "BROKER_TYPE": "kotak",
    "KOTAK_ACCESS_TOKEN": "planted-token",
    "BROKER_SESSION_SECRETS": "planted-session-secret-of-32-characters",
}


def test_so_does_the_other() -> None:
    settings = read_settings(NEEDED | KOTAK)

    assert settings.kotak is not None
    assert settings.zerodha is None
    assert settings.kotak.access_token == "planted-token"
    assert "planted" not in f"{settings!r} {settings} {[settings]}"
    assert problem(NEEDED | {"BROKER_TYPE": "kotak"}) == "KOTAK_ACCESS_TOKEN is not set"


@pytest.mark.parametrize("broker_type", ["", "virtual", "mock"])
def test_the_virtual_broker_can_read_from_a_real_one(broker_type: str) -> None:
    for reads, given in (("zerodha", ZERODHA), ("kotak", KOTAK)):
        settings = read_settings(NEEDED | given | {"BROKER_TYPE": broker_type, "VIRTUAL_BROKER_READS": reads})

        assert settings.virtual_broker_reads == reads
        assert (settings.zerodha is not None, settings.kotak is not None) == (given is ZERODHA, given is KOTAK)
        assert pace_limits(settings) is None, "nothing is sent there"


@pytest.mark.parametrize("given", [ZERODHA, KOTAK], ids=["zerodha", "kotak"])
def test_a_real_broker_is_not_taken_for_a_virtual_one(given: dict[str, str]) -> None:
    text = problem(NEEDED | given | {"VIRTUAL_BROKER_READS": "zerodha"})

    assert text == "VIRTUAL_BROKER_READS goes with BROKER_TYPE=virtual only"


@pytest.mark.parametrize("given", [ZERODHA, KOTAK], ids=["zerodha", "kotak"])
def test_real_orders_are_not_thought_to_be_limited_by_made_up_money(given: dict[str, str]) -> None:
    text = problem(NEEDED | given | {"VIRTUAL_BROKER_CAPITAL": "100000"})

    assert text == "VIRTUAL_BROKER_CAPITAL goes with BROKER_TYPE=virtual only"


@pytest.mark.parametrize("given", [ZERODHA, KOTAK], ids=["zerodha", "kotak"])
@pytest.mark.parametrize("paper", [False, True], ids=["real orders", "on paper"])
def test_a_worker_may_run_the_desk_on_the_prices_of_a_market(given: dict[str, str], paper: bool) -> None:
    virtual = {"BROKER_TYPE": "virtual", "VIRTUAL_BROKER_READS": given["BROKER_TYPE"]} if paper else {}

    assert read_settings(NEEDED | given | virtual | {"MARKET_DESK": "here"}).market_desk == "here"


@pytest.mark.parametrize("name", sorted(ZERODHA.keys() - {"BROKER_TYPE"}))
def test_what_a_real_broker_needs_is_named(name: str) -> None:
    given = {key: value for key, value in ZERODHA.items() if key != name}

    assert problem(NEEDED | given) == f"{name} is not set"


def test_settings_of_a_broker_that_is_not_used_are_not_looked_at() -> None:
    assert read_settings(NEEDED | {"ZERODHA_POOL_SIZE": "planted"}).zerodha is None


def test_bot_is_read_where_there_is_a_token() -> None:
    bot = {
        "TELEGRAM_BOT_TOKEN": f"1:planted{'t' * 35}",
        "TELEGRAM_CHAT_IDS": "7",
        "PULSE_SERVICE_TOKEN": "planted-service-token",
    }

    settings = read_settings(NEEDED | bot | ZERODHA)

    assert settings.telegram is not None
    assert settings.zerodha is not None
    assert settings.telegram.chat_ids == (7,)
    assert read_settings(NEEDED | bot | {"TELEGRAM_BOT_TOKEN": ""}).telegram is None
    assert "planted" not in f"{settings!r} {[settings.telegram]}"
    with pytest.raises(SettingsError, match="TELEGRAM_CHAT_IDS is not set"):
        read_settings(NEEDED | bot | {"TELEGRAM_CHAT_IDS": ""})


def test_the_virtual_exchange_has_no_limits_unless_they_are_set() -> None:
    assert pace_limits(read_settings(NEEDED)) is None
    assert pace_limits(read_settings(NEEDED | {"BROKER_ORDERS_PER_SECOND": "3"})) == PaceLimits(per_second=3)


def test_a_real_broker_has_limits_always() -> None:
    assert pace_limits(read_settings(NEEDED | ZERODHA)) == PaceLimits(
        per_second=8, per_minute=400, per_day=5000
    )


def test_what_is_not_ours_is_left_alone() -> None:
    assert read_settings(NEEDED | {"PATH": "/bin", "HOME": "/root"}) == read_settings(NEEDED)


def test_no_secret_is_shown() -> None:
    settings = read_settings(NEEDED | {"REDIS_URL": "redis://:planted@localhost"})

    assert "planted" not in f"{settings!r} {settings} {[settings]}"


def test_no_secret_is_shown_where_values_are_printed_in_colour() -> None:
    settings = read_settings(NEEDED | {"REDIS_URL": "redis://:planted@localhost"})

    # rich, which prints the tracebacks of the command line, asks for this instead of the repr.
    assert "planted" not in repr(list(settings.__rich_repr__()))


def test_a_loss_that_kills_needs_charges_that_are_known() -> None:
    kills = NEEDED | {"RISK_MAX_DAILY_LOSS": "1000", "RISK_KILL_ON_DAILY_LOSS": "true"}

    told = problem(kills | KOTAK)
    assert told == "RISK_KILL_ON_DAILY_LOSS needs BROKER_CHARGES: what kotak charges is not known"
    assert read_settings(kills | KOTAK | {"BROKER_CHARGES": "none"}).risk.kill_on_daily_loss
    assert read_settings(kills | ZERODHA).risk.kill_on_daily_loss
    assert not read_settings(kills | KOTAK | {"RISK_KILL_ON_DAILY_LOSS": ""}).risk.kill_on_daily_loss


def test_the_rules_of_the_market_and_the_risk_limits_are_read_and_checked_with_the_rest() -> None:
    given = {"OUTSIDE_SESSION": "queue", "RISK_MAX_ORDERS": "7", "RISK_SQUARE_OFF": "market"}
    settings = read_settings(NEEDED | given)

    assert settings.market.rules.outside_session == "queue"
    assert (settings.risk.limits.max_orders, settings.risk.square_off) == (7, "market")
    assert problem(NEEDED | {"RISK_MAX_ORDERS": "planted"}).startswith("RISK_MAX_ORDERS ")
    assert problem(NEEDED | {"OUTSIDE_SESSION": "planted"}).startswith("OUTSIDE_SESSION ")
