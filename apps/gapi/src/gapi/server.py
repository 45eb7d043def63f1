"""The process: settings, logging, uvicorn."""

import os
import sys

from gapi.app import create_app
from gapi.settings import Settings, SettingsError
from service_kit import configure
from service_kit.server import Server, config


def server(settings: Settings) -> Server:
    app = create_app(settings)
    return Server(
        config(app, graceful_s=settings.graceful_shutdown_s, host=settings.host, port=settings.port),
        app.end_streams,
    )


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    configure("gapi", settings.log_level)
    server(settings).run()


def main() -> int:
    try:
        settings = Settings.from_environ(os.environ)
    except SettingsError as error:
        sys.stderr.write(f"gapi: {error}\n")
        return 2
    run(settings)
    return 0
