"""`pulse up`: the all-in-one on one public port, until Ctrl-C."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable

import uvloop

import gapi.settings
import pulse_api.settings
import pulse_background.settings
from pulse.all_in_one import STREAMS_S, AllInOne, open_all
from pulse.banner import first_order, webhook_lines
from pulse.options import UpOptions
from pulse.state import Secrets, load_or_create_secrets, reachable_url, remove_endpoint, write_endpoint
from pulse_adapters.embedded import EmbeddedServerError
from pulse_domain.errors import PulseError
from service_kit import configure
from service_kit.server import InnerServer, config

BAD_SETTING, FAILED = 2, 1

# What a person can mend, each with a message of one line.
_MENDABLE = (
    gapi.settings.SettingsError,
    pulse_api.settings.SettingsError,
    pulse_background.settings.SettingsError,
    EmbeddedServerError,
    PulseError,
    OSError,
)


def up(options: UpOptions) -> int:
    """Serve until SIGINT or SIGTERM; the exit code of the command."""
    configure("pulse", options.log_level)
    try:
        return uvloop.run(_serve(options))
    except _MENDABLE as error:
        print(f"pulse up: {error}", file=sys.stderr)
        return BAD_SETTING


async def _serve(options: UpOptions) -> int:
    secrets = load_or_create_secrets(options.state_dir)
    listener = _listen(options.host, options.port)
    url = reachable_url(options.host, listener.getsockname()[1])
    try:
        async with open_all(
            os.environ,
            secrets,
            options.state_dir,
            feed=options.feed,
            feed_speed=options.feed_speed,
            strategies=options.strategies,
        ) as everything:
            write_endpoint(options.state_dir, url, f"{url}/pulse")
            try:
                return await _run(everything, listener, lambda: _print_banner(url, secrets, everything.prices))
            finally:
                remove_endpoint(options.state_dir, url)
    finally:
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None
    return listener


async def _run(everything: AllInOne, listener: socket.socket, started: Callable[[], None]) -> int:
    server = InnerServer(config(everything.app, graceful_s=STREAMS_S), everything.end_streams)
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    serving = await server.start(listener)
    if not serving.done():
        started()
    watched = {asyncio.ensure_future(stop.wait()), asyncio.ensure_future(everything.failed.wait()), serving}
    await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
    return 0 if stop.is_set() else FAILED


def _print_banner(url: str, secrets: Secrets, prices: str) -> None:
    print(
        f"""Pulse is up, prices from {prices}. Ctrl-C ends it.

  gateway    {url}/api      docs {url}/docs
  order API  {url}/pulse    (from this machine only)
{webhook_lines(url, secrets, has_own_hooks=bool(os.environ.get("GAPI_WEBHOOK_HOOKS")))}

{first_order(url, secrets)}""",
        flush=True,
    )
