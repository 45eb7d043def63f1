import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gapi.auth import Client, Hooks, Scope, ServiceToken, Tokens
from gapi.settings import Hook
from service_kit import ServiceError

Token = Callable[..., str]
OTHER_SECRET = "second-secret-of-at-least-32-bytes"


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(now: float) -> Clock:
    return Clock(now)


@pytest.fixture
def tokens(jwt_secret: str, clock: Clock) -> Tokens:
    return Tokens([jwt_secret, OTHER_SECRET], clock, remembered_max=3)


def refused(call: Callable[..., object], *arguments: object) -> str:
    with pytest.raises(ServiceError) as raised:
        call(*arguments)
    assert raised.value.code == "UNAUTHORIZED"
    return raised.value.message


def test_client_and_scopes_are_read(tokens: Tokens, token: Token) -> None:
    client = tokens.client(token(scope="orders:read orders:write other"))

    assert client.client_id == "alice"
    assert {Scope.READ, Scope.WRITE} < client.scopes
    assert not client.is_admin


def test_secrets_are_rotated(tokens: Tokens, token: Token) -> None:
    assert tokens.client(token(OTHER_SECRET)).client_id == "alice"


def test_scheme_is_read_in_any_case(tokens: Tokens, token: Token) -> None:
    assert tokens.client(token().replace("Bearer", "bearer")).client_id == "alice"


def test_a_token_expires_while_it_is_remembered(tokens: Tokens, token: Token, clock: Clock) -> None:
    given = token(exp=clock.now + 60)
    tokens.client(given)

    clock.now += 59
    tokens.client(given)
    clock.now += 1

    assert "expired" in refused(tokens.client, given)


def test_a_token_starts_at_its_time(tokens: Tokens, token: Token, clock: Clock) -> None:
    given = token(nbf=clock.now + 10)

    assert "not valid yet" in refused(tokens.client, given)
    clock.now += 10
    tokens.client(given)


def test_more_tokens_than_are_remembered(tokens: Tokens, token: Token) -> None:
    given = [token(sub=f"client-{number}") for number in range(10)]

    for _ in range(2):
        assert [tokens.client(one).client_id for one in given] == [f"client-{n}" for n in range(10)]


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "a\n"},
        {"sub": "x" * 65},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"exp": float("inf")},
        {"nbf": "now"},
        {"scope": None},
        {"scope": ["orders:read"]},
        {"aud": "somebody else"},
    ],
)
def test_a_claim_that_does_not_fit_is_refused(tokens: Tokens, token: Token, claims: dict[str, Any]) -> None:
    given = token(**claims)

    assert refused(tokens.client, given) == "the token is not valid"


def unsigned(header: object, claims: object) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    return "Bearer " + b".".join([*parts, b""]).decode()


def test_a_signature_is_required(tokens: Tokens, token: Token, now: float, jwt_secret: str) -> None:
    claims = {"sub": "alice", "exp": now + 60, "scope": "admin"}
    deep = "Bearer " + base64.urlsafe_b64encode(b"[" * 2500).decode() + ".e30."
    strangers = [
        unsigned({"alg": "none"}, claims),
        unsigned({"alg": "HS256"}, claims),
        "Bearer " + jwt.encode(claims, jwt_secret * 2, algorithm="HS512"),
        token("a-third-secret-that-nobody-configured"),
        token()[:-2],
        token() + "x",
        "Bearer " + "x" * 100_000,
        deep,
        "Bearer",
        "Bearer ",
        "",
        token().replace("Bearer", "Basic"),
        token().removeprefix("Bearer "),
    ]

    for stranger in strangers:
        assert refused(tokens.client, stranger) == "the token is not valid"


def test_no_token_says_how_to_send_one(tokens: Tokens) -> None:
    assert "Authorization: Bearer" in refused(tokens.client, None)


@given(st.text(max_size=60) | st.text("eyJ.-_09Az=", max_size=60))
def test_no_text_is_a_token(text: str) -> None:
    tokens = Tokens(["x" * 32], lambda: 0)

    refused(tokens.client, f"Bearer {text}")


@pytest.mark.parametrize("scope", list(Scope))
def test_admin_includes_every_scope(scope: Scope) -> None:
    Client("root", frozenset(["admin"])).require(scope)


def test_a_missing_scope_is_named() -> None:
    with pytest.raises(ServiceError) as raised:
        Client("alice", frozenset(["orders:read"])).require(Scope.WRITE)

    assert raised.value.code == "FORBIDDEN"
    assert raised.value.details == {"scope": "orders:write"}


def test_service_token() -> None:
    service = ServiceToken("planted-service-token")

    service.check("Bearer planted-service-token")
    for wrong in (None, "", "Bearer", "Bearer planted-service-toke", "planted-service-token", "Bearer é"):
        refused(service.check, wrong)


def hook(name: str, secret: str) -> Hook:
    return Hook(name=name, client_id=f"client-{name}", secret=secret)


def test_a_hook_is_found_by_its_secret() -> None:
    first, second = hook("first", "first-hook-secret"), hook("second", "second-hook-secret")
    hooks = Hooks([first, second])

    assert hooks.find(["first-hook-secret"]) is first
    assert hooks.find(["second-hook-secret", "second-hook-secret"]) is second
    messages = {
        refused(hooks.find, wrong)
        for wrong in ([], [""], ["x"], ["first-hook-secret", "second-hook-secret"], ["first-hook-secret", "x"])
    }
    assert len(messages) == 1  # nothing tells which of them it was
    refused(Hooks([]).find, ["first-hook-secret"])
