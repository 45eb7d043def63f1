"""The process: settings, logging, uvicorn."""

import gc
import os
import signal
import socket
import sys
from types import FrameType

import uvicorn

from gapi.app import GatewayApp, create_app
from gapi.settings import Settings, SettingsError
from service_kit import configure

# Above the minute that load balancers keep a connection, so that they are the ones to close it.
KEEP_ALIVE_S = 75


class Server(uvicorn.Server):
    """Ends the open streams before it waits for open answers, and takes SIGTERM as a normal end."""

    def __init__(self, config: uvicorn.Config, app: GatewayApp) -> None:
        super().__init__(config)
        self._gateway = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._gateway.end_streams()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own also notes the signal and raises it again at the end, which makes every end a failure.
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def server(settings: Settings) -> Server:
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nobody here asks who the client's machine is
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.graceful_shutdown_s,
    )
    return Server(config, app)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure("gapi", settings.log_level)
    serving = server(settings)
    # What lives by now lives for good. Looking through it again and again took an eighth of every request.
    gc.collect()
    gc.freeze()
    serving.run()


def main() -> int:
    try:
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"gapi: {error}\n")
        return 2
    run(settings)
    return 0
