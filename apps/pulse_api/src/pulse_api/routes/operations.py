"""Health, readiness, figures."""

from typing import Any

from litestar import MediaType, Response, get
from litestar.di import NamedDependency
from msgspec import Struct

from pulse_api.bootstrap import Services
from pulse_domain.errors import StorageUnavailable
from service_kit import Metrics


class HealthOut(Struct, frozen=True):
    status: str
    service: str


class ReadyOut(Struct, frozen=True):
    status: str
    checks: dict[str, bool]


class HelloOut(Struct, frozen=True):
    message: str


@get("/health", tags=["operations"], summary="Tell that the process runs")
async def health() -> HealthOut:
    return HealthOut(status="ok", service="pulse_api")


@get("/ready", tags=["operations"], summary="Tell whether requests can be served")
async def ready(services: NamedDependency[Services]) -> Response[ReadyOut]:
    try:
        await services.store.ping()
    except StorageUnavailable:
        body = ReadyOut(status="unavailable", checks={"database": False})
        return Response(body, status_code=503, headers={"Retry-After": "1"})
    return Response(ReadyOut(status="ready", checks={"database": True}))


@get("/hello", tags=["operations"], summary="Prove the service token")
async def hello() -> HelloOut:
    return HelloOut(message="Hello from Pulse")


@get("/metrics", tags=["operations"], media_type=MediaType.TEXT, summary="Figures for Prometheus")
async def metrics_page(metrics: NamedDependency[Metrics]) -> Response[bytes]:
    body, content_type = metrics.render()
    # As a header: Litestar would add a second charset to a media type.
    return Response(body, headers={"Content-Type": content_type})


@get("/openapi.json", tags=["operations"], summary="This API as OpenAPI 3.1")
async def openapi_json(document: NamedDependency[dict[str, Any]]) -> dict[str, Any]:
    return document
