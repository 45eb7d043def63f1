import urllib.error
import urllib.request

import pytest
from prometheus_client import Gauge

from service_kit.asgi import RequestRecord
from service_kit.metrics import Metrics


def test_requests_are_counted_and_timed_by_method_route_and_status() -> None:
    metrics = Metrics("shop")
    labels = {"service": "shop", "method": "GET", "route": "/things/{id}", "status": "200"}

    metrics.observe(RequestRecord("GET", "/things/1", "/things/{id}", 200, 0.25))
    metrics.observe(RequestRecord("GET", "/things/2", "/things/{id}", 200, 0.5))

    assert metrics.registry.get_sample_value("http_requests_total", labels) == 2
    assert metrics.registry.get_sample_value("http_request_duration_seconds_sum", labels) == 0.75


def test_invented_methods_share_one_series() -> None:
    metrics = Metrics("shop")

    for method in ("BREW", "WHEN"):
        metrics.observe(RequestRecord(method, "/", "unmatched", 405, 0.1))

    labels = {"service": "shop", "method": "other", "route": "unmatched", "status": "405"}
    assert metrics.registry.get_sample_value("http_requests_total", labels) == 2


def test_page_shows_the_figures_of_the_service_and_of_the_app() -> None:
    metrics = Metrics("shop")
    Gauge("queue_depth", "Waiting.", registry=metrics.registry).set(7)
    metrics.observe(RequestRecord("GET", "/", "/", 200, 0.1))

    body, content_type = metrics.render()

    assert b"queue_depth 7.0" in body
    assert b'http_requests_total{method="GET",route="/",service="shop",status="200"} 1.0' in body
    assert content_type.startswith("text/plain; version=0.0.4")


def test_paths_never_become_labels() -> None:
    metrics = Metrics("shop")

    metrics.observe(RequestRecord("POST", "/hooks/hunter2", "/hooks/{token}", 202, 0.1))

    assert b"hunter2" not in metrics.render()[0]


def test_services_in_one_process_keep_apart() -> None:
    shop, store = Metrics("shop"), Metrics("store")

    shop.observe(RequestRecord("GET", "/", "/", 200, 0.1))

    assert b"http_requests_total{" not in store.render()[0]


def test_listener_answers_until_it_is_stopped() -> None:
    metrics = Metrics("shop")
    listener = metrics.serve(0)
    address = f"http://127.0.0.1:{listener.port}/metrics"

    with urllib.request.urlopen(address, timeout=5) as response:
        page = response.read()
    listener.stop()

    assert b"# HELP http_requests_total" in page
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=5)
