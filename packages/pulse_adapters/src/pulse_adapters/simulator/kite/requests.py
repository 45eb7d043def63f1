"""A request's way: read, authenticated, counted, and answered in the envelope."""

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web
from msgspec import Struct

from pulse_adapters.simulator.course import TIMED_OUT, Course, Reply, guarded
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.faults import NO_STRIKE, Call, FaultRule, Strike
from pulse_adapters.simulator.kite.errors import KiteError, bad_token, from_refusal, too_many
from pulse_adapters.simulator.kite.limits import Bucket
from pulse_adapters.simulator.kite.sessions import Sessions
from pulse_adapters.simulator.kite.wire import Failure, Success
from pulse_adapters.simulator.limits import Limits, TooMany
from pulse_adapters.simulator.values import Refused


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


class Requests:
    """Makes web handlers of the API's own, and has its manners."""

    def __init__(self, desk: Desk, sessions: Sessions, limits: Limits, rng: Random) -> None:
        self._sessions = sessions
        self._limits = limits
        self._course = Course(desk, self, rng)

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
            asked = await self._read(request)

            def check() -> None:
                if not is_open:
                    self._sessions.check(*_credentials(request))
                    self._limits.take(bucket)

            async def work(strike: Strike) -> Any:
                return await handler(msgspec.structs.replace(asked, strike=strike))

            symbol, tag = asked.form.get("tradingsymbol"), asked.form.get("tag")
            return await self._course.run(request, call, check, work, _success, symbol=symbol, tag=tag)

        return answer

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

    # --- manners

    def failure(self, error: Exception) -> Reply | None:
        match error:
            case KiteError():
                return _failure(error)
            case Refused():
                return _failure(from_refusal(error))
            case TooMany():
                return _failure(too_many(str(error)))
        return None

    def refusal(self, rule: FaultRule) -> KiteError:
        return KiteError(rule.status, rule.reason or "InputException", rule.message or "The order is refused.")

    def timed_out(self, rule: FaultRule) -> KiteError:
        return KiteError(rule.status, rule.reason or "OrderException", rule.message or TIMED_OUT)

    def too_many(self) -> KiteError:
        self._limits.close_second()
        return too_many()

    def expire(self) -> KiteError:
        self._sessions.end_all()
        return bad_token()


def _success(answer: Any) -> Reply:
    return Reply(body=msgspec.json.encode(Success(data=answer)))


def _failure(error: KiteError) -> Reply:
    body = Failure(message=error.message, error_type=error.error_type)
    return Reply(body=msgspec.json.encode(body), status=error.status)


enveloped = guarded(lambda status, text: _failure(KiteError(status, "GeneralException", text)))


def _credentials(request: web.Request) -> tuple[str, str]:
    kind, _, rest = request.headers.get("Authorization", "").partition(" ")
    api_key, _, access_token = rest.partition(":")
    return (api_key, access_token) if kind == "token" else ("", "")
