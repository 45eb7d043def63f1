"""Bearer tokens for the gateway."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from pulse.errors import BadInput
from pulse_adapters.clock import SystemClock

SCOPES = ("orders:read", "orders:write", "admin")
DEFAULT_CLIENT = "demo"
DEFAULT_SCOPE = "orders:read orders:write"
HOURS_MAX = 24 * 366
_JWT_SECRET_BYTES_MIN = 32

_matches_client = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch
_matches_token = re.compile(r"[!-~]+").fullmatch


def make_token(jwt_secret: str, *, client: str, scope: str, expires_at: datetime) -> str:
    """Sign a token as the gateway wants it.

    Raises:
        BadInput: the client's id or a scope is not one.
    """
    import jwt  # 30 ms, which a command that was given a token need not spend

    if _matches_client(client) is None:
        raise BadInput("the client must be 1 to 64 of letters, digits and _.:-")
    words = scope.split()
    if not words or not set(words) <= set(SCOPES):
        raise BadInput(f"the scope must be made of: {' '.join(SCOPES)}")
    claims = {"sub": client, "scope": " ".join(words), "exp": int(expires_at.timestamp())}
    return jwt.encode(claims, jwt_secret, algorithm="HS256")


def check_jwt_secret(secret: str) -> str:
    """What a gateway takes for a secret. Raises: BadInput: it takes no such."""
    try:
        length = len(secret.encode())
    except UnicodeEncodeError:  # what is not UTF-8 arrives from the environment as lone surrogates
        length = 0
    if length < _JWT_SECRET_BYTES_MIN:
        raise BadInput(f"GAPI_JWT_SECRETS must be secrets of at least {_JWT_SECRET_BYTES_MIN} bytes")
    return secret


def given_token(token: str, hint: str = "check PULSE_TOKEN or --token") -> Callable[[], str]:
    """Use this one. Raises: BadInput: it has characters that no token has."""
    token = token.strip()
    if _matches_token(token) is None:
        raise BadInput(f"the token has characters that no token has: {hint}")
    return lambda: token


def own_tokens(jwt_secret: str) -> Callable[[], str]:
    """Make tokens of one hour, a new one for every request: a watch may last longer than that.

    Who has the secret may see all there is, the orders of strategies too.
    """

    def token() -> str:
        return make_token(
            jwt_secret,
            client=DEFAULT_CLIENT,
            scope=" ".join(SCOPES),
            expires_at=SystemClock().now() + timedelta(hours=1),
        )

    return token
