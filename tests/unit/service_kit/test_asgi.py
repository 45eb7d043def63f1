import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from service_kit import trace
from service_kit.asgi import App, Message, Receive, RequestRecord, Scope, Send, TraceMiddleware, log_request
from service_kit.testing import assert_envelope, call
from service_kit.trace import Ids

Lines = Callable[[], list[dict[str, Any]]]

GIVEN = {"X-Request-Id": "r1", "X-Trace-Id": "t1"}
JSON_HEADERS = [(b"content-type", b"application/json")]


async def answer(send: Send, body: bytes, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": JSON_HEADERS})
    await send({"type": "http.response.body", "body": body})


async def show_ids(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the ids as seen before and after other tasks had their turn."""
    before = trace.current()
    await asyncio.sleep(0.001)
    await answer(send, json.dumps([before, trace.current()]).encode())


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    scope["path_template"] = "/fail/{token}"
    raise RuntimeError("no answer from https://u:hunter2@h")


async def fail_midway(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    raise RuntimeError("broke off")


def recorded(app: App) -> tuple[TraceMiddleware, list[RequestRecord]]:
    records: list[RequestRecord] = []
    return TraceMiddleware(app, on_request=records.append), records


async def test_app_runs_under_the_given_ids() -> None:
    response = await call(TraceMiddleware(show_ids), "GET", "/", GIVEN)

    assert json.loads(response.body) == [["r1", "t1"], ["r1", "t1"]]
    assert response.headers["x-request-id"] == "r1"
    assert response.headers["x-trace-id"] == "t1"


async def test_made_ids_are_the_ones_in_the_answer() -> None:
    response = await call(TraceMiddleware(show_ids), "GET", "/")

    seen, _ = json.loads(response.body)
    assert seen == [response.headers["x-request-id"], response.headers["x-trace-id"]]


async def test_ids_are_gone_after_the_request() -> None:
    await call(TraceMiddleware(show_ids), "GET", "/", GIVEN)

    assert trace.current() is None


async def test_ids_do_not_leak_between_concurrent_requests() -> None:
    app = TraceMiddleware(show_ids)
    names = [f"r{n}" for n in range(100)]

    responses = await asyncio.gather(
        *(call(app, "GET", "/", {"X-Request-Id": name, "X-Trace-Id": name}) for name in names)
    )

    assert [json.loads(response.body) for response in responses] == [[[name] * 2] * 2 for name in names]
    assert [response.headers["x-request-id"] for response in responses] == names
    assert trace.current() is None


async def test_ids_set_by_the_app_are_replaced() -> None:
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        own = [(b"X-Request-ID", b"other"), (b"x-trace-id", b"other"), (b"etag", b"e")]
        await send({"type": "http.response.start", "status": 204, "headers": own})

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"x-request-id", b"r1")]}
    await TraceMiddleware(app)(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]  # never received

    (start,) = sent
    assert [name for name, _ in start["headers"]] == [b"etag", b"x-request-id", b"x-trace-id"]
    assert (b"x-request-id", b"r1") in start["headers"]


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
async def test_other_scopes_pass_through_untouched(kind: str) -> None:
    passed: list[tuple[object, ...]] = []

    async def app(*arguments: object) -> None:
        passed.append(arguments)

    scope, receive, send = {"type": kind}, object(), object()
    await TraceMiddleware(app)(scope, receive, send)  # type: ignore[arg-type]  # they are only handed on

    ((got_scope, got_receive, got_send),) = passed
    assert got_scope is scope
    assert got_receive is receive
    assert got_send is send


async def test_wrapped_app_inside_a_wrapped_app_keeps_the_outer_ids() -> None:
    response = await call(TraceMiddleware(TraceMiddleware(show_ids)), "GET", "/")

    seen, _ = json.loads(response.body)
    assert seen == [response.headers["x-request-id"], response.headers["x-trace-id"]]


async def test_malformed_ids_are_reported_and_not_repeated(lines: Lines) -> None:
    response = await call(TraceMiddleware(show_ids), "GET", "/", {"X-Request-Id": "<script>"})

    (line,) = lines()
    assert line["event"] == "malformed ids replaced"
    assert line["headers"] == ["x-request-id"]
    assert line["request_id"] == response.headers["x-request-id"]
    assert "script" not in json.dumps(line)


async def test_head_reaches_the_app_as_get_and_loses_only_the_body() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"3")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": scope["method"].encode()})

    got = await call(TraceMiddleware(app), "GET", "/", GIVEN)
    head = await call(TraceMiddleware(app), "HEAD", "/", GIVEN)

    assert got.body == b"GET"
    assert head == got._replace(body=b"")


async def test_server_still_sees_head() -> None:
    scope = {"type": "http", "method": "HEAD", "path": "/", "headers": []}

    async def send(message: Message) -> None:
        pass

    await TraceMiddleware(show_ids)(scope, asyncio.Event().wait, send)  # type: ignore[arg-type]  # never received

    assert scope == {"type": "http", "method": "HEAD", "path": "/", "headers": []}


async def test_head_on_an_endless_stream_ends() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.ensure_future(receive())
        while not gone.done():
            await send({"type": "http.response.body", "body": b"tick", "more_body": True})
            await asyncio.sleep(0)

    response = await asyncio.wait_for(call(TraceMiddleware(app), "HEAD", "/"), timeout=5)

    assert response.body == b""


async def test_exception_becomes_a_500_in_the_envelope_with_ids(lines: Lines) -> None:
    response = await call(TraceMiddleware(fail), "GET", "/fail/hunter2", GIVEN)

    assert response.status == 500
    assert response.headers["x-request-id"] == "r1"
    assert response.headers["x-trace-id"] == "t1"
    assert_envelope(response)
    assert json.loads(response.body)["error"]["code"] == "INTERNAL_ERROR"
    assert int(response.headers["content-length"]) == len(response.body)
    assert trace.current() is None


async def test_exception_is_logged_with_ids_and_without_secrets(lines: Lines) -> None:
    await call(
        TraceMiddleware(fail), "GET", "/fail/hunter2?token=hunter2", {**GIVEN, "Authorization": "hunter2"}
    )

    (line,) = lines()
    assert line["level"] == "error"
    assert line["route"] == "/fail/{token}"
    assert (line["request_id"], line["trace_id"]) == ("r1", "t1")
    assert "RuntimeError" in line["exception"]
    assert "hunter2" not in json.dumps(line)


async def test_exception_after_the_answer_began_is_logged_and_left_to_the_server(lines: Lines) -> None:
    app, records = recorded(fail_midway)

    with pytest.raises(RuntimeError, match="broke off"):
        await call(app, "GET", "/", GIVEN)

    (line,) = lines()
    assert line["request_id"] == "r1"
    assert [record.status for record in records] == [200]
    assert trace.current() is None


async def test_request_is_recorded_under_its_ids() -> None:
    seen: list[tuple[RequestRecord, Ids | None]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["path_template"] = "/things/{id}"
        await answer(send, b"", status=404)

    wrapped = TraceMiddleware(app, on_request=lambda record: seen.append((record, trace.current())))
    await call(wrapped, "HEAD", "/things/1?a=b", GIVEN)

    ((record, ids),) = seen
    assert record[:4] == ("HEAD", "/things/1", "/things/{id}", 404)
    assert 0 < record.duration_s < 5
    assert ids == Ids("r1", "t1")


async def test_route_is_unmatched_where_no_router_named_one() -> None:
    app, records = recorded(show_ids)

    await call(app, "GET", "/no/such/path")

    assert records[0].route == "unmatched"


async def test_duration_ends_where_the_answer_begins() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b""})

    wrapped, records = recorded(app)
    await call(wrapped, "GET", "/")

    assert records[0].duration_s < 0.2


async def test_failed_request_is_recorded_as_500(lines: Lines) -> None:
    app, records = recorded(fail)

    await call(app, "GET", "/")

    assert records[0].status == 500


async def test_cancelled_request_is_recorded_and_leaves_no_ids() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise asyncio.CancelledError

    wrapped, records = recorded(app)
    with pytest.raises(asyncio.CancelledError):
        await call(wrapped, "GET", "/")

    assert records[0].status == 500
    assert trace.current() is None


async def test_access_line_tells_the_route_and_not_the_path(lines: Lines) -> None:
    with trace.bind(Ids("r1", "t1")):
        log_request(RequestRecord("GET", "/hooks/hunter2", "/hooks/{token}", 202, 0.0123456))

    (line,) = lines()
    assert line["request_id"] == "r1"
    assert {key: line[key] for key in ("event", "method", "route", "status", "duration_ms")} == {
        "event": "request",
        "method": "GET",
        "route": "/hooks/{token}",
        "status": 202,
        "duration_ms": 12.346,
    }
    assert "hunter2" not in json.dumps(line)
