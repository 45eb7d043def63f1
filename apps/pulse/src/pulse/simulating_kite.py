"""`pulse simulate kite`: the face's settings, and what it says of itself."""

import socket
from contextlib import AbstractAsyncContextManager

from pulse.simulating import FaceToRun, Run
from pulse_adapters.simulator.kite.app import KiteFace
from pulse_adapters.simulator.kite.serve import KiteSimulator, serve_kite
from pulse_adapters.simulator.kite.settings import KiteApp, KiteSettings
from pulse_adapters.simulator.opening import Feed, SimulatorOptions
from pulse_domain.ports.clock import Clock


def kite_face(
    run: Run, api_key: str, api_secret: str, redirect_url: str, postback_url: str | None
) -> FaceToRun[KiteFace]:
    app = KiteApp(api_key=api_key, api_secret=api_secret, redirect_url=redirect_url, postback_url=postback_url)
    settings = KiteSettings(app=app, has_limits=run.has_limits)

    def serve(
        options: SimulatorOptions, feed: Feed, clock: Clock, listener: socket.socket
    ) -> AbstractAsyncContextManager[KiteSimulator]:
        return serve_kite(options, settings, feed, clock, listener)

    def banner(simulator: KiteSimulator) -> str:
        return f"""A simulated Kite Connect is up, prices from {run.feed}, seed {run.seed}. Ctrl-C ends it.

  REST     {simulator.url}
  login    {simulator.url}/connect/login?v=3&api_key={api_key}
  ticker   {simulator.url.replace("http", "ws", 1)}
  control  {simulator.url}/_simulator   (POST /_simulator/access-token gives a session without a login)
  journal  {run.journal}
"""

    return FaceToRun(serve, banner)
