"""A request's way: read, authenticated, counted, struck by a fault or not, answered in the envelope."""

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import structlog
from aiohttp import web
from msgspec import Struct

from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.faults import NO_STRIKE, Call, FaultKind, FaultRule, Strike
from pulse_adapters.simulator.kite.errors import KiteError, bad_token, from_refusal, too_many
from pulse_adapters.simulator.kite.limits import Bucket, Limits
from pulse_adapters.simulator.kite.sessions import Sessions
from pulse_adapters.simulator.kite.wire import Failure, Success
from pulse_adapters.simulator.values import Refused

# How long a request hangs before the connection is cut, where the fault does not say.
HANG_S = (60.0, 60.0)
_PROXY_PAGE = (
    "<html><head><title>504 Gateway Time-out</title></head><body><h1>504 Gateway Time-out</h1></body></html>"
)
_TIMED_OUT = "Your order request timed out. Please check the order book."

log = structlog.get_logger(__name__)


class Asked(Struct, frozen=True, kw_only=True):
    """A request, read."""

    path: Mapping[str, str]
    form: Mapping[str, str]
    query: Mapping[str, str]
    names: tuple[str, ...]  # every `i` of the query
    body: bytes
    api_key: str
    strike: Strike = NO_STRIKE


Handler = Callable[[Asked], Awaitable[Any]]


class _Cut(Exception):
    """The connection is to be cut without an answer."""


class _ProxyPage(Exception):
    """A proxy answers in the API's place."""


class Requests:
    """Makes web handlers of the API's own."""

    def __init__(self, desk: Desk, sessions: Sessions, limits: Limits, rng: Random) -> None:
        self._desk = desk
        self._sessions = sessions
        self._limits = limits
        self._rng = rng

    def route(
        self,
        handler: Handler,
        bucket: Bucket = Bucket.OTHER,
        call: Call = Call.READ,
        *,
        is_open: bool = False,
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Let a handler answer requests of a session, or of anybody where it `is_open`."""

        async def answer(request: web.Request) -> web.StreamResponse:
            return await self._answer(request, handler, Bucket.FREE if is_open else bucket, call, is_open)

        return answer

    async def _answer(
        self, request: web.Request, handler: Handler, bucket: Bucket, call: Call, is_open: bool
    ) -> web.StreamResponse:
        body: Success | Failure
        status = 200
        try:
            body = Success(data=await self._handle(request, handler, bucket, call, is_open))
        except (KiteError, Refused) as no:
            error = from_refusal(no) if isinstance(no, Refused) else no
            status, body = error.status, _failure(error)
        except _ProxyPage:
            return web.Response(status=504, text=_PROXY_PAGE, content_type="text/html")
        except _Cut:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        await self._desk.clock.sleep(self._desk.pace.answer_s(self._rng))
        return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json")

    async def _handle(
        self, request: web.Request, handler: Handler, bucket: Bucket, call: Call, is_open: bool
    ) -> Any:
        asked = await self._read(request)
        if not is_open:
            self._sessions.check(*_credentials(request))
        self._limits.take(bucket)
        strike = self._desk.faults.strike(call, asked.form.get("tradingsymbol"))
        await self._strike_before(strike)
        answer = await handler(msgspec.structs.replace(asked, strike=strike))
        # Nobody may hear of what a crash would undo.
        await self._desk.durable()
        return await self._strike_after(strike, answer)

    async def _read(self, request: web.Request) -> Asked:
        body = await request.read() if request.can_read_body else b""
        form: dict[str, str] = {}
        if body and request.content_type == "application/x-www-form-urlencoded":
            form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        query = dict(request.query)
        if request.method == "DELETE":
            form = {**query, **form}
        api_key = _credentials(request)[0]
        return Asked(
            path=request.match_info, form=form, query=query, names=tuple(request.query.getall("i", ())),
            body=body, api_key=api_key,
        )  # fmt: skip

    async def _strike_before(self, strike: Strike) -> None:
        """What goes wrong before anything is accepted."""
        rule = strike.answer
        match strike.kind:
            case FaultKind.TOO_MANY:
                self._limits.close_second()
                raise too_many()
            case FaultKind.TIMEOUT_BEFORE if rule is not None:
                await self._hang(rule)
            case FaultKind.DROP_BEFORE:
                raise _Cut
            case FaultKind.HTML_504_BEFORE:
                raise _ProxyPage
            case FaultKind.REJECT if rule is not None:
                raise KiteError(
                    rule.status, rule.reason or "InputException", rule.message or "The order is refused."
                )
            case FaultKind.EXPIRE_TOKEN:
                self._sessions.end_all()
                raise bad_token()
            case _:
                pass

    async def _strike_after(self, strike: Strike, answer: Any) -> Any:
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
                raise KiteError(rule.status, rule.reason or "OrderException", rule.message or _TIMED_OUT)
            case FaultKind.TRUNCATE if rule is not None and isinstance(answer, list):
                return answer[: -rule.rows]
            case _:
                pass
        return answer

    async def _hang(self, rule: FaultRule) -> None:
        seconds = self._desk.pace.scaled_s(self._desk.faults.seconds(rule, HANG_S))
        await self._desk.clock.sleep(seconds)
        raise _Cut


@web.middleware
async def enveloped(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Errors of the router, and faults of ours, in the API's envelope."""
    try:
        return await handler(request)
    except web.HTTPRedirection:
        raise
    except web.HTTPException as error:
        known = KiteError(error.status, "GeneralException", error.reason or "Route not found")
    except Exception:
        log.exception("unhandled error", method=request.method)
        known = KiteError(500, "GeneralException", "Something went wrong.")
    body = msgspec.json.encode(_failure(known))
    return web.Response(body=body, status=known.status, content_type="application/json")


def _failure(error: KiteError) -> Failure:
    return Failure(message=error.message, error_type=error.error_type)


def _credentials(request: web.Request) -> tuple[str, str]:
    kind, _, rest = request.headers.get("Authorization", "").partition(" ")
    api_key, _, access_token = rest.partition(":")
    return (api_key, access_token) if kind == "token" else ("", "")
