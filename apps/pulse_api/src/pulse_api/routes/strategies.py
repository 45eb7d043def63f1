"""Strategies under /internal/strategies."""

from litestar import Router, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from pulse_api.bootstrap import Services
from pulse_api.routes.orders import ClientHeader, OperatorHeader, client_id, operator_name
from pulse_api.strategy_wire import StrategiesOut, StrategyBody, StrategyOut, strategy_out
from pulse_domain.use_cases.strategies import Asker


def _asker(operator: str | None, client: str | None) -> Asker:
    owner = client_id(client)
    return Asker(channel="api", actor=operator_name(operator or owner), place=owner or "")


@get("/", summary="List strategies, and how they fare")
async def list_strategies(services: NamedDependency[Services]) -> StrategiesOut:
    return StrategiesOut(strategies=[strategy_out(row) for row in await services.strategies.rows()])


@put("/{name:str}", summary="Add a strategy, stopped, or change one that is stopped")
async def put_strategy(
    name: FromPath[str],
    data: JSONBody[StrategyBody],
    services: NamedDependency[Services],
    operator: OperatorHeader = None,
    client: ClientHeader = None,
) -> StrategyOut:
    return strategy_out(await services.strategies.put(data.ask(name), _asker(operator, client)))


@post("/{name:str}/start", status_code=200, summary="Have a strategy run; one that failed is tried again")
async def start_strategy(
    name: FromPath[str],
    services: NamedDependency[Services],
    operator: OperatorHeader = None,
    client: ClientHeader = None,
) -> StrategyOut:
    return strategy_out(await services.strategies.start(name, _asker(operator, client)))


@post("/{name:str}/stop", status_code=200, summary="Have a strategy end; its orders and position stay")
async def stop_strategy(
    name: FromPath[str],
    services: NamedDependency[Services],
    operator: OperatorHeader = None,
    client: ClientHeader = None,
) -> StrategyOut:
    return strategy_out(await services.strategies.stop(name, _asker(operator, client)))


router = Router(
    "/strategies",
    route_handlers=[list_strategies, put_strategy, start_strategy, stop_strategy],
    tags=["strategies"],
)
