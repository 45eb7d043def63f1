"""JSON log lines, alike in every service, for structlog and standard logging.

Every line has timestamp, level, service, logger and event; inside a request or message also request_id and
trace_id; and whatever was bound with `bound`.
"""

import logging
import sys
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service_kit import trace
from service_kit.redaction import redact

bound = structlog.contextvars.bound_contextvars

# They write out whole addresses, and a path or a query can hold a secret.
_TOO_TALKATIVE = ("httpx", "httpcore", "uvicorn.access")


def configure(service: str, level: str = "INFO", *, stream: TextIO | None = None, json: bool = True) -> None:
    """Send all logging of this process to `stream` (standard error), as JSON lines or for human eyes.

    Only a main calls it, once, and keeps the frameworks from undoing it: `logging_config=None` for Litestar,
    `log_config=None` for uvicorn. Where several services share a process, each part may name itself with
    `bound(service=...)`.

    Raises:
        ValueError: `level` is none of logging's names.
    """

    def add_service_and_ids(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        ids = trace.current()
        if ids is not None:
            event.setdefault("request_id", ids.request_id)
            event.setdefault("trace_id", ids.trace_id)
        return event

    def redact_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return cast(EventDict, redact(event))

    out = stream or sys.stderr
    for_eyes = structlog.dev.ConsoleRenderer(
        colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    handler = logging.StreamHandler(out)
    # All processing is in the formatter: lines of both origins take the same way, and loggers that structlog
    # has cached by then follow a later `configure`.
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        add_service_and_ids,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        redact_secrets,
        structlog.processors.JSONRenderer() if json else for_eyes,
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=shared))

    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _TOO_TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    # When a line cannot be written, logging would print the record, not yet redacted, to standard error.
    logging.raiseExceptions = False

    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
