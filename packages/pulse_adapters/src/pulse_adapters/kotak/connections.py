"""The transport that the SDK is given, so that its requests ask the call of their thread before they are sent.

HTTP/1.1, one connection for each thread, kept for the next call.
"""

import select
import ssl
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection

import httpx

from pulse_adapters.kotak.settings import LOGIN_URL
from pulse_adapters.real_broker.calls import DEADLINE_PASSED
from pulse_adapters.real_broker.connections import (
    IDLE_MAX_S,
    NO_LINGER,
    Call,
    RawAnswer,
    TooLate,
    call_of_this_thread,
)


class CallTransport(httpx.BaseTransport):
    """For one thread. login_url: in place of the broker's login host, which the SDK has in its code."""

    def __init__(self, tls: ssl.SSLContext, login_url: str) -> None:
        self._tls = tls
        self._login = httpx.URL(login_url) if login_url != LOGIN_URL else None
        self._connection: HTTPConnection | None = None
        self._origin: tuple[str, str, int | None] | None = None
        self._used_at = 0.0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        call = call_of_this_thread()
        if call.sent:
            raise httpx.ConnectError("a call is one request")
        url = request.url
        if self._login is not None and url.host == httpx.URL(LOGIN_URL).host:
            url = url.copy_with(scheme=self._login.scheme, host=self._login.host, port=self._login.port)
            request.headers["host"] = url.netloc.decode()
        connection = self._connect(call, url)
        try:
            call.begin_sending(connection)
        except TooLate as late:
            call.failure = DEADLINE_PASSED
            raise httpx.ConnectError("given up before anything was sent") from late
        try:
            answer = _exchange(connection, request, url)
        except (OSError, HTTPException, httpx.DecodingError) as error:
            is_late = call.given_up or isinstance(error, TimeoutError)
            call.failure = "TIMEOUT" if is_late else "CONNECTION_LOST"
            self._connection = None
            raise httpx.ReadError("no whole answer has come") from error
        self._used_at = call.now()
        call.answer = RawAnswer(
            status=answer.status_code,
            content_type=answer.headers.get("content-type", ""),
            body=answer.content,
        )
        return answer

    def _connect(self, call: Call, url: httpx.URL) -> HTTPConnection:
        origin = (url.scheme, url.host, url.port)
        if origin == self._origin and self._is_usable(call):
            assert self._connection is not None, "looked at by _is_usable"
            self._connection.sock.settimeout(max(0.001, call.left_s()))
            return self._connection
        self.close()
        timeout_s = max(0.001, call.left_s())
        connection: HTTPConnection
        if url.scheme == "https":
            connection = HTTPSConnection(url.host, url.port, timeout=timeout_s, context=self._tls)
        else:
            connection = HTTPConnection(url.host, url.port, timeout=timeout_s)
        try:
            # http.client would connect after our last look, and that may take a while.
            connection.connect()
            connection.sock.setsockopt(*NO_LINGER)
            connection.sock.settimeout(max(0.001, call.left_s()))
        except (OSError, HTTPException) as error:
            call.failure = _connect_code(error)
            connection.close()
            raise httpx.ConnectError("no connection") from error
        self._connection, self._origin = connection, origin
        return connection

    def _is_usable(self, call: Call) -> bool:
        """Whether the connection of the last call can serve again."""
        connection = self._connection
        if connection is None or connection.sock is None or call.now() - self._used_at >= IDLE_MAX_S:
            return False
        # Nothing is expected on an idle connection: what can be read is its end.
        poll = select.poll()
        poll.register(connection.sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._origin = None


def _exchange(connection: HTTPConnection, request: httpx.Request, url: httpx.URL) -> httpx.Response:
    connection.request(
        request.method, url.raw_path.decode(), body=request.read() or None, headers=dict(request.headers)
    )
    raw: HTTPResponse = connection.getresponse()
    body = raw.read()
    return httpx.Response(raw.status, headers=raw.getheaders(), content=body, request=request)


def _connect_code(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "CONNECT_TIMEOUT"
        case ssl.SSLError():
            return "TLS_FAILED"
    return "UNREACHABLE"
