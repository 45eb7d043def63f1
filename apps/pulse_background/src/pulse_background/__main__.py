"""`python -m pulse_background`: work until SIGTERM or Ctrl-C."""

import asyncio
import os
import signal
import sys

import structlog
import uvloop

from pulse_adapters.queue.redis_broker import redis_broker
from pulse_background.actors import declare_actors, start_worker
from pulse_background.background import Background
from pulse_background.bootstrap import open_ports
from pulse_background.settings import Settings, SettingsError, read_settings
from pulse_domain.errors import PulseError
from service_kit import Metrics, configure
from service_kit.dramatiq_trace import CarryIds

log = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Run the loops, and the actors where there is a Redis, until a signal comes."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    metrics = Metrics("pulse_background")
    listener = (
        None if settings.metrics_port is None else metrics.serve(settings.metrics_port, settings.metrics_host)
    )
    async with open_ports(settings, metrics) as ports:
        background = Background(ports, settings)
        worker = None
        if settings.redis_url is not None:
            broker = redis_broker(settings.redis_url, CarryIds())
            declare_actors(broker, loop, background.wake)
            worker = start_worker(broker)
        log.info("working", executor=ports.executor_id)
        try:
            await background.run(stop)
        finally:
            if worker is not None:
                await asyncio.to_thread(worker.stop, timeout=2000)
            if listener is not None:
                listener.stop()
    log.info("stopped")


def main() -> int:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"pulse_background: {error}", file=sys.stderr)  # noqa: T201  # a wrong setting gives one line
        return 2
    configure("pulse_background", settings.log_level)
    try:
        uvloop.run(serve(settings))
    except (PulseError, OSError) as error:
        # A feed that cannot be played, a metrics port that is taken.
        print(f"pulse_background: {error}", file=sys.stderr)  # noqa: T201  # the same
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
