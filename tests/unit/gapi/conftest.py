from collections.abc import Callable
from typing import Any

import jwt
import pytest

NOW = 1_767_600_000.0  # 2026-01-05
JWT_SECRET = "first-secret-of-at-least-32-bytes"


@pytest.fixture
def now() -> float:
    return NOW


@pytest.fixture
def jwt_secret() -> str:
    return JWT_SECRET


@pytest.fixture
def environ() -> dict[str, str]:
    """The least that the gateway starts with."""
    return {"PULSE_SERVICE_TOKEN": "planted-service-token", "GAPI_JWT_SECRETS": JWT_SECRET}


@pytest.fixture
def token() -> Callable[..., str]:
    """Make an Authorization header; a claim given as None is left out."""

    def make(secret: str = JWT_SECRET, **claims: Any) -> str:
        wanted = {"sub": "alice", "exp": NOW + 60, "scope": "orders:read"} | claims
        return "Bearer " + jwt.encode({k: v for k, v in wanted.items() if v is not None}, secret)

    return make
