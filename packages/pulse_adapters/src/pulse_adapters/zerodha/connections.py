"""`requests`, so that its connections ask the call of their thread before they send."""

import socket
from typing import Any

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager

from pulse_adapters.real_broker.connections import IDLE_MAX_S, NO_LINGER, RawAnswer, call_of_this_thread


class _Watched:
    """Mixed into a connection of urllib3."""

    sock: socket.socket | None
    _used_at: float | None = None

    def send(self, data: Any) -> None:
        call = call_of_this_thread()
        if self.sock is None:
            # http.client would connect after our last look, and that may take a while.
            self.connect()
        call.begin_sending(self)
        self._used_at = call.now()
        super().send(data)  # type: ignore[misc]  # the connection's

    @property
    def is_connected(self) -> bool:
        """What urllib3 asks before it uses a connection again."""
        idle_s = call_of_this_thread().now() - self._used_at if self._used_at is not None else 0.0
        return idle_s < IDLE_MAX_S and super().is_connected  # type: ignore[misc]  # the connection's

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
            num_pools=1, maxsize=1, socket_options=[*HTTPConnection.default_socket_options, NO_LINGER]
        )
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        response = super().send(request, *args, **kwargs)
        call_of_this_thread().answer = RawAnswer(
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
