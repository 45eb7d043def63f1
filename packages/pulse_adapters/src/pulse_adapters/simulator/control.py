"""Control of a running simulator, under a path that no real API has: faults, clock, prices, and the truth.

Face-neutral: a face adds these routes to its own. There is no login; the simulator listens on the machine's
own address only, unless told otherwise.
"""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.faults import FaultPlan
from pulse_adapters.simulator.prices import Pinned
from pulse_domain.errors import InvalidInstrument, OutOfBalance
from pulse_domain.instruments import Instrument

PREFIX = "/_simulator"

_Body = TypeVar("_Body")
_Handler = Callable[[web.Request], Awaitable[Any]]


class _Advance(Struct, forbid_unknown_fields=True):
    seconds: Annotated[float, Meta(ge=0, le=366 * 86_400)]


class _Price(Struct, forbid_unknown_fields=True, kw_only=True):
    """Without `last_price` the instrument follows the feed again."""

    instrument: str
    last_price: Decimal | None = None
    bid: Decimal | None = None
    ask: Decimal | None = None
    volume: int = 0


class _Session(Struct, forbid_unknown_fields=True):
    is_open: bool


class BadControl(Exception):
    """The control request cannot be understood."""


class Control:
    """The routes of one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> list[web.RouteDef]:
        pairs: list[tuple[str, str, _Handler]] = [
            ("GET", "", self._info),
            ("GET", "/faults", self._faults),
            ("POST", "/faults", self._add_faults),
            ("DELETE", "/faults", self._clear_faults),
            ("POST", "/clock", self._advance),
            ("POST", "/prices", self._pin),
            ("POST", "/match", self._match),
            ("POST", "/session", self._change_session),
            ("POST", "/roll", self._roll),
            ("GET", "/book", self._book),
            ("GET", "/calls", self._calls),
            ("GET", "/state", self._state),
        ]
        return [web.route(method, PREFIX + path, control_route(handler)) for method, path, handler in pairs]

    async def _info(self, _: web.Request) -> Any:
        await self._desk.durable()
        clock = self._desk.clock
        return {
            "now": clock.now(),
            "clock_offset_s": clock.offset_s,
            "pace": self._desk.pace,
            "is_open": self._desk.venue.is_open,
            "day": self._desk.venue.day,
            "orders": len(self._desk.venue.records),
            "instruments": len(self._desk.catalog),
        }

    async def _faults(self, _: web.Request) -> Any:
        return self._desk.faults.standing

    async def _add_faults(self, request: web.Request) -> Any:
        self._desk.faults.add((await read(request, FaultPlan)).rules)
        return self._desk.faults.standing

    async def _clear_faults(self, _: web.Request) -> Any:
        self._desk.faults.clear()
        return []

    async def _advance(self, request: web.Request) -> Any:
        await self._desk.advance((await read(request, _Advance)).seconds)
        return await self._info(request)

    async def _pin(self, request: web.Request) -> Any:
        price = await read(request, _Price)
        try:
            instrument = Instrument.parse(price.instrument)
        except InvalidInstrument as error:
            raise BadControl(error.message) from error
        pinned = None
        if price.last_price is not None:
            pinned = Pinned(last_price=price.last_price, bid=price.bid, ask=price.ask, volume=price.volume)
        self._desk.prices.pin(instrument, pinned)
        return await self._desk.prices.look(instrument)

    async def _match(self, _: web.Request) -> Any:
        await self._desk.deliver()
        await self._desk.match_resting()
        return True

    async def _change_session(self, request: web.Request) -> Any:
        self._desk.change_session(is_open=(await read(request, _Session)).is_open)
        return await self._info(request)

    async def _roll(self, request: web.Request) -> Any:
        await self._desk.roll()
        return await self._info(request)

    async def _book(self, _: web.Request) -> Any:
        """Every order as it truly is, visible or not; and whether the money adds up."""
        venue = self._desk.venue
        try:
            venue.check()
            balanced = True
        except OutOfBalance:
            balanced = False
        return {
            "balanced": balanced,
            "orders": [
                {
                    "order_id": record.order_id,
                    "instrument": str(record.ask.instrument),
                    "side": record.ask.side,
                    "tags": record.ask.tags,
                    "status": record.status,
                    "quantity": record.terms.quantity,
                    "filled": record.filled,
                    "average_price": record.average_price,
                    "placed_at": record.placed_at,
                    "visible_at": record.visible_at,
                    "trades": record.trades,
                }
                for record in venue.records.values()
            ],
        }

    async def _calls(self, _: web.Request) -> Any:
        """The newest requests, oldest first."""
        return list(self._desk.calls.askings)

    async def _state(self, _: web.Request) -> Any:
        return self._desk.venue.state()


def control_route(handler: _Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Answer in plain JSON; what cannot be understood is a 400 with `error`."""

    async def answer(request: web.Request) -> web.Response:
        try:
            body, status = await handler(request), 200
        except BadControl as error:
            body, status = {"error": str(error)}, 400
        return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")

    return answer


async def read(request: web.Request, wanted: type[_Body]) -> _Body:
    """Raises BadControl for a body of another shape."""
    try:
        return msgspec.json.decode(await request.read(), type=wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadControl(str(error)) from error
