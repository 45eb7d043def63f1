"""The conformance suite, run against the smallest app that should pass it."""

from collections.abc import Mapping

from service_kit import envelope
from service_kit.asgi import Receive, Scope, Send, TraceMiddleware
from service_kit.testing import Response, ShellConformance, call

METHODS = {"/health": "GET", "/things": "POST"}


async def shop(scope: Scope, receive: Receive, send: Send) -> None:
    allowed = METHODS.get(scope["path"])
    if allowed is None:
        status, body = 404, envelope.render("NOT_FOUND", "No such path")
    elif scope["method"] != allowed:
        status, body = 405, envelope.render("METHOD_NOT_ALLOWED", "Not like this")
    elif allowed == "POST":
        status, body = 400, envelope.render("INVALID_REQUEST", "This shop takes nothing", {"field": "body"})
    else:
        status, body = 200, b'{"status":"ok"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 405 and allowed is not None:
        headers.append((b"allow", allowed.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class TestShop(ShellConformance):
    known_get_path = "/health"
    known_post_only_path = "/things"

    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        return await call(TraceMiddleware(shop), method, path, headers, body)
