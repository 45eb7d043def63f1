"""A request that asks before it is sent, and that can be cut off from another thread.

HTTP libraries alone do not say whether a failed call has sent something, and bound only the silence between
two bytes. So every connection looks at the `Call` of its thread: the last moment at which a call can still
be stopped is right before its first byte, and from then on it counts as sent.
"""

import socket
import struct
import threading
from contextlib import suppress
from typing import Protocol

from msgspec import Struct

from pulse_domain.ports.clock import Clock

# A connection that was idle longer is not used again: the other side may be closing it just then, and a
# request lost that way would be one of unknown outcome.
IDLE_MAX_S = 15.0
# Closing throws away what the kernel has not sent yet, where else it would go on sending for minutes.
NO_LINGER = (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

_thread = threading.local()


class TooLate(Exception):
    """The call was given up, or its deadline is too near, before anything was sent."""


class RawAnswer(Struct, frozen=True, kw_only=True):
    status: int
    content_type: str
    body: bytes

    def __repr__(self) -> str:
        return f"RawAnswer(status={self.status})"  # a login's has tokens


class Connection(Protocol):
    """One of `http.client`, and what is built on it."""

    sock: socket.socket | None

    def close(self) -> None: ...


class Call:
    """One request on its way: what is known of it, and who may still stop it.

    send_by, cut_at: by the clock's `monotonic`, the latest instants to begin sending and to be over.
    failure: why there is no answer, where the connection can tell.
    """

    def __init__(self, clock: Clock, *, send_by: float, cut_at: float) -> None:
        self._clock = clock
        self._send_by = send_by
        self._cut_at = cut_at
        self._lock = threading.Lock()
        # The socket too: a connection lets go of it while an answer that ends with it is still read.
        self._socket: socket.socket | None = None
        self._connection: Connection | None = None
        self._given_up = False
        self.sent = False
        self.failure: str | None = None
        self.answer: RawAnswer | None = None

    def now(self) -> float:
        return self._clock.monotonic()

    def left_s(self) -> float:
        return self._cut_at - self.now()

    def begin_sending(self, connection: Connection) -> None:
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
    """Let the connections of this thread ask this call."""
    _thread.call = call


def call_of_this_thread() -> Call:
    call: Call = _thread.call
    return call
