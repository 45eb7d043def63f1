"""`python -m pulse_api`: serve until SIGTERM or Ctrl-C."""

import os
import sys

import uvicorn

from pulse_api.app import create_app
from pulse_api.settings import Settings, SettingsError, read_settings
from service_kit import configure

# Longer than any client of ours keeps a connection, so that the client is the one to close it.
KEEP_ALIVE_S = 75


def server_config(settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.graceful_shutdown_seconds,
    )


def main() -> int:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"pulse_api: {error}", file=sys.stderr)  # noqa: T201  # the one line that a wrong setting gives
        return 2
    configure("pulse_api", settings.log_level)
    uvicorn.Server(server_config(settings)).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
