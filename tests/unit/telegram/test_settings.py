from datetime import time

import pytest
from rich.pretty import pretty_repr

from pulse_adapters.telegram.settings import TelegramSettingsError, read_telegram_settings

TOKEN = "123456789:AAplantedTelegramTokenThatNobodyMaySee0"
LEAST = {"TELEGRAM_BOT_TOKEN": TOKEN, "TELEGRAM_CHAT_IDS": "7", "PULSE_SERVICE_TOKEN": "planted-service-token"}


def test_defaults_are_telegram_itself_and_the_order_api_of_this_machine() -> None:
    settings = read_telegram_settings(LEAST)

    assert settings.api_url == "https://api.telegram.org"
    assert settings.pulse_url == "http://127.0.0.1:8001"
    assert settings.summary_at == time(15, 45)


def test_everything_can_be_told() -> None:
    settings = read_telegram_settings(
        {
            **LEAST,
            "TELEGRAM_CHAT_IDS": "7, -1001234567890,7",
            "TELEGRAM_API_URL": "http://127.0.0.1:8081/",
            "TELEGRAM_SUMMARY_AT": "23:59",
            "PULSE_URL": "unix:/run/pulse.sock",
        }
    )

    assert settings.chat_ids == (7, -1001234567890)
    assert settings.api_url == "http://127.0.0.1:8081"
    assert settings.summary_at == time(23, 59)
    assert settings.pulse_url == "unix:/run/pulse.sock"


def test_summary_can_be_switched_off() -> None:
    assert read_telegram_settings({**LEAST, "TELEGRAM_SUMMARY_AT": "never"}).summary_at is None


def test_secrets_are_shown_nowhere() -> None:
    settings = read_telegram_settings(LEAST)

    shown = f"{settings!r} {settings} {pretty_repr(settings)}"
    assert TOKEN not in shown
    assert "planted-service-token" not in shown


@pytest.mark.parametrize("name", LEAST)
def test_what_is_required_is_named(name: str) -> None:
    with pytest.raises(TelegramSettingsError, match=f"^{name} is not set$"):
        read_telegram_settings({**LEAST, name: ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TELEGRAM_BOT_TOKEN", "planted"),
        ("TELEGRAM_BOT_TOKEN", f"{TOKEN}/../x"),
        ("TELEGRAM_BOT_TOKEN", f"{TOKEN}\n"),
        ("TELEGRAM_CHAT_IDS", "7,,8"),
        ("TELEGRAM_CHAT_IDS", "@planted"),
        ("TELEGRAM_CHAT_IDS", "0"),
        ("TELEGRAM_API_URL", "http://api.telegram.org"),
        ("TELEGRAM_API_URL", "https://user:planted@host"),
        ("TELEGRAM_API_URL", "https://host/path"),
        ("TELEGRAM_API_URL", "https://[planted"),
        ("TELEGRAM_SUMMARY_AT", "24:00"),
        ("TELEGRAM_SUMMARY_AT", "planted"),
        ("PULSE_SERVICE_TOKEN", "planted short"),
        ("PULSE_URL", "ftp://planted"),
    ],
)
def test_what_is_wrong_is_named_and_not_quoted(name: str, value: str) -> None:
    with pytest.raises(TelegramSettingsError) as raised:
        read_telegram_settings({**LEAST, name: value})

    assert str(raised.value).startswith(name)
    assert "planted" not in str(raised.value)
    assert "\n" not in str(raised.value)
