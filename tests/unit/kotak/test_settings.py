from typing import Any

import pytest

from pulse_adapters.kotak.settings import read_kotak_settings
from pulse_adapters.real_broker.settings import BrokerSettingsError

NEEDED = {
    "KOTAK_ACCESS_TOKEN": "planted-token",
    "BROKER_SESSION_SECRETS": "planted-session-secret-of-32-characters",
}
PERSON = {
    "KOTAK_MOBILE_NUMBER": "+919876543210",
    "KOTAK_UCC": "ABC12",
    "KOTAK_MPIN": "907143",
    "KOTAK_TOTP_SEED": "plantedseedplantedseed",
}


def test_defaults() -> None:
    settings = read_kotak_settings(NEEDED)

    assert settings.login_url == "https://mis.kotaksecurities.com"
    assert (settings.pool_size, settings.unattended_login) == (10, False)
    assert (settings.mobile_number, settings.ucc, settings.mpin, settings.totp_seed) == (None,) * 4


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("KOTAK_MOBILE_NUMBER", "+919876543210", "mobile_number", "+919876543210"),
        ("KOTAK_UCC", "ABC12", "ucc", "ABC12"),
        ("KOTAK_MPIN", "123456", "mpin", "123456"),
        ("KOTAK_TOTP_SEED", "abcd efgh ijkl mnop", "totp_seed", "ABCDEFGHIJKLMNOP"),
        ("KOTAK_LOGIN_URL", "http://127.0.0.1:8010/", "login_url", "http://127.0.0.1:8010"),
        ("KOTAK_POOL_SIZE", "50", "pool_size", 50),
        ("BROKER_SESSION_SECRETS", f"{'a' * 32}, {'b' * 32}", "session_secrets", ("a" * 32, "b" * 32)),
    ],
)
def test_it_can_be_set(name: str, text: str, field: str, value: Any) -> None:
    assert getattr(read_kotak_settings(NEEDED | {name: text}), field) == value


def problem(environ: dict[str, str]) -> str:
    with pytest.raises(BrokerSettingsError) as raised:
        read_kotak_settings(environ)
    return str(raised.value)


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize("empty", [True, False])
def test_what_is_needed_is_named(name: str, empty: bool) -> None:
    given = {key: value for key, value in NEEDED.items() if key != name} | ({name: ""} if empty else {})

    assert problem(given) == f"{name} is not set"


def test_unattended_logins_need_all_that_a_login_needs() -> None:
    yes = {"KOTAK_UNATTENDED_LOGIN": "yes"}

    assert read_kotak_settings(NEEDED | PERSON | yes).unattended_login
    for name in PERSON:
        given = {key: value for key, value in PERSON.items() if key != name}
        assert problem(NEEDED | given | yes).startswith(f"{name} is not set")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("KOTAK_ACCESS_TOKEN", "planted token"),
        ("BROKER_SESSION_SECRETS", "planted"),
        ("BROKER_SESSION_SECRETS", f"{'p' * 32},"),
        ("KOTAK_MOBILE_NUMBER", "planted"),
        ("KOTAK_MOBILE_NUMBER", "9876543210"),
        ("KOTAK_UCC", "planted one"),
        ("KOTAK_MPIN", "planted"),
        ("KOTAK_MPIN", "١٢٣٤٥٦"),
        ("KOTAK_TOTP_SEED", "planted-seed-0189"),
        ("KOTAK_TOTP_SEED", "planted"),
        ("KOTAK_UNATTENDED_LOGIN", "planted"),
        ("KOTAK_LOGIN_URL", "http://planted.example"),
        ("KOTAK_LOGIN_URL", "https://user:planted@host"),
        ("KOTAK_LOGIN_URL", "https://host/planted"),
        ("KOTAK_LOGIN_URL", "https://planted:notaport"),
        ("KOTAK_LOGIN_URL", "planted"),
        ("KOTAK_POOL_SIZE", "0"),
        ("KOTAK_POOL_SIZE", "101"),
        ("KOTAK_POOL_SIZE", "planted"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(name: str, text: str) -> None:
    told = problem(NEEDED | {name: text})

    assert told.startswith(name)
    assert "\n" not in told
    assert "planted" not in told


def test_no_secret_is_shown() -> None:
    settings = read_kotak_settings(NEEDED | PERSON)

    shown = f"{settings!r} {settings} {[settings]} {list(settings.__rich_repr__())}".lower()
    assert not any(secret in shown for secret in ("planted", "907143", "9876543210"))
