"""Prometheus figures of one service, in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from service_kit.asgi import RequestRecord

_LABELS = ("service", "method", "route", "status")
# A client may send any word as its method, and every label value is a series of its own.
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class MetricsListener:
    """A small HTTP server of its own thread, for processes that have no other."""

    def __init__(self, registry: CollectorRegistry, port: int, host: str) -> None:
        self._server, self._thread = start_http_server(port, host, registry)
        self.port: int = self._server.server_port

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Metrics:
    """The request figures of `service`, its process figures, and what the app adds to `registry`.

    `observe` is meant for the `on_request` of `TraceMiddleware`.
    """

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self._service = service
        self._requests = Counter("http_requests", "Requests answered.", _LABELS, registry=self.registry)
        self._latency = Histogram(
            "http_request_duration_seconds",
            "Time until the answer began.",
            _LABELS,
            registry=self.registry,
            buckets=_BUCKETS_S,
        )
        ProcessCollector(registry=self.registry)

    def observe(self, record: RequestRecord) -> None:
        method = record.method if record.method in _METHODS else "other"
        labels = (self._service, method, record.route, str(record.status))
        self._requests.labels(*labels).inc()
        self._latency.labels(*labels).observe(record.duration_s)

    def render(self) -> tuple[bytes, str]:
        """Give the body and the content type of the metrics page."""
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4

    def serve(self, port: int, host: str = "127.0.0.1") -> MetricsListener:
        """Serve the page from a thread until the listener is stopped; port 0 takes a free one."""
        return MetricsListener(self.registry, port, host)
