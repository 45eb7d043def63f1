"""A request's way: read, its session or token checked, counted, and answered in the envelope of its kind."""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from random import Random
from typing import Any
from urllib.parse import parse_qs

import msgspec
from aiohttp import web
from msgspec import Struct

from pulse_adapters.simulator.course import TIMED_OUT, Course, Reply, guarded
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.faults import NO_STRIKE, Call, FaultRule, Strike
from pulse_adapters.simulator.kotak.errors import (
    INVALID,
    NeoError,
    bad_access_token,
    bad_login,
    bad_session,
    from_refusal,
    no,
    no_data,
    too_many,
)
from pulse_adapters.simulator.kotak.forms import Fields, read_fields
from pulse_adapters.simulator.kotak.sessions import Sessions
from pulse_adapters.simulator.limits import ORDER, Limits, TooMany
from pulse_adapters.simulator.values import Refused

FIN_KEY = "neotradeapi"
QUOTE = "quote"
PER_SECOND = {ORDER: 10, QUOTE: 25}


class Access(StrEnum):
    """Who may ask."""

    LOGIN = "login"  # the application, with the key that all of them send
    APPLICATION = "application"
    SESSION = "session"
    ORDER = "order"  # a session, from where orders may come


class Asked(Struct, frozen=True, kw_only=True):
    """A request, read. origin: how the client calls this host. ip: where it asks from."""

    path: Mapping[str, str]
    fields: Fields
    query: Mapping[str, str]
    auth: str
    sid: str
    origin: str
    ip: str
    strike: Strike = NO_STRIKE


Handler = Callable[[Asked], Awaitable[Any]]
Say = Callable[[Any], Reply]


class Requests:
    """Makes web handlers of the API's own, and has its manners."""

    def __init__(self, desk: Desk, sessions: Sessions, limits: Limits, rng: Random) -> None:
        self._sessions = sessions
        self._limits = limits
        self._course = Course(desk, self, rng)

    def route(
        self,
        handler: Handler,
        access: Access = Access.SESSION,
        call: Call = Call.READ,
        *,
        bucket: str = "",
        say: Say | None = None,
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Let a handler answer requests.

        say: words the answer; it is sent as it is without.
        """

        async def answer(request: web.Request) -> web.StreamResponse:
            fields: Fields = {}
            unreadable: NeoError | None = None
            try:
                fields = await _fields(request)
            except NeoError as error:
                unreadable = error
            asked = _asked(request, fields)

            def check() -> None:
                self._check(request, asked, access)
                self._limits.take(bucket)
                if unreadable is not None:
                    raise unreadable

            async def work(strike: Strike) -> Any:
                return await handler(msgspec.structs.replace(asked, strike=strike))

            symbol, tag = fields.get("ts"), fields.get("ig")
            return await self._course.run(request, call, check, work, say or plain, symbol=symbol, tag=tag)

        return answer

    def _check(self, request: web.Request, asked: Asked, access: Access) -> None:
        has_token = self._sessions.check_access_token(request.headers.get("Authorization", ""))
        match access:
            case Access.LOGIN:
                if not has_token or request.headers.get("neo-fin-key") != FIN_KEY:
                    raise bad_login("Invalid credentials")
            case Access.APPLICATION:
                if not has_token:
                    raise bad_access_token()
            case Access.SESSION:
                self._sessions.check(asked.auth, asked.sid)
            case Access.ORDER:
                self._sessions.check_origin(self._sessions.check(asked.auth, asked.sid), asked.ip)

    # --- manners

    def failure(self, error: Exception) -> Reply | None:
        match error:
            case NeoError():
                return _failure(error)
            case Refused():
                return _failure(from_refusal(error))
            case TooMany():
                return _failure(too_many())
        return None

    def refusal(self, rule: FaultRule) -> NeoError:
        return no(_code(rule, INVALID), rule.message or "The order is refused", rule.status)

    def timed_out(self, rule: FaultRule) -> NeoError:
        return no(_code(rule, rule.status), rule.message or TIMED_OUT, rule.status)

    def too_many(self) -> NeoError:
        self._limits.close_second()
        return too_many()

    def expire(self) -> NeoError:
        self._sessions.end_all()
        return bad_session()


def plain(answer: Any) -> Reply:
    return Reply(body=msgspec.json.encode(answer))


def report(stat: str = "Ok") -> Say:
    """An envelope around rows; none are an error. stat: spelt differently from report to report."""

    def say(rows: Any) -> Reply:
        if not rows:
            return _failure(no_data())
        return plain({"stat": stat, "stCode": 200, "data": rows})

    return say


def _failure(error: NeoError) -> Reply:
    headers = {"Retry-After": "1", "X-RateLimit-Remaining": "0"} if error.status == 429 else {}
    return Reply(body=msgspec.json.encode(error.body), status=error.status, headers=headers)


def _code(rule: FaultRule, default: int) -> int:
    """A fault's reason is a number here."""
    return int(rule.reason) if rule.reason is not None and rule.reason.isdecimal() else default


guarding = guarded(lambda status, text: _failure(no(status, text, status)))


async def _fields(request: web.Request) -> Fields:
    """The fields of `jData`, or of a body that is JSON.

    Raises:
        NeoError: they cannot be read.
    """
    body = await request.read()
    if not body:
        return {}
    if request.content_type == "application/json":
        return read_fields(body)
    form = parse_qs(body.decode(errors="replace"))
    return read_fields(form.get("jData", [""])[0])


def _asked(request: web.Request, fields: Fields) -> Asked:
    return Asked(
        path=request.match_info, fields=fields, query=request.query, auth=request.headers.get("Auth", ""),
        sid=request.headers.get("Sid", ""), origin=str(request.url.origin()), ip=request.remote or "",
    )  # fmt: skip
