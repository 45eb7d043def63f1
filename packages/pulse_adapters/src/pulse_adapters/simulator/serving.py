"""A simulator with whichever face, served."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from aiohttp import web
from msgspec import Struct

from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.opening import OpenDesk

_SHUTDOWN_S = 1.0
_KEEP_ALIVE_S = 75.0


class Face(Protocol):
    """A vendor's wire on a desk."""

    def app(self) -> web.Application:
        """The application, to be served at a host's root."""
        ...

    async def run(self) -> None:
        """Keep the desk and all that is pushed going until cancelled."""
        ...

    async def close(self) -> None:
        """Close what streams."""
        ...


F = TypeVar("F", bound=Face)


class Simulator(Struct, Generic[F], frozen=True):
    """One that runs. `running` ends only when it cannot go on, with the reason."""

    url: str
    desk: Desk
    face: F
    running: "asyncio.Task[None]"


@asynccontextmanager
async def serving(
    opened: OpenDesk, make_face: Callable[[OpenDesk], F], listener: socket.socket
) -> AsyncIterator[Simulator[F]]:
    """Serve a face at a listening socket's address until the block is left."""
    face = make_face(opened)
    async with _served(face, listener) as url:
        running = asyncio.create_task(face.run(), name="simulator")
        try:
            yield Simulator(url, opened.desk, face, running)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await face.close()


@asynccontextmanager
async def _served(face: Face, listener: socket.socket) -> AsyncIterator[str]:
    runner = web.AppRunner(
        face.app(), access_log=None, shutdown_timeout=_SHUTDOWN_S, keepalive_timeout=_KEEP_ALIVE_S
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        host, port = listener.getsockname()[:2]
        yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
    finally:
        await runner.cleanup()
