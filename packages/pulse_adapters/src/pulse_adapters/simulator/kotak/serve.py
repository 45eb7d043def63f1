"""The simulator with the face of Kotak, served."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pulse_adapters.simulator.kotak.app import KotakFace
from pulse_adapters.simulator.kotak.names import first_number
from pulse_adapters.simulator.kotak.settings import NeoSettings
from pulse_adapters.simulator.opening import Feed, OpenDesk, SimulatorOptions, open_desk
from pulse_adapters.simulator.serving import Simulator, serving
from pulse_domain.ports.clock import Clock

KotakSimulator = Simulator[KotakFace]


@asynccontextmanager
async def serve_kotak(
    options: SimulatorOptions, settings: NeoSettings, feed: Feed, clock: Clock, listener: socket.socket
) -> AsyncIterator[KotakSimulator]:
    """Serve at a listening socket's address until the block is left.

    Raises:
        JournalError, CatalogError: a file cannot be used.
    """

    def face(opened: OpenDesk) -> KotakFace:
        return KotakFace(opened.desk, settings, opened.rng, opened.entries)

    async with (
        open_desk(options, feed, clock, first_number) as opened,
        serving(opened, face, listener) as simulator,
    ):
        yield simulator
