"""A worker process as it is deployed, but for its broker: the stub, over HTTP.

Run as `python -m tests.benchmarks.stub_worker PORT` with the environment of pulse_background. All loops run,
those of the leader too. The virtual exchange that is part of it has nothing to do.
"""

import asyncio
import os
import signal
import sys

import uvloop
from msgspec.structs import replace

from pulse_adapters.queue.redis_broker import redis_broker
from pulse_background.actors import declare_actors, start_worker
from pulse_background.background import Background
from pulse_background.bootstrap import open_ports
from pulse_background.settings import Settings, read_settings
from service_kit import Metrics, configure
from service_kit.dramatiq_trace import CarryIds
from tests.benchmarks.stub_line import StubLine


async def serve(settings: Settings, broker_port: int) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    line = StubLine("127.0.0.1", broker_port)
    async with open_ports(settings, Metrics("stub_worker")) as ports:
        background = Background(replace(ports, broker=line), settings)
        worker = None
        if settings.redis_url is not None:
            queue = redis_broker(settings.redis_url, CarryIds())
            declare_actors(queue, loop, background.wake)
            worker = start_worker(queue)
        try:
            await background.run(stop)
        finally:
            if worker is not None:
                await asyncio.to_thread(worker.stop, timeout=2000)
            await line.close()


def main() -> None:
    settings = read_settings(os.environ)
    configure("stub_worker", settings.log_level)
    uvloop.run(serve(settings, int(sys.argv[1])))


if __name__ == "__main__":
    main()
