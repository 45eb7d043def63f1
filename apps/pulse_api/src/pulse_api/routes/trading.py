"""Halt and resume under /internal/trading."""

from litestar import Router, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from pulse_api.bootstrap import Services
from pulse_api.routes.orders import ClientHeader, client_id
from pulse_api.wire import ReasonBody, TradingOut, trading_out


@post("/halt", status_code=200, summary="Stop all new placements")
async def halt(
    data: JSONBody[ReasonBody], services: NamedDependency[Services], client: ClientHeader = None
) -> TradingOut:
    report = await services.halt(client_id(client) or "operator", data.reason)
    return trading_out(report.state, report.in_flight)


@post("/resume", status_code=200, summary="Allow placements again")
async def resume(
    data: JSONBody[ReasonBody], services: NamedDependency[Services], client: ClientHeader = None
) -> TradingOut:
    return trading_out(await services.resume(client_id(client) or "operator", data.reason))


router = Router("/trading", route_handlers=[halt, resume], tags=["trading"])
