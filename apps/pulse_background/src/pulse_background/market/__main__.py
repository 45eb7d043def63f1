"""`python -m pulse_background.market`: the market desk, until SIGTERM or Ctrl-C. Of several one works."""

import asyncio
import os
import signal
import sys

import structlog
import uvloop

from pulse_adapters.clock import SystemClock
from pulse_adapters.postgres.session_locks import MARKET_LEADER_KEY, PostgresLeadership
from pulse_background.market.bootstrap import open_desk
from pulse_background.market.feeds import check_feed
from pulse_background.market.leading import lead
from pulse_background.settings import Settings, SettingsError, read_settings
from pulse_domain.errors import PulseError
from service_kit import Metrics, configure
from service_kit.collector import settle

log = structlog.get_logger(__name__)


async def serve(settings: Settings) -> None:
    """Lead, or wait for the lead, until a signal comes."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    metrics = Metrics("pulse_market")
    listener = (
        None if settings.metrics_port is None else metrics.serve(settings.metrics_port, settings.metrics_host)
    )
    try:
        async with open_desk(settings, metrics) as desk:
            settle()
            leadership = PostgresLeadership(settings.database_url, key=MARKET_LEADER_KEY)
            leading = asyncio.create_task(lead(leadership, desk, SystemClock()), name="market-desk")
            stopping = asyncio.create_task(stop.wait(), name="stop")
            await asyncio.wait({leading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            leading.cancel()
            await asyncio.gather(leading, stopping, return_exceptions=True)
            if not stop.is_set():
                leading.result()
    finally:
        if listener is not None:
            listener.stop()
    log.info("stopped")


def main() -> int:
    try:
        settings = read_settings(os.environ)
        check_feed(settings)
    except (SettingsError, PulseError) as error:
        print(f"pulse_background.market: {error}", file=sys.stderr)  # noqa: T201  # a wrong setting gives one line
        return 2
    configure("pulse_market", settings.log_level)
    try:
        uvloop.run(serve(settings))
    except (PulseError, OSError) as error:
        print(f"pulse_background.market: {error}", file=sys.stderr)  # noqa: T201  # the same
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
