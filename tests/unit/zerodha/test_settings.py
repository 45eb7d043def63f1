from decimal import Decimal
from typing import Any

import pytest

from pulse_adapters.real_broker.settings import BrokerSettingsError
from pulse_adapters.zerodha.protection import AUTOMATIC, OWN_LIMIT, Protection
from pulse_adapters.zerodha.settings import read_zerodha_settings

NEEDED = {
    "ZERODHA_API_KEY": "planted-key",
    "ZERODHA_API_SECRET": "planted-secret",
    "BROKER_SESSION_SECRETS": "planted-session-secret-of-32-characters",
}


def test_defaults() -> None:
    settings = read_zerodha_settings(NEEDED)

    assert settings.base_url == "https://api.kite.trade"
    assert settings.ticker_url == "wss://ws.kite.trade"
    assert (settings.access_token, settings.pool_size, settings.market_protection) == (None, 10, AUTOMATIC)


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("ZERODHA_ACCESS_TOKEN", "planted-token", "access_token", "planted-token"),
        ("ZERODHA_BASE_URL", "http://127.0.0.1:8010", "base_url", "http://127.0.0.1:8010"),
        ("ZERODHA_BASE_URL", "https://kite.example:443/", "base_url", "https://kite.example:443"),
        ("ZERODHA_TICKER_URL", "ws://localhost:8011", "ticker_url", "ws://localhost:8011"),
        ("ZERODHA_POOL_SIZE", "50", "pool_size", 50),
        ("ZERODHA_MARKET_PROTECTION", "automatic", "market_protection", AUTOMATIC),
        ("ZERODHA_MARKET_PROTECTION", "limit", "market_protection", OWN_LIMIT),
        ("ZERODHA_MARKET_PROTECTION", "2.5", "market_protection", Protection(percent=Decimal("2.5"))),
        ("BROKER_SESSION_SECRETS", f"{'a' * 32}, {'b' * 32}", "session_secrets", ("a" * 32, "b" * 32)),
    ],
)
def test_it_can_be_set(name: str, text: str, field: str, value: Any) -> None:
    assert getattr(read_zerodha_settings(NEEDED | {name: text}), field) == value


def problem(environ: dict[str, str]) -> str:
    with pytest.raises(BrokerSettingsError) as raised:
        read_zerodha_settings(environ)
    return str(raised.value)


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("empty", [True, False])
def test_what_is_needed_is_named(name: str, empty: bool) -> None:
    given = {key: value for key, value in NEEDED.items() if key != name} | ({name: ""} if empty else {})

    assert problem(given) == f"{name} is not set"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ZERODHA_API_KEY", "planted key"),
        ("ZERODHA_API_SECRET", "planted\nsecret"),
        ("ZERODHA_ACCESS_TOKEN", "plantedé"),
        ("BROKER_SESSION_SECRETS", "planted"),
        ("BROKER_SESSION_SECRETS", f"{'p' * 32},planted"),
        ("BROKER_SESSION_SECRETS", f"{'p' * 32},"),
        ("ZERODHA_BASE_URL", "http://planted.example"),
        ("ZERODHA_BASE_URL", "ftp://planted"),
        ("ZERODHA_BASE_URL", "https://user:planted@kite.example"),
        ("ZERODHA_BASE_URL", "https://kite.example/planted"),
        ("ZERODHA_BASE_URL", "https://kite.example?planted"),
        ("ZERODHA_BASE_URL", "https://planted:notaport"),
        ("ZERODHA_BASE_URL", "planted"),
        ("ZERODHA_TICKER_URL", "ws://planted.example"),
        ("ZERODHA_TICKER_URL", "https://planted.example"),
        ("ZERODHA_POOL_SIZE", "0"),
        ("ZERODHA_POOL_SIZE", "101"),
        ("ZERODHA_POOL_SIZE", "-1"),
        ("ZERODHA_POOL_SIZE", "1.5"),
        ("ZERODHA_POOL_SIZE", "planted"),
        ("ZERODHA_MARKET_PROTECTION", "0"),
        ("ZERODHA_MARKET_PROTECTION", "-1"),
        ("ZERODHA_MARKET_PROTECTION", "100.5"),
        ("ZERODHA_MARKET_PROTECTION", "nan"),
        ("ZERODHA_MARKET_PROTECTION", "planted"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(name: str, text: str) -> None:
    told = problem(NEEDED | {name: text})

    assert told.startswith(name)
    assert "\n" not in told
    assert "planted" not in told


def test_no_secret_is_shown() -> None:
    settings = read_zerodha_settings(NEEDED | {"ZERODHA_ACCESS_TOKEN": "planted-token"})

    # rich, which prints the tracebacks of the command line, asks for the last.
    assert "planted" not in f"{settings!r} {settings} {[settings]} {list(settings.__rich_repr__())}"
