"""Pulse's answers on their way to the client."""

from collections.abc import Sequence
from typing import Any

import msgspec
import structlog
from litestar import Response
from litestar.types import Receive, Scope, Send
from msgspec import Struct

from gapi.hop import Answer
from gapi.pulse_client import Headers
from service_kit import ServiceError

_PASSED_ON = frozenset((b"content-type", b"idempotent-replayed", b"retry-after"))
# Pulse says these to the gateway, not to the client: our service token or our address of it is wrong.
_MEANT_FOR_US = frozenset((401, 403, 405))

log = structlog.get_logger(__name__)


class Passed(Response[Any]):
    """An answer that is ready to be sent.

    It is an ASGI app itself and leaves out all that Litestar's own response would make of it: this is the
    answer to every order.
    """

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self._start = {"type": "http.response.start", "status": status, "headers": headers}
        self._body = {"type": "http.response.body", "body": body}

    def to_asgi_response(self, *args: Any, **kwargs: Any) -> Any:
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send(self._start)  # type: ignore[arg-type]  # a dict, built once instead of a TypedDict
        await send(self._body)  # type: ignore[arg-type]  # as above


def passed(answer: Answer, *added: tuple[bytes, bytes]) -> Passed:
    """Hand on status, body and those headers that are the client's business.

    Raises:
        ServiceError: UPSTREAM_UNAVAILABLE, where this is not an answer of Pulse to the client's request.
    """
    headers = [pair for pair in answer.headers if pair[0] in _PASSED_ON]
    if answer.status != 204:
        if answer.status in _MEANT_FOR_US or not _is_json(headers):
            raise not_pulse(answer.status)
        headers.append((b"content-length", b"%d" % len(answer.body)))
        if answer.status == 503 and not any(name == b"retry-after" for name, _ in headers):
            headers.append((b"retry-after", b"1"))
    return Passed(answer.status, [*headers, *added], answer.body)


def not_pulse(status: int) -> ServiceError:
    log.error("the order service answers as it never should", status=status)
    return ServiceError(
        "UPSTREAM_UNAVAILABLE", "the order service cannot be asked; send the same request again"
    )


def _is_json(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-type" and value.startswith(b"application/json") for name, value in headers)


class _AcceptedId(Struct):
    order_id: str


_accepted_id = msgspec.json.Decoder(_AcceptedId).decode


def passed_accepted(answer: Answer) -> Passed:
    """As `passed`, with the address of the order where it was accepted."""
    if answer.status != 202:
        return passed(answer)
    try:
        order_id = _accepted_id(answer.body).order_id
    except msgspec.DecodeError:
        raise not_pulse(answer.status) from None
    return passed(answer, (b"location", b"/api/orders/" + order_id.encode()))
