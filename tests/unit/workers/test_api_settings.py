from typing import Any

import pytest

from pulse_api.settings import Settings, SettingsError, read_settings

TOKEN = "planted-service-token"
NEEDED = {"DATABASE_URL": "postgresql://pulse:planted@localhost/pulse", "PULSE_SERVICE_TOKEN": TOKEN}
# The variable, its field, the default, and a good value with what becomes of it.
VARIABLES: dict[str, tuple[str, Any, str, Any]] = {
    "REDIS_URL": ("redis_url", None, "rediss://localhost/1", "rediss://localhost/1"),
    "PULSE_API_HOST": ("host", "127.0.0.1", "0.0.0.0", "0.0.0.0"),
    "PULSE_API_PORT": ("port", 8001, "0", 0),
    "DATABASE_POOL_SIZE": ("database_pool_size", 10, "25", 25),
    "LOG_LEVEL": ("log_level", "INFO", "debug", "DEBUG"),
    "GRACEFUL_SHUTDOWN_SECONDS": ("graceful_shutdown_seconds", 10, "0", 0),
    "BROKER_ORDERS_PER_SECOND": ("orders_per_second", 8, "10", 10),
    "BROKER_ORDERS_PER_MINUTE": ("orders_per_minute", 400, "200", 200),
    "BROKER_ORDERS_PER_DAY": ("orders_per_day", 5000, "3000", 3000),
}
WHOLE = (
    "PULSE_API_PORT",
    "DATABASE_POOL_SIZE",
    "GRACEFUL_SHUTDOWN_SECONDS",
    "BROKER_ORDERS_PER_SECOND",
    "BROKER_ORDERS_PER_MINUTE",
    "BROKER_ORDERS_PER_DAY",
)
BAD = [
    ("DATABASE_URL", "mysql://pulse:planted@localhost/pulse"),
    ("DATABASE_URL", "planted"),
    ("PULSE_SERVICE_TOKEN", "planted-letters"),
    ("REDIS_URL", "http://:planted@localhost"),
    ("REDIS_URL", "redis"),
    ("PULSE_API_PORT", "65536"),
    ("DATABASE_POOL_SIZE", "0"),
    ("DATABASE_POOL_SIZE", "1001"),
    ("BROKER_ORDERS_PER_SECOND", "0"),
    ("BROKER_ORDERS_PER_MINUTE", "0"),
    ("BROKER_ORDERS_PER_DAY", "0"),
    ("LOG_LEVEL", "LOUD"),
    *((name, value) for name in WHOLE for value in ("-1", "1.5", "nan", "planted")),
]


def problem(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        read_settings(environ)
    return str(raised.value)


def test_every_field_is_tried_here() -> None:
    fields = {field for field, *_ in VARIABLES.values()}

    # The market's rules and the risk limits have tests of their own, and so has the secret of postbacks.
    assert fields | {"database_url", "service_token", "market", "risk", "zerodha_api_secret"} == set(
        Settings.__struct_fields__
    )


@pytest.mark.parametrize("given", ["absent", "empty"])
@pytest.mark.parametrize("name", VARIABLES)
def test_it_has_a_default(name: str, given: str) -> None:
    field, default, _, _ = VARIABLES[name]

    settings = read_settings(NEEDED | ({name: ""} if given == "empty" else {}))

    assert getattr(settings, field) == default


@pytest.mark.parametrize("name", VARIABLES)
def test_it_can_be_set(name: str) -> None:
    field, _, text, value = VARIABLES[name]

    assert getattr(read_settings(NEEDED | {name: text}), field) == value


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("given", [None, ""])
def test_a_missing_value_is_named(name: str, given: str | None) -> None:
    environ = {key: text for key, text in NEEDED.items() if key != name}
    if given is not None:
        environ[name] = given

    assert problem(environ) == f"{name} is not set"


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_wrong_value_is_one_line_that_names_the_variable(name: str, value: str) -> None:
    text = problem(NEEDED | {name: value})

    assert text.startswith(name)
    assert "\n" not in text
    assert "planted" not in text


def test_no_secret_is_shown() -> None:
    settings = read_settings(NEEDED | {"REDIS_URL": "redis://:planted@localhost"})

    assert "planted" not in f"{settings!r} {settings} {[settings]}"


def test_no_secret_is_shown_where_values_are_printed_in_colour() -> None:
    settings = read_settings(NEEDED | {"REDIS_URL": "redis://:planted@localhost"})

    # rich, which prints the tracebacks of the command line, asks for this instead of the repr.
    assert "planted" not in repr(list(settings.__rich_repr__()))


def test_the_secret_of_postbacks_is_for_that_broker_and_shown_to_nobody() -> None:
    given = NEEDED | {"ZERODHA_API_SECRET": "planted-api-secret"}

    settings = read_settings(given | {"BROKER_TYPE": "zerodha"})

    assert settings.zerodha_api_secret == "planted-api-secret"
    assert "planted" not in repr(settings)
    assert [read_settings(given | {"BROKER_TYPE": name}).zerodha_api_secret for name in ("", "kotak")] == [
        None, None,
    ]  # fmt: skip
    assert read_settings(NEEDED | {"BROKER_TYPE": "zerodha"}).zerodha_api_secret is None


def test_risk_limits_are_read_and_checked_with_the_rest() -> None:
    settings = read_settings(NEEDED | {"RISK_MAX_OPEN_ORDERS": "3"})

    assert settings.risk.limits.max_open_orders == 3
    assert problem(NEEDED | {"RISK_CUT_OFF": "planted"}).startswith("RISK_CUT_OFF ")
