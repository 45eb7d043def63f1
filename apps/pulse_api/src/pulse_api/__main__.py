"""`python -m pulse_api`: serve until SIGTERM or Ctrl-C."""

import os
import sys

from pulse_api.app import create_app
from pulse_api.settings import Settings, SettingsError, read_settings
from service_kit import configure
from service_kit.server import Server, config


def server(settings: Settings) -> Server:
    app = create_app(settings)
    listen = {"host": settings.host, "port": settings.port}
    return Server(config(app, graceful_s=settings.graceful_shutdown_seconds, **listen), app.end_streams)


def main() -> int:
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"pulse_api: {error}", file=sys.stderr)  # noqa: T201  # the one line that a wrong setting gives
        return 2
    configure("pulse_api", settings.log_level)
    server(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
