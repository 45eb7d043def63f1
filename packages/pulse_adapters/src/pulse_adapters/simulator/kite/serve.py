"""The simulator with the face of Kite, served."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pulse_adapters.simulator.kite.app import KiteFace
from pulse_adapters.simulator.kite.settings import KiteSettings
from pulse_adapters.simulator.opening import Feed, OpenDesk, SimulatorOptions, open_desk
from pulse_adapters.simulator.serving import Simulator, serving
from pulse_domain.ports.clock import Clock

KiteSimulator = Simulator[KiteFace]


@asynccontextmanager
async def serve_kite(
    options: SimulatorOptions, settings: KiteSettings, feed: Feed, clock: Clock, listener: socket.socket
) -> AsyncIterator[KiteSimulator]:
    """Serve at a listening socket's address until the block is left.

    Raises:
        JournalError, CatalogError: a file cannot be used.
    """

    def face(opened: OpenDesk) -> KiteFace:
        return KiteFace(opened.desk, settings, opened.rng, opened.entries)

    async with open_desk(options, feed, clock) as opened, serving(opened, face, listener) as simulator:
        yield simulator
