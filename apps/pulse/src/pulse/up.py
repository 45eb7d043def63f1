"""`pulse up`: the all-in-one on one public port, until Ctrl-C."""

import asyncio
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable
from datetime import timedelta

import msgspec
import uvloop

import gapi.settings
import pulse_api.settings
import pulse_background.settings
from pulse.all_in_one import STREAMS_S, AllInOne, open_all
from pulse.options import UpOptions
from pulse.state import Secrets, load_or_create_secrets, reachable_url, remove_endpoint, write_endpoint
from pulse.tokens import DEFAULT_CLIENT, DEFAULT_SCOPE, make_token
from pulse_adapters.clock import SystemClock
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

_TOKEN_LIFE = timedelta(hours=12)


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
            os.environ, secrets, options.state_dir, feed=options.feed, feed_speed=options.feed_speed
        ) as everything:
            write_endpoint(options.state_dir, url)
            try:
                return await _run(everything, listener, lambda: _print_banner(url, secrets, options))
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


def _print_banner(url: str, secrets: Secrets, options: UpOptions) -> None:
    token = make_token(
        secrets.jwt_secret,
        client=DEFAULT_CLIENT,
        scope=f"{DEFAULT_SCOPE} admin",
        expires_at=SystemClock().now() + _TOKEN_LIFE,
    )
    order = {
        "order_unique_key": "hello-1",
        "instrument": "NSE:TCS",
        "side": "BUY",
        "total_quantity": 120,
        "split_config": {"num_splits": 6, "duration_minutes": 1},
    }
    curl = [
        "curl", "-sS", f"{url}/api/orders",
        "-H", f"Authorization: Bearer {token}",
        "-H", "Content-Type: application/json",
        "-d", msgspec.json.encode(order).decode(),
    ]  # fmt: skip
    print(
        f"""Pulse is up, prices from {options.feed}. Ctrl-C ends it.

  gateway    {url}/api      docs {url}/docs
  order API  {url}/pulse    (from this machine only)
{_webhook_lines(url, secrets)}

  token of client {DEFAULT_CLIENT}, for 12 hours
  {token}

Place an order of 6 slices in 1 minute:

  {shlex.join(curl)}

and watch it:

  .venv/bin/pulse order list
  .venv/bin/pulse order watch ORDER_ID
""",
        flush=True,
    )


def _webhook_lines(url: str, secrets: Secrets) -> str:
    if os.environ.get("GAPI_WEBHOOK_HOOKS"):
        return "  webhook    those of GAPI_WEBHOOK_HOOKS"
    return f"""  webhook    {url}/api/webhooks/tradingview/{secrets.webhook_secret}
             an alert without a split becomes 6 slices in 1 minute"""
