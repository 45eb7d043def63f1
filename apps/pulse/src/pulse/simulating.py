"""A simulator's process: it serves until it is told to end, or cannot go on."""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Generic, TypeVar

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
from pulse_adapters.simulator.opening import Feed, SimulatorOptions
from pulse_adapters.simulator.serving import Face, Simulator
from pulse_domain.ports.clock import Clock
from service_kit import configure

FAILED = 1
_MENDABLE = (CatalogError, FaultPlanError, FeedFileError, FeedSpecError, JournalError, OSError)

F = TypeVar("F", bound=Face)
Serve = Callable[[SimulatorOptions, Feed, Clock, socket.socket], AbstractAsyncContextManager[Simulator[F]]]


class Run(Struct, frozen=True, kw_only=True):
    """The options that every simulator has, checked."""

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
    log_level: str


class FaceToRun(Struct, Generic[F], frozen=True):
    """serve: with the face's own settings. banner: what is printed once it serves."""

    serve: Serve[F]
    banner: Callable[[Simulator[F]], str]


def run_simulator(run: Run, face: FaceToRun[F]) -> int:
    """Serve until SIGINT or SIGTERM; the exit code of the command.

    Raises:
        BadInput: an option or a file cannot be used.
    """
    configure("simulator", run.log_level)
    try:
        return uvloop.run(_serve(run, face))
    except _MENDABLE as error:
        raise BadInput(str(error)) from error


async def _serve(run: Run, face: FaceToRun[F]) -> int:
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
    with _listen(run.host, run.port) as listener:
        async with face.serve(options, feed, clock, listener) as simulator:
            print(face.banner(simulator), flush=True)
            return await _wait(simulator)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise BadInput(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None


async def _wait(simulator: Simulator[F]) -> int:
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
