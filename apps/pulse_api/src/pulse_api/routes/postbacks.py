"""What brokers post, handed on by the gateway, under /internal/postbacks."""

from typing import Any

from litestar import Request, Router, post
from litestar.di import NamedDependency
from msgspec import Struct

from pulse_api.bootstrap import Services


class TakenOut(Struct, frozen=True):
    status: str


@post("/zerodha", status_code=200, summary="Take a postback of Zerodha")
async def zerodha_postback(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> TakenOut:
    services.postbacks.take_zerodha(await request.body())
    return TakenOut(status="ok")


router = Router("/postbacks", route_handlers=[zerodha_postback], tags=["postbacks"])
