"""HTTP connections that ask before they send, and that can be cut off from another thread.

`requests` alone does not say whether a failed call has sent something, and bounds only the silence between
two bytes. So every connection looks at the `Call` of its thread: the last moment at which a call can still
be stopped is right before its first byte, and from then on it counts as sent.
"""

import socket
import struct
import threading
from contextlib import suppress
from typing import Any

from msgspec import Struct
from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

from pulse_domain.ports.clock import Clock

# A connection that was idle longer is not used again: the other side may be closing it just then, and a
# request lost that way would be one of unknown outcome.
_IDLE_MAX_S = 15.0
# Closing throws away what the kernel has not sent yet, where else it would go on sending for minutes.
_NO_LINGER = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

_thread = threading.local()


class TooLate(Exception):
    """The call was given up, or its deadline is too near, before anything was sent."""


class RawAnswer(Struct, frozen=True, kw_only=True):
    status: int
    content_type: str
    body: bytes


class Call:
    """One request on its way: what is known of it, and who may still stop it.

    send_by: by the clock's `monotonic`, the latest instant to begin sending.
    """

    def __init__(self, clock: Clock, send_by: float) -> None:
        self._clock = clock
        self._send_by = send_by
        self._lock = threading.Lock()
        # The socket too: a connection lets go of it while an answer that ends with it is still read.
        self._socket: socket.socket | None = None
        self._connection: _Watched | None = None
        self._given_up = False
        self.sent = False
        self.answer: RawAnswer | None = None

    def now(self) -> float:
        return self._clock.monotonic()

    def begin_sending(self, connection: "_Watched") -> None:
        """Called right before bytes are written.

        Raises:
            TooLate: they must not be.
        """
        with self._lock:
            if self._given_up or (not self.sent and self.now() > self._send_by):
                raise TooLate
            self.sent = True
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


class _Watched:
    """Mixed into a connection of urllib3."""

    sock: socket.socket | None
    _used_at: float | None = None

    def send(self, data: Any) -> None:
        call: Call = _thread.call
        if self.sock is None:
            # http.client would connect after our last look, and that may take a while.
            self.connect()
        call.begin_sending(self)
        self._used_at = call.now()
        super().send(data)  # type: ignore[misc]  # the connection's

    @property
    def is_connected(self) -> bool:
        """What urllib3 asks before it uses a connection again."""
        idle_s = _thread.call.now() - self._used_at if self._used_at is not None else 0.0
        return idle_s < _IDLE_MAX_S and super().is_connected  # type: ignore[misc]  # the connection's

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # the connection's

    def close(self) -> None:
        super().close()  # type: ignore[misc]  # the connection's


class _PlainConnection(_Watched, HTTPConnection):
    pass


class _SecureConnection(_Watched, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Transport(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        self.poolmanager = PoolManager(
            num_pools=1, maxsize=1, socket_options=[*HTTPConnection.default_socket_options, _NO_LINGER]
        )
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        response = super().send(request, *args, **kwargs)
        call: Call = _thread.call
        call.answer = RawAnswer(
            status=response.status_code,
            content_type=response.headers.get("content-type", ""),
            body=response.content,
        )
        return response


def make_session() -> Session:
    """A session for one thread. It reads nothing from the environment: a .netrc would replace the broker's
    authorization header."""
    session = Session()
    session.trust_env = False
    # An order is not sent where an answer points to.
    session.max_redirects = 0
    session.mount("https://", _Transport(max_retries=0))
    session.mount("http://", _Transport(max_retries=0))
    return session


def on_this_thread(call: Call | None) -> None:
    """Let the connections of this thread ask this call."""
    _thread.call = call
