from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest

from pulse.connection import gateway_url, token_source
from pulse.errors import BadInput
from pulse.state import load_or_create_secrets, write_endpoint
from pulse.tokens import make_token

SECRET = "0123456789abcdef0123456789abcdef"
LATER = datetime.now(UTC) + timedelta(hours=1)


def claims_of(token: str, secret: str = SECRET) -> dict[str, object]:
    return jwt.decode(token, secret, algorithms=["HS256"])


def test_gateway_is_the_given_one_the_running_one_or_the_usual_one(tmp_path: Path) -> None:
    assert gateway_url(None, tmp_path) == "http://127.0.0.1:8000"

    write_endpoint(tmp_path, "http://127.0.0.1:8123", "http://127.0.0.1:8123/pulse")

    assert gateway_url(None, tmp_path) == "http://127.0.0.1:8123"
    assert gateway_url("https://pulse.example/desk/", tmp_path) == "https://pulse.example/desk"


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000",
        "ftp://desk",
        "http://",
        "http://desk:99999",
        "http://user:hunter2@desk",
        "http://desk?x=1",
        "http://de sk",
        "http://[::1",
        "http://desk\n",
    ],
)
def test_what_is_not_a_base_url_is_refused_without_being_shown(tmp_path: Path, url: str) -> None:
    with pytest.raises(BadInput, match="--url") as refused:
        gateway_url(url, tmp_path)

    assert "hunter2" not in str(refused.value)


def test_given_token_goes_before_the_secrets(tmp_path: Path) -> None:
    load_or_create_secrets(tmp_path)

    assert token_source(" abc.def ", tmp_path)() == "abc.def"


def test_own_token_is_one_hour_of_everything(tmp_path: Path) -> None:
    secrets = load_or_create_secrets(tmp_path)
    before = datetime.now(UTC)

    claims = claims_of(token_source(None, tmp_path)(), secrets.jwt_secret)

    assert claims["sub"] == "demo"
    assert claims["scope"] == "orders:read orders:write admin"
    expires_at = datetime.fromtimestamp(float(str(claims["exp"])), UTC) - timedelta(hours=1)
    assert before - timedelta(seconds=1) <= expires_at <= datetime.now(UTC)


def test_without_token_and_secrets_the_error_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"PULSE_TOKEN.*pulse up"):
        token_source(None, tmp_path / "none")


@pytest.mark.parametrize("token", ["a b", "tok\nen", "tökén", " "])
def test_token_with_odd_characters_is_refused_without_being_shown(tmp_path: Path, token: str) -> None:
    with pytest.raises(BadInput, match="PULSE_TOKEN") as refused:
        token_source(token, tmp_path)

    assert token.strip() == "" or token not in str(refused.value)


def test_token_carries_client_scope_and_end() -> None:
    token = make_token(SECRET, client="desk-1", scope=" orders:read   admin ", expires_at=LATER)

    assert claims_of(token) == {"sub": "desk-1", "scope": "orders:read admin", "exp": int(LATER.timestamp())}


@pytest.mark.parametrize(
    ("client", "scope"),
    [("", "admin"), ("a b", "admin"), ("x" * 65, "admin"), ("desk", ""), ("desk", "orders:read root")],
)
def test_token_for_a_malformed_client_or_scope_is_refused(client: str, scope: str) -> None:
    with pytest.raises(BadInput):
        make_token(SECRET, client=client, scope=scope, expires_at=LATER)
