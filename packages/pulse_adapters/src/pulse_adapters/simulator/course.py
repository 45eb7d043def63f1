"""A request's course, alike in every face: noted, checked, struck by a fault or not, answered in its time."""

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Protocol

import structlog
from aiohttp import web
from msgspec import Struct

from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.faults import Call, FaultKind, FaultRule, Strike

# How long a request hangs before the connection is cut, where the fault does not say.
HANG_S = (60.0, 60.0)
TIMED_OUT = "Your order request timed out. Please check the order book."
_PROXY_PAGE = (
    "<html><head><title>504 Gateway Time-out</title></head><body><h1>504 Gateway Time-out</h1></body></html>"
)

log = structlog.get_logger(__name__)


class Reply(Struct, frozen=True, kw_only=True):
    """What goes out: JSON, unless it says otherwise."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}
    content_type: str = "application/json"

    def response(self) -> web.Response:
        return web.Response(
            body=self.body, status=self.status, headers=self.headers, content_type=self.content_type
        )


class Manners(Protocol):
    """How a face says things."""

    def failure(self, error: Exception) -> Reply | None:
        """The answer to a request that raised; None for what no client may see."""
        ...

    def refusal(self, rule: FaultRule) -> Exception:
        """A definite no, as a fault wants it."""
        ...

    def timed_out(self, rule: FaultRule) -> Exception:
        """A no that speaks of a time-out, as a fault wants it."""
        ...

    def too_many(self) -> Exception:
        """Refuse all order requests until the calendar second is over."""
        ...

    def expire(self) -> Exception:
        """End all sessions."""
        ...


class _Cut(Exception):
    """The connection is to be cut without an answer."""


class _ProxyPage(Exception):
    """A proxy answers in the API's place."""


class Course:
    """Leads requests through; `rng` decides how long an answer takes."""

    def __init__(self, desk: Desk, manners: Manners, rng: Random) -> None:
        self._desk = desk
        self._manners = manners
        self._rng = rng

    async def run(
        self,
        request: web.Request,
        call: Call,
        check: Callable[[], None],
        work: Callable[[Strike], Awaitable[Any]],
        say: Callable[[Any], Reply],
        *,
        symbol: str | None = None,
        tag: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request.

        check: session and limits. work: what is asked for; it is durable before the answer leaves, which `say`
            words.
        symbol, tag: of a placement.
        """
        asking = self._desk.calls.begin(call, request.path, tag)
        try:
            check()
            strike = self._desk.faults.strike(call, symbol)
            await self._before(strike)
            answer = await work(strike)
            # Nobody may hear of what a crash would undo.
            await self._desk.durable()
            reply = say(await self._after(strike, answer))
        except _ProxyPage:
            asking.status = 504
            return web.Response(status=504, text=_PROXY_PAGE, content_type="text/html")
        except _Cut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        except Exception as error:
            known = self._manners.failure(error)
            if known is None:
                raise
            reply = known
        asking.status = reply.status
        await self._desk.clock.sleep(self._desk.pace.answer_s(self._rng))
        return reply.response()

    async def _before(self, strike: Strike) -> None:
        """What goes wrong before anything is accepted."""
        rule = strike.answer
        match strike.kind:
            case FaultKind.TOO_MANY:
                raise self._manners.too_many()
            case FaultKind.TIMEOUT_BEFORE if rule is not None:
                await self._hang(rule)
            case FaultKind.DROP_BEFORE:
                raise _Cut
            case FaultKind.HTML_504_BEFORE:
                raise _ProxyPage
            case FaultKind.REJECT if rule is not None:
                raise self._manners.refusal(rule)
            case FaultKind.EXPIRE_TOKEN:
                raise self._manners.expire()
            case _:
                pass

    async def _after(self, strike: Strike, answer: Any) -> Any:
        """What goes wrong once all has been done."""
        rule = strike.answer
        match strike.kind:
            case FaultKind.HANG_AFTER if rule is not None:
                await self._hang(rule)
            case FaultKind.DROP_AFTER:
                raise _Cut
            case FaultKind.HTML_504_AFTER:
                raise _ProxyPage
            case FaultKind.TIMED_OUT_400 if rule is not None:
                raise self._manners.timed_out(rule)
            case FaultKind.TRUNCATE if rule is not None and isinstance(answer, list):
                return answer[: -rule.rows]
            case _:
                pass
        return answer

    async def _hang(self, rule: FaultRule) -> None:
        seconds = self._desk.pace.scaled_s(self._desk.faults.seconds(rule, HANG_S))
        await self._desk.clock.sleep(seconds)
        raise _Cut


def guarded(say: Callable[[int, str], Reply]) -> Any:
    """A middleware that puts errors of the router, and faults of ours, into a face's envelope.

    say: the answer of a status and a text.
    """

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPRedirection:
            raise
        except web.HTTPException as error:
            return say(error.status, error.reason or "Route not found").response()
        except Exception:  # the outermost layer: whatever gets here becomes a 500 in the broker's envelope
            log.exception("unhandled error", method=request.method)
            return say(500, "Something went wrong.").response()

    return guard
