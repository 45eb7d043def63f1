"""`python -m pulse_background`: work until SIGTERM or Ctrl-C."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog
import uvloop
from msgspec.structs import replace

from pulse_adapters.postgres.session_locks import MARKET_LEADER_KEY, PostgresLeadership
from pulse_adapters.queue.redis_broker import redis_broker
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_background.actors import declare_actors, start_worker
from pulse_background.background import Background
from pulse_background.bootstrap import open_ports
from pulse_background.market.bootstrap import open_desk
from pulse_background.market.desk import MarketDesk
from pulse_background.market.feeds import check_feed
from pulse_background.market.leading import lead
from pulse_background.settings import DESK_HERE, Settings, SettingsError, read_settings
from pulse_domain.errors import PulseError
from pulse_domain.orders.events import AnyExecutionEvent
from pulse_domain.orders.model import Order
from pulse_domain.ports.clock import Clock
from service_kit import Metrics, configure
from service_kit.collector import settle
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
    async with open_ports(settings, metrics) as ports, AsyncExitStack() as stack:
        desk = None
        if settings.market_desk == DESK_HERE:
            desk = await stack.enter_async_context(
                open_desk(
                    settings,
                    metrics,
                    wake=lambda kind: background.wake(kind),
                    send_at_once=lambda new, limits: background.accept_at_once(new, limits),
                    exchange=ports.broker if isinstance(ports.broker, VirtualExchange) else None,
                )
            )
            ports = replace(ports, on_booked=_wakes(desk))
        background = Background(ports, settings)
        worker = None
        if settings.redis_url is not None:
            broker = redis_broker(settings.redis_url, CarryIds())
            declare_actors(broker, loop, background.wake)
            worker = start_worker(broker)
        settle()
        log.info("working", executor=ports.executor_id)
        try:
            if desk is None:
                await background.run(stop)
            else:
                await _run_with_desk(background, desk, settings, ports.clock, stop)
        finally:
            if worker is not None:
                await asyncio.to_thread(worker.stop, timeout=2000)
            if listener is not None:
                listener.stop()
    log.info("stopped")


def _wakes(desk: MarketDesk) -> Callable[[Order, AnyExecutionEvent], object]:
    return lambda order, event: desk.wake()


async def _run_with_desk(
    background: Background, desk: MarketDesk, settings: Settings, clock: Clock, stop: asyncio.Event
) -> None:
    """Both until a signal comes, or one of them ends: then the process is to begin anew."""
    leadership = PostgresLeadership(settings.database_url, key=MARKET_LEADER_KEY)
    leading = asyncio.create_task(lead(leadership, desk, clock), name="market-desk")
    leading.add_done_callback(lambda task: stop.set())
    try:
        await background.run(stop)
    finally:
        ended_by_itself = leading.done()
        leading.cancel()
        await asyncio.gather(leading, return_exceptions=True)
    if ended_by_itself:
        leading.result()


def main() -> int:
    try:
        settings = read_settings(os.environ)
        if settings.market_desk == DESK_HERE:
            check_feed(settings)
    except (SettingsError, PulseError) as error:
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
