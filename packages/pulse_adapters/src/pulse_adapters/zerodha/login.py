"""A person's login: the page to open, and the exchange of its request token for a session.

The exchange asks for a login every day and by hand: it is not automated here.
"""

import re
from datetime import datetime
from urllib.parse import parse_qs, urlencode

from kiteconnect import KiteConnect
from msgspec import Struct

from pulse_adapters.real_broker.calls import Operation
from pulse_adapters.real_broker.lanes import Lane
from pulse_adapters.real_broker.sessions import session_ends_at
from pulse_adapters.sealing import TokenSeal
from pulse_adapters.zerodha.line import CallFailed, Line
from pulse_adapters.zerodha.outcomes import Answer, judge
from pulse_adapters.zerodha.sessions import BROKER
from pulse_adapters.zerodha.settings import BASE_URL, ZerodhaSettings
from pulse_domain.ports.broker_sessions import BrokerSession, BrokerSessions
from pulse_domain.ports.clock import Clock

_TIMEOUT_S = 20.0
_is_token = re.compile(r"[A-Za-z0-9_-]{1,256}").fullmatch


class LoginFailed(Exception):
    """There is no session; the text says why, and holds no secret."""


class LoggedIn(Struct, frozen=True, kw_only=True):
    user_id: str
    at: datetime
    valid_until: datetime


def login_url(settings: ZerodhaSettings) -> str:
    """The page on which a person logs in; it leads on to an address with a request token."""
    if settings.base_url != BASE_URL:
        # A simulator has the page itself; the SDK knows only the broker's.
        return f"{settings.base_url}/connect/login?{urlencode({'v': '3', 'api_key': settings.api_key})}"
    return str(KiteConnect(api_key=settings.api_key).login_url())


def read_request_token(pasted: str) -> str:
    """The request token out of what a person pastes: itself, or the address that the login page led to.

    Raises:
        LoginFailed: there is none in it.
    """
    text = pasted.strip()
    if "request_token=" in text:
        text = parse_qs(text.rpartition("?")[2].partition("#")[0]).get("request_token", [""])[0]
    if not _is_token(text):
        raise LoginFailed("that holds no request token")
    return text


async def log_in(
    settings: ZerodhaSettings, store: BrokerSessions, clock: Clock, request_token: str
) -> LoggedIn:
    """Exchange a request token, which works once and for minutes, and store the session.

    Raises:
        LoginFailed: the broker does not take it, or cannot be reached.
        StorageUnavailable: the session is not stored; a new login is needed.
    """
    line = Line(api_key=settings.api_key, base_url=settings.base_url, clock=clock, pool_size=1)
    try:
        answer = await line.run(
            Lane.CHANGE,
            lambda kite: kite.generate_session(request_token, api_secret=settings.api_secret),
            token=None,
            timeout_s=_TIMEOUT_S,
        )
    except CallFailed as failed:
        # Not the broker's own text, which may repeat what was sent.
        raise LoginFailed(_why(failed)) from None
    finally:
        await line.close()
    user_id, token = answer.get("user_id"), answer.get("access_token")
    if not isinstance(user_id, str) or not isinstance(token, str) or not user_id or not token:
        raise LoginFailed("the broker's answer has no session")
    now = clock.now()
    session = BrokerSession(
        broker=BROKER,
        user_id=user_id,
        sealed_token=TokenSeal(settings.session_secrets).seal(broker=BROKER, user_id=user_id, token=token),
        valid_until=session_ends_at(now),
    )
    await store.save(session)
    return LoggedIn(user_id=user_id, at=now, valid_until=session.valid_until)


def _why(failed: CallFailed) -> str:
    if isinstance(failed.ending, Answer) and failed.ending.error_type == "TokenException":
        return "the broker does not take the request token: it works once and for minutes, so log in again"
    return f"the broker did not open a session: {judge(Operation.READ, failed.ending).reason_code}"
