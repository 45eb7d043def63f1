"""What every HTTP service built on this package promises, as a suite to run against each of them.

Subclass `ShellConformance` under a name that pytest collects, say which paths to use, and answer `request`
over a socket or in memory (`call`):

    class TestGateway(ShellConformance):
        known_get_path = "/health"
        known_post_only_path = "/api/things/preview"

        async def request(self, method, path, headers=None, body=b""):
            return await call(app, method, path, headers, body)
"""

import abc
import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from service_kit.asgi import App, Message

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Response(NamedTuple):
    """An answer with its header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


async def call(
    app: App, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Response:
    """Send one request to an ASGI app in memory, and wait for the whole answer."""
    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in (headers or {}).items()],
        "client": ("127.0.0.1", 50000),
        "server": ("localhost", 80),
    }
    unread = [{"type": "http.request", "body": body, "more_body": False}]
    start: Message = {}
    parts: list[bytes] = []
    complete = asyncio.Event()

    async def receive() -> Message:
        if unread:
            return unread.pop()
        await complete.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                complete.set()

    await app(scope, receive, send)
    answered = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in start["headers"]}
    return Response(start["status"], answered, b"".join(parts))


def assert_envelope(response: Response) -> None:
    assert response.headers["content-type"].startswith("application/json")
    body: Any = json.loads(response.body)
    assert list(body) == ["error"]
    assert set(body["error"]) == {"code", "message", "details"}
    assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", body["error"]["code"])
    assert isinstance(body["error"]["message"], str)
    assert isinstance(body["error"]["details"], dict)


def assert_new_ids(response: Response) -> None:
    assert re.fullmatch(r"req_[0-9a-f]{32}", response.headers["x-request-id"])
    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["x-trace-id"])


class ShellConformance(abc.ABC):
    # Answers GET with 200, without credentials.
    known_get_path: str
    # Answers POST, and nothing else.
    known_post_only_path: str

    @abc.abstractmethod
    async def request(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Response:
        """Send the request to the service under test."""

    async def test_ids_are_made_where_none_are_given(self) -> None:
        first = await self.request("GET", self.known_get_path)
        second = await self.request("GET", self.known_get_path)

        assert first.status == 200
        assert_new_ids(first)
        assert first.headers["x-request-id"] != second.headers["x-request-id"]
        assert first.headers["x-trace-id"] != second.headers["x-trace-id"]

    async def test_trace_is_echoed(self) -> None:
        given = {"X-Request-Id": "Call:1.a_b-c", "X-Trace-Id": "x" * 128}

        response = await self.request("GET", self.known_get_path, given)

        assert response.headers["x-request-id"] == "Call:1.a_b-c"
        assert response.headers["x-trace-id"] == "x" * 128

    async def test_bad_ids_are_replaced(self) -> None:
        for bad in ("a b", "x" * 129, "<script>", "a/b", "a,b", "{}"):
            response = await self.request("GET", self.known_get_path, {"X-Request-Id": bad, "X-Trace-Id": bad})

            assert_new_ids(response)

    async def test_traceparent_is_understood(self) -> None:
        response = await self.request("GET", self.known_get_path, {"traceparent": TRACEPARENT})

        assert response.headers["x-trace-id"] == TRACE_ID

    async def test_bad_traceparent_is_ignored(self) -> None:
        bad = TRACEPARENT.replace(TRACE_ID, "0" * 32)

        response = await self.request("GET", self.known_get_path, {"traceparent": bad})

        assert_new_ids(response)

    async def test_trace_id_header_wins_over_traceparent(self) -> None:
        given = {"X-Trace-Id": "mine", "traceparent": TRACEPARENT}

        response = await self.request("GET", self.known_get_path, given)

        assert response.headers["x-trace-id"] == "mine"

    async def test_concurrent_requests_keep_their_own_ids(self) -> None:
        names = [f"call-{n}" for n in range(20)]

        responses = await asyncio.gather(
            *(self.request("GET", self.known_get_path, {"X-Request-Id": name}) for name in names)
        )

        assert [response.headers["x-request-id"] for response in responses] == names

    async def test_unknown_path_carries_ids_and_the_envelope(self) -> None:
        response = await self.request("GET", "/no/such/path", {"X-Request-Id": "call-404"})

        assert response.status == 404
        assert response.headers["x-request-id"] == "call-404"
        assert_envelope(response)

    async def test_wrong_method_carries_ids_and_the_envelope(self) -> None:
        response = await self.request("GET", self.known_post_only_path, {"X-Request-Id": "call-405"})

        assert response.status == 405
        assert "POST" in response.headers["allow"]
        assert response.headers["x-request-id"] == "call-405"
        assert_envelope(response)

    async def test_errors_use_the_envelope(self) -> None:
        headers = {"Content-Type": "application/json", "X-Request-Id": "call-bad"}

        response = await self.request("POST", self.known_post_only_path, headers, b"{")

        assert 400 <= response.status < 500
        assert response.headers["x-request-id"] == "call-bad"
        assert_envelope(response)

    async def test_head_answers_like_get(self) -> None:
        got = await self.request("GET", self.known_get_path)

        head = await self.request("HEAD", self.known_get_path)

        assert head.status == got.status
        assert head.body == b""
        assert head.headers["content-type"] == got.headers["content-type"]
        assert head.headers.get("content-length") == got.headers.get("content-length")
        assert_new_ids(head)

    async def test_head_on_an_unknown_path_is_404_without_a_body(self) -> None:
        response = await self.request("HEAD", "/no/such/path")

        assert response.status == 404
        assert response.body == b""
