import json
from decimal import Decimal
from time import perf_counter
from typing import Any
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from service_kit.redaction import REDACTED, mask, redact

SECRET_NAMES = (
    *("Authorization", "access_token", "webhook_token", "client-secret", "PASSWORD", "passwd", "passphrase"),
    *("X-Api-Key", "apikey", "totp", "jwt", "mpin", "Set-Cookie"),
)

secret_names = st.sampled_from(SECRET_NAMES)
# Long and apart from anything else in the examples, so that a hit is a leak.
secrets = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.~+!$*", min_size=4, max_size=40).map("s3cr3t".__add__)
plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.decimals())
keys = st.one_of(st.text(), st.integers(), st.binary(), st.none())
nested = st.recursive(
    plain, lambda inner: st.one_of(st.lists(inner), st.dictionaries(keys, inner), st.tuples(inner, inner))
)


@given(nested)
def test_whatever_is_logged_becomes_json(value: object) -> None:
    json.loads(json.dumps(redact(value), allow_nan=False))


@given(secret_names, nested, st.lists(st.sampled_from(["a", "b", 0]), max_size=12))
def test_value_under_a_secret_name_is_hidden_at_any_depth(name: str, value: object, way: list[object]) -> None:
    planted: Any = {name: {"inside": ["s3cr3t-value", value]}}
    for step in way:
        planted = [planted] if step == 0 else {step: planted}

    assert "s3cr3t-value" not in json.dumps(redact(planted))


@given(secrets)
def test_bearer_token_is_masked(secret: str) -> None:
    for text in (f"Bearer {secret}", f"got {{'h': 'bearer {secret}'}} back", f'"BEARER  {secret}", next'):
        assert secret not in mask(text)


@given(secrets)
@example("s3cr3t@with@signs")
def test_password_in_an_address_is_masked(secret: str) -> None:
    masked = mask(f"cannot reach postgresql+asyncpg://user:{secret}@db.example:5432/shop?ssl=on, giving up")

    assert masked == (
        f"cannot reach postgresql+asyncpg://user:{REDACTED}@db.example:5432/shop?ssl=on, giving up"
    )
    assert secret not in mask(f"redis://:{secret}@cache")


@given(st.lists(st.from_regex(r"[\w-]{1,60}", fullmatch=True, alphabet="aZ09_-"), min_size=2, max_size=4))
def test_jwt_is_masked_without_a_word_about_it(parts: list[str]) -> None:
    token = ".".join(["eyJhbGciOiJIUzI1NiJ9", *parts])

    assert mask(f"refused: {token}") == f"refused: {REDACTED}"
    assert token not in mask(f"refused: sid-{token}")


@given(st.from_regex(r"[0-9]{5,12}:AA[A-Za-z0-9_-]{33}", fullmatch=True))
def test_key_of_a_bot_is_masked_wherever_it_stands(key: str) -> None:
    for text in (key, f"POST https://api.example/bot{key}/send", f"The token `{key}` was rejected", f"x{key}y"):
        assert key.partition(":")[2] not in mask(text)


@given(secret_names, secrets)
def test_assignment_to_a_secret_name_is_masked(name: str, secret: str) -> None:
    for text in (
        f"{name}={secret}",
        f"?a=1&{name}={secret}&b=2",
        f"Settings({name}='{secret}', port=1)",
        f'Settings({name} = "{secret} and more")',
        f"{{'{name}': '{secret}'}}",
        f'{{"{name}":"{secret}"}}',
        f'"{{\\"{name}\\": \\"{secret}\\"}}"',
        f"[(b'{name}', b'{secret}')]",
    ):
        assert secret not in mask(text)


@given(secrets)
def test_authorization_line_is_masked_whole(secret: str) -> None:
    assert mask(f"Authorization: token id:{secret}\r\nHost: x") == f"Authorization: {REDACTED}\r\nHost: x"


def test_assignment_keeps_what_stands_around_it() -> None:
    assert mask("GET /x?a=1&token=abc&b=2 200") == f"GET /x?a=1&token={REDACTED}&b=2 200"


def test_masked_text_stays_as_it_is() -> None:
    once = mask("token=abc Bearer abc postgresql://u:p@h authorization: abc")

    assert mask(once) == once


def test_harmless_text_stays_as_it_is() -> None:
    for text in (
        "GET http://localhost:8000/health 200",
        "the token has expired; ask for a new password",
        "mail someone@example.com at 10:30",
        "a.b.c eyJust words.",
    ):
        assert mask(text) == text


def test_harmless_values_keep_their_type() -> None:
    assert redact({"n": 1, "yes": True, "none": None, "x": 1.5}) == {
        "n": 1,
        "yes": True,
        "none": None,
        "x": 1.5,
    }


def test_other_objects_are_shown_as_text() -> None:
    thing = UUID(int=1)

    assert redact([Decimal("1.50"), thing, b"raw"]) == ["1.50", str(thing), "b'raw'"]


def test_secret_in_an_exception_is_masked() -> None:
    assert redact({"error": ValueError("no such user: password='hunter2'")}) == {
        "error": f"no such user: password={REDACTED}"
    }


@given(secret_names)
def test_header_pairs_are_hidden(name: str) -> None:
    headers = [(b"host", b"x"), (name.encode(), b"hunter2"), (name, "hunter2")]

    assert redact(headers) == [["b'host'", "b'x'"], [f"b'{name}'", REDACTED], [name, REDACTED]]


def test_value_that_contains_itself_comes_to_an_end() -> None:
    loop: dict[str, object] = {"token": "hunter2"}
    loop["self"] = loop

    assert "hunter2" not in json.dumps(redact(loop))


def test_hostile_text_takes_no_longer_than_its_length() -> None:
    words = (
        "eyJ",
        "eyJ-",
        "eyJa.",
        "token",
        "token=",
        'token="',
        "bearer ",
        "authorization ",
        "://a:",
        "://:a@",
    )

    began = perf_counter()
    for word in words:
        mask(word * (100_000 // len(word)))
        mask(word + " " * 100_000)
        mask(word + "a" * 100_000)

    assert perf_counter() - began < 10


def test_secret_used_as_a_key_is_masked() -> None:
    assert redact({"Bearer hunter2": 1}) == {f"Bearer {REDACTED}": 1}
