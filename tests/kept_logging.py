"""Logging as a service configures it, for a test, and put back afterwards."""

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter

from service_kit import configure

_TALKATIVE = ("httpx", "httpcore", "uvicorn.access")


@contextmanager
def logging_of(service: str, level: str = "INFO") -> Iterator[io.StringIO]:
    """Configure logging as `service` does, and give what it writes to."""
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in _TALKATIVE}
    root_level, raising = root.level, logging.raiseExceptions
    stream = io.StringIO()
    configure(service, level, stream=stream)
    try:
        yield stream
    finally:
        # Those of pytest come and go with each phase of a test.
        root.handlers[:] = [it for it in root.handlers if not isinstance(it.formatter, ProcessorFormatter)]
        root.setLevel(root_level)
        logging.raiseExceptions = raising
        for name, former in levels.items():
            logging.getLogger(name).setLevel(former)
        structlog.reset_defaults()
        _forget_loggers()


def _forget_loggers() -> None:
    # A logger that was used meanwhile keeps the way to its stream for good.
    for module in list(sys.modules.values()):
        logger: Any = getattr(module, "log", None)
        if isinstance(logger, structlog._config.BoundLoggerLazyProxy):
            vars(logger).pop("bind", None)
