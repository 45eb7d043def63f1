"""The simulator with the face of Kite, served."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from msgspec import Struct

from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.kite.app import KiteFace
from pulse_adapters.simulator.kite.settings import KiteSettings
from pulse_adapters.simulator.opening import Feed, SimulatorOptions, open_desk
from pulse_domain.ports.clock import Clock

_SHUTDOWN_S = 1.0
_KEEP_ALIVE_S = 75.0


class KiteSimulator(Struct, frozen=True):
    """One that runs. `running` ends only when it cannot go on, with the reason."""

    url: str
    desk: Desk
    face: KiteFace
    running: "asyncio.Task[None]"


@asynccontextmanager
async def serve_kite(
    options: SimulatorOptions, settings: KiteSettings, feed: Feed, clock: Clock, listener: socket.socket
) -> AsyncIterator[KiteSimulator]:
    """Serve at a listening socket's address until the block is left.

    Raises:
        JournalError, CatalogError: a file cannot be used.
    """
    async with open_desk(options, feed, clock) as opened:
        face = KiteFace(opened.desk, settings, opened.rng, opened.entries)
        async with _serving(face, listener) as url:
            running = asyncio.create_task(face.run(), name="simulator")
            try:
                yield KiteSimulator(url, opened.desk, face, running)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                await face.ticker.close()


@asynccontextmanager
async def _serving(face: KiteFace, listener: socket.socket) -> AsyncIterator[str]:
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
