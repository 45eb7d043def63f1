"""Halt, resume, kill and reconcile under /internal/trading."""

from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from pulse_api.bootstrap import Services
from pulse_api.operator_wire import ReconcileOut, reconcile_out
from pulse_api.routes.orders import ClientHeader, OperatorHeader, client_id, operator_name
from pulse_api.wire import KillOut, ReasonBody, TradingOut, kill_out, trading_out


@get("/", summary="Show whether trading is halted")
async def show(services: NamedDependency[Services]) -> TradingOut:
    return trading_out(await services.store.trading_state(), tuple(await services.store.in_flight()))


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


@post("/kill", status_code=200, summary="Halt, and cancel every order that is not done")
async def kill(
    data: JSONBody[ReasonBody], services: NamedDependency[Services], operator: OperatorHeader = None
) -> KillOut:
    return kill_out(await services.kill(operator_name(operator), data.reason))


@get("/reconcile", summary="Show what a person compares with the broker before trading goes on")
async def review(services: NamedDependency[Services]) -> ReconcileOut:
    return reconcile_out(await services.review.look())


@post("/reconcile", status_code=200, summary="Confirm the comparison: trading goes on")
async def confirm(
    data: JSONBody[ReasonBody], services: NamedDependency[Services], operator: OperatorHeader = None
) -> TradingOut:
    return trading_out(await services.review.confirm(operator_name(operator), data.reason))


router = Router("/trading", route_handlers=[show, halt, resume, kill, review, confirm], tags=["trading"])
