"""uvicorn with the manners of a service: streams end before it waits for answers, SIGTERM is a normal end.

Imported by name, needs the extra `server`.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from service_kit.collector import settle

# Above the minute that load balancers and our own clients keep a connection, so that they are the ones to
# close it: a server that closes first may do so just as a request is on its way.
KEEP_ALIVE_S = 75


def config(app: Any, *, graceful_s: int, **options: Any) -> uvicorn.Config:
    """Settings that all services share; `options` say where to listen (host, port, uds)."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nobody asks who the client's machine is
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=graceful_s,
        **options,
    )


class Server(uvicorn.Server):
    """end_streams: called when the server is told to stop; open streams end by it, as it waits for them."""

    def __init__(self, config: uvicorn.Config, end_streams: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._end_streams = end_streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        settle()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own also notes the signal and raises it again at the end, which makes every end a failure.
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


class InnerServer(Server):
    """A server in a task of a process that handles its signals itself."""

    async def start(self, listener: socket.socket | None = None) -> asyncio.Task[None]:
        """Begin to serve; the task is done already where that failed."""
        self._ready = asyncio.Event()
        serving = asyncio.create_task(self.serve(sockets=None if listener is None else [listener]))
        ready = asyncio.create_task(self._ready.wait())
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        return serving

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
