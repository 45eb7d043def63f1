"""Trace ids, JSON logs, error envelope and metrics, alike in every service.

Imported by name only, with the extra that each needs: `dramatiq_trace` (dramatiq), `litestar_kit` (litestar),
`server` (server); and `testing`.
"""

from service_kit.asgi import RequestRecord, TraceMiddleware, log_request
from service_kit.envelope import Error, ErrorBody, ServiceError, render
from service_kit.logs import bound, configure
from service_kit.metrics import Metrics, MetricsListener
from service_kit.redaction import mask, redact
from service_kit.trace import (
    REQUEST_ID_HEADER,
    TRACE_ID_HEADER,
    Ids,
    adopt,
    bind,
    current,
    new_request_id,
    new_trace_id,
)

__all__ = [
    "REQUEST_ID_HEADER",
    "TRACE_ID_HEADER",
    "Error",
    "ErrorBody",
    "Ids",
    "Metrics",
    "MetricsListener",
    "RequestRecord",
    "ServiceError",
    "TraceMiddleware",
    "adopt",
    "bind",
    "bound",
    "configure",
    "current",
    "log_request",
    "mask",
    "new_request_id",
    "new_trace_id",
    "redact",
    "render",
]
