import json
from typing import Any

import pytest

from gapi.orders import SplitConfig
from gapi.settings import Settings, SettingsError

HOOK: dict[str, Any] = {"name": "desk", "client_id": "alice", "secret": "planted-hook-secret"}


def problem(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environ(environ)
    return str(raised.value)


def test_defaults(environ: dict[str, str]) -> None:
    settings = Settings.from_environ(environ)

    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.pulse_url == "http://127.0.0.1:8001"
    assert (settings.pulse_timeout_s, settings.pulse_connections) == (5, 64)
    assert (settings.log_level, settings.graceful_shutdown_s) == ("INFO", 10)
    assert settings.hooks == ()


def test_everything_can_be_set(environ: dict[str, str]) -> None:
    settings = Settings.from_environ(
        environ
        | {
            "GAPI_HOST": "0.0.0.0",
            "GAPI_PORT": "80",
            "PULSE_URL": "unix:/run/pulse.sock",
            "GAPI_JWT_SECRETS": f"{'a' * 32}, {'b' * 32}",
            "GAPI_PULSE_TIMEOUT_SECONDS": "2.5",
            "GAPI_PULSE_CONNECTIONS": "8",
            "LOG_LEVEL": "debug",
            "GRACEFUL_SHUTDOWN_SECONDS": "0",
            "GAPI_WEBHOOK_HOOKS": json.dumps(
                [{**HOOK, "default_split": {"num_splits": 4, "duration_minutes": 30, "randomize": False}}]
            ),
        }
    )

    assert (settings.host, settings.port, settings.pulse_url) == ("0.0.0.0", 80, "unix:/run/pulse.sock")
    assert settings.jwt_secrets == ("a" * 32, "b" * 32)
    assert (settings.pulse_timeout_s, settings.pulse_connections) == (2.5, 8)
    assert (settings.log_level, settings.graceful_shutdown_s) == ("DEBUG", 0)
    assert settings.hooks[0].client_id == "alice"
    assert settings.hooks[0].default_split == SplitConfig(num_splits=4, duration_minutes=30, randomize=False)


@pytest.mark.parametrize("name", ["PULSE_SERVICE_TOKEN", "GAPI_JWT_SECRETS"])
@pytest.mark.parametrize("given", [None, ""])
def test_a_missing_secret_is_named(environ: dict[str, str], name: str, given: str | None) -> None:
    environ.pop(name)
    if given is not None:
        environ[name] = given

    assert problem(environ) == f"{name} is not set"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GAPI_PORT", "65536"),
        ("GAPI_PORT", "-1"),
        ("GAPI_PORT", "eighty"),
        ("GAPI_PORT", "80.0"),
        ("PULSE_URL", "127.0.0.1:8001"),
        ("PULSE_URL", "ftp://host"),
        ("PULSE_URL", "http://"),
        ("PULSE_URL", "http://host:port"),
        ("PULSE_URL", "http://user:planted@host"),
        ("PULSE_URL", "http://host/?a=b"),
        ("PULSE_URL", "unix:relative.sock"),
        ("PULSE_SERVICE_TOKEN", "fifteen-letters"),
        ("PULSE_SERVICE_TOKEN", "planted service token"),
        ("GAPI_JWT_SECRETS", "planted" * 4),
        ("GAPI_JWT_SECRETS", "x" * 32 + ","),
        ("GAPI_JWT_SECRETS", "\udcff" * 40),
        ("GAPI_PULSE_TIMEOUT_SECONDS", "0"),
        ("GAPI_PULSE_TIMEOUT_SECONDS", "nan"),
        ("GAPI_PULSE_CONNECTIONS", "0"),
        ("LOG_LEVEL", "LOUD"),
        ("GRACEFUL_SHUTDOWN_SECONDS", "601"),
        ("GAPI_WEBHOOK_HOOKS", "{"),
        ("GAPI_WEBHOOK_HOOKS", "{}"),
        ("GAPI_WEBHOOK_HOOKS", json.dumps([{**HOOK, "secret": "planted"}])),
        ("GAPI_WEBHOOK_HOOKS", json.dumps([{**HOOK, "planted-secret": "x"}])),
        ("GAPI_WEBHOOK_HOOKS", json.dumps([{**HOOK, "client_id": "a b"}])),
        ("GAPI_WEBHOOK_HOOKS", json.dumps([{"name": "desk", "client_id": "alice"}])),
        ("GAPI_WEBHOOK_HOOKS", json.dumps([HOOK, {**HOOK, "name": "other"}])),
        ("GAPI_WEBHOOK_HOOKS", json.dumps([{**HOOK, "default_split": {"num_splits": 1}}])),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    environ: dict[str, str], name: str, value: str
) -> None:
    text = problem(environ | {name: value})

    assert text.startswith(name)
    assert "\n" not in text
    assert "planted" not in text


def test_no_secret_is_shown(environ: dict[str, str]) -> None:
    settings = Settings.from_environ(environ | {"GAPI_WEBHOOK_HOOKS": json.dumps([HOOK])})

    shown = f"{settings!r} {settings} {settings.hooks!r} {settings.hooks[0]} {settings.__rich_repr__()}"

    assert "planted" not in shown
    assert environ["GAPI_JWT_SECRETS"] not in shown
