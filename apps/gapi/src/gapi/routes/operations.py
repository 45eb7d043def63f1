"""Is it running, is it ready, what does it count."""

from litestar import Response, get

from gapi.answers import Checks, Health, Readiness
from gapi.gateway import Gateway, GatewayRequest, needs_service_token
from service_kit import ServiceError

_HEALTHY = Health(status="ok", service="gapi")
# Whoever asks /ready gives up soon; a Pulse that is that slow is not ready.
_PULSE_TIMEOUT_S = 1.0

_TAGS = ["operations"]


@get("/health", tags=_TAGS, summary="Does the process run?")
async def health() -> Health:
    return _HEALTHY


@get("/ready", tags=_TAGS, summary="Can it take orders?")
async def ready(request: GatewayRequest) -> Response[Readiness]:
    return await _readiness(request.gateway)


@get("/internal/ready", tags=_TAGS, before_request=needs_service_token, summary="Can it take orders?")
async def internal_ready(request: GatewayRequest) -> Response[Readiness]:
    return await _readiness(request.gateway)


@get(
    "/internal/metrics",
    before_request=needs_service_token,
    media_type="text/plain",
    tags=_TAGS,
    summary="Figures for Prometheus",
)
async def metrics(request: GatewayRequest) -> Response[bytes]:
    body, media_type = request.gateway.metrics.render()
    return Response(body, media_type=media_type)


async def _readiness(gateway: Gateway) -> Response[Readiness]:
    try:
        answer = await gateway.pulse.request("GET", "/health", headers={}, timeout_s=_PULSE_TIMEOUT_S)
        pulse = answer.status == 200
    except ServiceError:
        pulse = False
    readiness = Readiness(status="ready" if pulse else "unavailable", checks=Checks(pulse=pulse))
    if pulse:
        return Response(readiness)
    return Response(readiness, status_code=503, headers={"Retry-After": "1"})


HANDLERS = [health, ready, internal_ready, metrics]
