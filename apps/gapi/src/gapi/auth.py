"""Who calls: bearer tokens of clients, the service token of operations, the secrets of webhooks."""

import hmac
import math
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

import jwt

from gapi.settings import Hook
from service_kit import ServiceError

# Far above any token of ours; what is longer is not worth parsing.
_TOKEN_CHARS_MAX = 4096

# The times are checked here, by the clock that was given and on every use. A token for another audience is
# refused.
_OPTIONS: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}

_matches_client_id = re.compile(r"[A-Za-z0-9_.:-]{1,64}").fullmatch


class Scope(StrEnum):
    READ = "orders:read"
    WRITE = "orders:write"
    ADMIN = "admin"


class Client(NamedTuple):
    client_id: str
    scopes: frozenset[str]

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Raises: ServiceError: FORBIDDEN, where the token lacks the scope."""
        if scope not in self.scopes and not self.is_admin:
            raise ServiceError("FORBIDDEN", f"the token lacks the scope {scope}", {"scope": scope})


class _Verified(NamedTuple):
    client: Client
    not_before: float
    expires: float


class Tokens:
    """Verifies bearer tokens, and remembers those that it has verified: every request carries one.

    clock: seconds since the epoch. It is asked on every use, so a remembered token expires on time.
    """

    def __init__(
        self, secrets: Sequence[str], clock: Callable[[], float], *, remembered_max: int = 4096
    ) -> None:
        self._secrets = [secret.encode() for secret in secrets]
        self._clock = clock
        self._remembered_max = remembered_max
        self._remembered: dict[str, _Verified] = {}

    def client(self, authorization: str | None) -> Client:
        """Read the client out of an `Authorization` header.

        Raises:
            ServiceError: UNAUTHORIZED; the message tells apart only what the caller can see for itself.
        """
        if authorization is None:
            raise ServiceError("UNAUTHORIZED", "send the header Authorization: Bearer <token>")
        verified = self._remembered.get(authorization)
        if verified is None:
            verified = self._verify(bearer(authorization))
        now = self._clock()
        if now >= verified.expires:
            self._remembered.pop(authorization, None)
            raise ServiceError("UNAUTHORIZED", "the token has expired")
        if now < verified.not_before:
            raise ServiceError("UNAUTHORIZED", "the token is not valid yet")
        if authorization not in self._remembered:
            if len(self._remembered) >= self._remembered_max:
                del self._remembered[next(iter(self._remembered))]  # the oldest
            self._remembered[authorization] = verified
        return verified.client

    def _verify(self, token: str) -> _Verified:
        claims = self._claims(token)
        subject, scope = claims.get("sub"), claims.get("scope")
        if not isinstance(subject, str) or _matches_client_id(subject) is None or not isinstance(scope, str):
            raise _bad_token()
        client = Client(subject, frozenset(scope.split()))
        return _Verified(client, _instant(claims.get("nbf", 0)), _instant(claims.get("exp")))

    def _claims(self, token: str) -> dict[str, Any]:
        if len(token) > _TOKEN_CHARS_MAX:
            raise _bad_token()
        for secret in self._secrets:
            try:
                claims: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"], options=_OPTIONS)
            except jwt.InvalidSignatureError:
                continue  # perhaps signed with the next one: secrets are rotated
            except (jwt.PyJWTError, ValueError, RecursionError):
                break
            return claims
        raise _bad_token()


def _instant(claim: object) -> float:
    if isinstance(claim, bool) or not isinstance(claim, (int, float)) or not math.isfinite(claim):
        raise _bad_token()
    return claim


def _bad_token() -> ServiceError:
    return ServiceError("UNAUTHORIZED", "the token is not valid")


def bearer(authorization: str | None) -> str:
    """Give what follows `Bearer`, or an empty string."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _digest(secret: str) -> bytes:
    # Digests have one length, so a comparison does not tell how long the secret is.
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


class ServiceToken:
    def __init__(self, token: str) -> None:
        self._digest = _digest(token)

    def check(self, authorization: str | None) -> None:
        """Raises: ServiceError: UNAUTHORIZED, where it is not the service token."""
        if not hmac.compare_digest(_digest(bearer(authorization)), self._digest):
            raise ServiceError("UNAUTHORIZED", "a service token is required")


class Hooks:
    """The configured webhooks, found by their secrets."""

    def __init__(self, hooks: Sequence[Hook]) -> None:
        self._hooks = [(_digest(hook.secret), hook) for hook in hooks]

    def find(self, secrets: Sequence[str]) -> Hook:
        """Find the hook that every one of `secrets` belongs to.

        Raises:
            ServiceError: UNAUTHORIZED, whether there is no secret, a wrong one, or two of different hooks.
        """
        found = {self._find(secret) for secret in secrets}
        hook = found.pop() if len(found) == 1 else None
        if hook is None:
            raise ServiceError("UNAUTHORIZED", "the secret is missing or wrong")
        return hook

    def _find(self, secret: str) -> Hook | None:
        given, found = _digest(secret), None
        for digest, hook in self._hooks:  # to the end, so that the time does not tell which one it was
            if hmac.compare_digest(given, digest):
                found = hook
        return found
