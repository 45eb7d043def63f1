"""A wrapper *around* a finished ASGI app: ids in and out, HEAD, a last-resort 500, one record per request.

It stands outside the framework because a framework's own middleware does not run for the 404 and 405 that its
router answers.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any, NamedTuple

import structlog

from service_kit import envelope, trace

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# The arguments are Any because every framework types its own scope and messages.
App = Callable[[Any, Any, Any], Awaitable[None]]

_REQUEST_ID, _TRACE_ID = trace.REQUEST_ID_HEADER.encode(), trace.TRACE_ID_HEADER.encode()
_OURS = (_REQUEST_ID, _TRACE_ID)
# Where an app is mounted in another, both wrapped, the inner wrapper finds here what the outer one decided.
_IDS = "service_kit.ids"

log = structlog.get_logger(__name__)


class RequestRecord(NamedTuple):
    """What happened to one request.

    `path` can hold a secret (a token in a webhook's address): logs and labels take `route`, which is the
    template that the app's router left in the scope as `path_template`, or "unmatched". `status` is 500 where
    the app never answered. `duration_s` ends where the answer begins, since a stream may last for hours.
    """

    method: str
    path: str
    route: str
    status: int
    duration_s: float


def log_request(record: RequestRecord) -> None:
    """Write the access log line; pass it, or a function that calls it, as `on_request`."""
    log.info(
        "request",
        method=record.method,
        route=record.route,
        status=record.status,
        duration_ms=round(record.duration_s * 1000, 3),
    )


def _route(scope: Scope) -> str:
    return scope.get("path_template") or "unmatched"


class TraceMiddleware:
    """Run `app` under the request's ids and put them on every answer; `on_request` is called under them too.

    Lifespan and websocket scopes pass through untouched.
    """

    def __init__(self, app: App, *, on_request: Callable[[RequestRecord], None] | None = None) -> None:
        self._app = app
        self._on_request = on_request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        began = perf_counter()
        method: str = scope["method"]
        path: str = scope["path"]
        refused: list[str] = []
        ids: trace.Ids | None = scope.get(_IDS)
        if ids is None:
            ids, refused = trace.from_headers(scope["headers"])
        # A copy: the server still has to see HEAD, so as not to expect a body.
        scope = {**scope, _IDS: ids, "method": "GET" if method == "HEAD" else method}
        id_headers = [(_REQUEST_ID, ids.request_id.encode()), (_TRACE_ID, ids.trace_id.encode())]
        status = 0
        answered = began
        head_ended = False

        async def send_with_ids(message: Message) -> None:
            nonlocal status, answered, head_ended
            if message["type"] == "http.response.start":
                status = message["status"]
                answered = perf_counter()
                headers = [pair for pair in message.get("headers", ()) if pair[0].lower() not in _OURS]
                await send({**message, "headers": headers + id_headers})
            elif method != "HEAD":
                await send(message)
            elif not head_ended:
                # The end comes at once, so that a HEAD on an endless stream ends as well.
                head_ended = True
                await send({"type": "http.response.body", "body": b""})

        token = trace.CURRENT.set(ids)
        try:
            if refused:
                log.info("malformed ids replaced", headers=refused)
            await self._app(scope, receive, send_with_ids)
        except Exception:  # the outermost layer of ours: whatever gets here becomes a 500
            log.exception("unhandled error", method=method, route=_route(scope))
            if status:
                raise  # the answer has begun; all that is left is that the server cuts it off
            body = envelope.render("INTERNAL_ERROR", "Internal error")
            headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            await send_with_ids({"type": "http.response.start", "status": 500, "headers": headers})
            await send_with_ids({"type": "http.response.body", "body": body})
        finally:
            if self._on_request is not None:
                duration_s = (answered if status else perf_counter()) - began
                self._on_request(RequestRecord(method, path, _route(scope), status or 500, duration_s))
            trace.CURRENT.reset(token)
