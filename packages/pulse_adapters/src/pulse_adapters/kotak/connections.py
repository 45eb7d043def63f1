"""HTTP that asks before it sends, and that can be cut off from another thread.

The SDK bounds only the silence between two bytes, and tells a refused connection and a lost answer in the same
words. But it takes a transport of ours, and so does our own client: this one looks at the `Call` of its thread.
The last moment at which a call can still be stopped is right before its first byte, and from then on it counts
as sent. HTTP/1.1, one connection for each thread, kept for the next call.
"""

import select
import socket
import ssl
import struct
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection

import httpx

from pulse_adapters.kotak.settings import LOGIN_URL
from pulse_domain.ports.clock import Clock

DEADLINE_PASSED = "DEADLINE_PASSED"
# A connection that was idle longer is not used again: the other side may be closing it just then, and a
# request lost that way would be one of unknown outcome.
_IDLE_MAX_S = 15.0
# Closing throws away what the kernel has not sent yet, where else it would go on sending for minutes.
_NO_LINGER = struct.pack("ii", 1, 0)

_thread = threading.local()


class TooLate(Exception):
    """The call was given up, or its deadline is too near, before anything was sent."""


class Call:
    """One request on its way: what is known of it, and who may still stop it.

    send_by, cut_at: by the clock's `monotonic`, the latest instants to begin sending and to be over.
    """

    def __init__(self, clock: Clock, *, send_by: float, cut_at: float) -> None:
        self._clock = clock
        self._send_by = send_by
        self._cut_at = cut_at
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._connection: HTTPConnection | None = None
        self._given_up = False
        self.sent = False
        self.failure: str | None = None
        self.answer: httpx.Response | None = None

    def now(self) -> float:
        return self._clock.monotonic()

    def left_s(self) -> float:
        return self._cut_at - self.now()

    def begin_sending(self, connection: HTTPConnection) -> None:
        """Called right before bytes are written.

        Raises:
            TooLate: they must not be.
        """
        with self._lock:
            if self._given_up or self.sent or self.now() > self._send_by:
                raise TooLate
            self.sent = True
            # The socket too: a connection lets go of it while an answer that ends with it is still read.
            self._connection, self._socket = connection, connection.sock

    def give_up(self) -> bool:
        """Stop the call, from any thread. Returns whether it is certain that nothing was sent, nor will be."""
        with self._lock:
            self._given_up = True
            if self._socket is not None:
                # This wakes the thread that waits for the answer; closing is then up to that thread. Not the
                # method of a TLS socket, which would pull the rug from under a reading thread.
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
            return not self.sent

    @property
    def given_up(self) -> bool:
        return self._given_up

    def end(self) -> None:
        """The call's thread is through with it: what it has not sent by now is never sent."""
        with self._lock:
            self._given_up = True
            if self.answer is None and self._connection is not None and self._socket is not None:
                self._connection.close()
                # Where a reader still held on to it, it is not closed yet.
                if self._socket.fileno() >= 0:
                    socket.close(self._socket.detach())
            self._connection = self._socket = None


def on_this_thread(call: Call | None) -> None:
    """Let the transport of this thread ask this call."""
    _thread.call = call


class CallTransport(httpx.BaseTransport):
    """For one thread. login_url: in place of the broker's login host, which the SDK has in its code."""

    def __init__(self, tls: ssl.SSLContext, login_url: str) -> None:
        self._tls = tls
        self._login = httpx.URL(login_url) if login_url != LOGIN_URL else None
        self._connection: HTTPConnection | None = None
        self._origin: tuple[str, str, int | None] | None = None
        self._used_at = 0.0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        call: Call = _thread.call
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
        call.answer = answer
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
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
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
        if connection is None or connection.sock is None or call.now() - self._used_at >= _IDLE_MAX_S:
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
