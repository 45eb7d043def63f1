"""The simulator's process: it serves until it is told to end, or cannot go on."""

import asyncio
import signal
import socket
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import uvloop
from msgspec import Struct

from pulse.errors import BadInput
from pulse_adapters.clock import SystemClock
from pulse_adapters.feeds.errors import FeedFileError, FeedSpecError
from pulse_adapters.feeds.spec import ReplaySpec, open_feed, parse_feed
from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_adapters.simulator.catalog import CatalogError
from pulse_adapters.simulator.faults import FaultPlanError, load_plan
from pulse_adapters.simulator.journal import JournalError
from pulse_adapters.simulator.kite.serve import KiteSimulator, serve_kite
from pulse_adapters.simulator.kite.settings import KiteApp, KiteSettings
from pulse_adapters.simulator.opening import Feed, SimulatorOptions
from service_kit import configure

FAILED = 1
_MENDABLE = (CatalogError, FaultPlanError, FeedFileError, FeedSpecError, JournalError, OSError)


class KiteRun(Struct, frozen=True, kw_only=True):
    """The options of `pulse simulate kite`, checked."""

    host: str
    port: int
    journal: Path
    seed: int
    feed: str
    fault_plan: Path | None
    speed: float
    has_delays: bool
    has_limits: bool
    capital: Decimal
    participation: Decimal | None
    instruments: Path | None
    api_key: str
    api_secret: str
    redirect_url: str
    postback_url: str | None
    log_level: str

    def __repr__(self) -> str:
        return f"KiteRun({self.host}:{self.port})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


def run_kite(run: KiteRun) -> int:
    """Serve until SIGINT or SIGTERM; the exit code of the command.

    Raises:
        BadInput: an option or a file cannot be used.
    """
    configure("simulator", run.log_level)
    try:
        return uvloop.run(_serve(run))
    except _MENDABLE as error:
        raise BadInput(str(error)) from error


async def _serve(run: KiteRun) -> int:
    clock = SystemClock()
    spec = parse_feed(run.feed)
    prices = await asyncio.to_thread(open_feed, spec, clock, speed=run.speed)
    history = prices if isinstance(prices, SyntheticFeed) else None
    named = tuple(spec.files) if isinstance(spec, ReplaySpec) else ()
    feed = Feed(prices, prices.tick_size, history, named)
    options = SimulatorOptions(
        journal=run.journal, seed=run.seed, speed=run.speed, has_delays=run.has_delays,
        rules=() if run.fault_plan is None else load_plan(run.fault_plan).rules,
        participation=run.participation, instruments=run.instruments, capital=run.capital,
    )  # fmt: skip
    app = KiteApp(
        api_key=run.api_key, api_secret=run.api_secret, redirect_url=run.redirect_url,
        postback_url=run.postback_url,
    )  # fmt: skip
    settings = KiteSettings(app=app, has_limits=run.has_limits)
    with _listen(run.host, run.port) as listener:
        async with serve_kite(options, settings, feed, clock, listener) as simulator:
            _print_banner(simulator, run)
            return await _wait(simulator)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise BadInput(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None


async def _wait(simulator: KiteSimulator) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({stopping, simulator.running}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set():
        return 0
    error: BaseException | None = simulator.running.exception()
    while isinstance(error, BaseExceptionGroup):  # one task has failed, and took the others along
        error = error.exceptions[0]
    print(f"pulse simulate: {error}", file=sys.stderr)
    return FAILED


def _print_banner(simulator: KiteSimulator, run: KiteRun) -> None:
    print(
        f"""A simulated Kite Connect is up, prices from {run.feed}, seed {run.seed}. Ctrl-C ends it.

  REST     {simulator.url}
  login    {simulator.url}/connect/login?v=3&api_key={run.api_key}
  ticker   {simulator.url.replace("http", "ws", 1)}
  control  {simulator.url}/_simulator   (POST /_simulator/access-token gives a session without a login)
  journal  {run.journal}
""",
        flush=True,
    )
