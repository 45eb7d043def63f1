"""Litestar made strict, and its errors put into the envelope; imported by name, needs the extra `litestar`.

Litestar alone takes `"5"` for 5, any media type for JSON, and answers its own errors in its own shape.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    InternalServerException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE
from litestar.types import Empty

from service_kit import envelope
from service_kit.envelope import ServiceError

log = structlog.get_logger(__name__)


class InvalidBody(ServiceError):
    """A request body that does not fit; `details.field` names the place, where there is one."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__("INVALID_REQUEST", message, {"field": field} if field else {})
        self.field = field


class StrictRequest(Request[Any, Any, Any]):
    """Decode a body straight into the handler's type: strict types, one media type, no unknown fields."""

    async def json(self) -> Any:
        if self._json is not Empty:
            return self._json
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise ServiceError(
                "UNSUPPORTED_MEDIA_TYPE", "send the body as application/json", {"content_type": media_type}
            )
        wanted = self.route_handler.parsed_data_field
        value = decode(await self.body(), wanted.annotation if wanted is not None else Any)
        self._json = value
        self._connection_state.json = value
        return value


def decode(body: bytes, wanted: Any) -> Any:
    """Decode strictly.

    Raises:
        InvalidBody: it is no JSON, or not of the wanted shape; the message says what and where.
    """
    try:
        return _decoder(wanted).decode(body)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at ")
        field = place.strip("`").removeprefix("$").removeprefix(".") or None
        named = field or _named_field(problem)
        raise InvalidBody(f"{named}: {problem}" if field else problem, named) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidBody(f"the body is not valid JSON: {error}") from None


def _named_field(problem: str) -> str | None:
    # "Object missing required field `side`" and "Object contains unknown field `x`" name it themselves.
    _, quote, rest = problem.rpartition("field `")
    return rest.rstrip("`") if quote else None


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def _decoder(wanted: Any) -> msgspec.json.Decoder[Any]:
    if wanted not in _decoders:
        _decoders[wanted] = msgspec.json.Decoder(wanted)
    return _decoders[wanted]


Translate = Callable[[Exception], tuple[int, ServiceError] | None]


def exception_handler(
    statuses: Mapping[str, int], translate: Translate
) -> Callable[[Request[Any, Any, Any], Exception], Response[bytes]]:
    """One handler for everything, for `exception_handlers={Exception: ...}`.

    statuses: the status that each code travels with, unless `translate` says otherwise.
    translate: the app's own errors as status and envelope; None for those it does not know.
    """

    def handle(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        translated = translate(error)
        if translated is not None:
            status, shown = translated
        elif isinstance(error, ServiceError):
            status, shown = statuses[error.code], error
        else:
            status, shown = _framework_error(error)
        if status >= 500:
            log.error("request failed", code=shown.code, exc_info=error if status == 500 else None)
        headers = {"Retry-After": "1"} if status == 503 else {}
        if isinstance(error, MethodNotAllowedException) and error.headers:
            headers["Allow"] = error.headers.get("allow") or error.headers.get("Allow") or ""
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        body = envelope.render(shown.code, shown.message, shown.details)
        return Response(body, status_code=status, headers=headers, media_type="application/json")

    return handle


def _framework_error(error: Exception) -> tuple[int, ServiceError]:
    match error:
        case InternalServerException() if "disconnected" in error.detail:
            # Nobody will read the answer; it is no fault of ours.
            return 400, ServiceError("INVALID_REQUEST", "the request was cut off")
        case NotFoundException():
            return 404, ServiceError("NOT_FOUND", "there is no such route")
        case MethodNotAllowedException():
            return 405, ServiceError("METHOD_NOT_ALLOWED", "this route does not take that method")
        case ValidationException():
            return 400, _invalid_parameter(error)
        case HTTPException() if error.status_code == HTTP_413_REQUEST_ENTITY_TOO_LARGE:
            return 413, ServiceError("PAYLOAD_TOO_LARGE", "the body is too large")
        case HTTPException() if 400 <= error.status_code < 500:
            return 400, ServiceError("INVALID_REQUEST", "the request cannot be read")
        case _:
            return 500, ServiceError("INTERNAL_ERROR", "Internal error")


def _invalid_parameter(error: ValidationException) -> ServiceError:
    extra = error.extra
    if isinstance(extra, list) and extra and isinstance(extra[0], dict):
        field = str(extra[0].get("key", ""))
        return ServiceError(
            "INVALID_REQUEST", f"{field}: {extra[0].get('message', 'invalid')}", {"field": field}
        )
    if error.detail == "'data'":
        return ServiceError("INVALID_REQUEST", "a body is required")
    return ServiceError("INVALID_REQUEST", "a parameter is missing or invalid")
