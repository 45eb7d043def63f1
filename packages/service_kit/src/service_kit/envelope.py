"""The one shape of every error answer: `{"error": {"code", "message", "details"}}`.

Which status a code travels with is each app's own table.
"""

from collections.abc import Mapping
from typing import Any

import msgspec


class Error(msgspec.Struct, frozen=True):
    code: str
    message: str
    details: dict[str, Any] = {}


class ErrorBody(msgspec.Struct, frozen=True):
    error: Error


class ServiceError(Exception):
    """An error that its raiser wants the client to see as it is."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details: dict[str, Any] = dict(details or {})


_encode = msgspec.json.Encoder().encode


def render(code: str, message: str, details: Mapping[str, Any] | None = None) -> bytes:
    return _encode(ErrorBody(Error(code, message, dict(details or {}))))
