"""A login: mobile number, client code and a one-time code, then the MPIN.

The first step gives a token that may look, the second one that may trade, and the address that all calls of the
session go to.
"""

import base64
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pyotp
from msgspec import Struct

from pulse_adapters.kotak.line import Line
from pulse_adapters.kotak.outcomes import Answer, judge
from pulse_adapters.kotak.sdk import NeoClient
from pulse_adapters.kotak.sessions import BROKER, NeoSession
from pulse_adapters.kotak.settings import LOGIN_URL, KotakSettings
from pulse_adapters.real_broker.calls import Operation
from pulse_adapters.real_broker.lanes import Lane
from pulse_adapters.real_broker.sessions import session_ends_at
from pulse_adapters.real_broker.settings import LOOPBACK, is_base_url
from pulse_adapters.sealing import TokenSeal
from pulse_domain.ports.broker_sessions import BrokerSession, BrokerSessions
from pulse_domain.ports.clock import Clock

_TIMEOUT_S = 20.0
_BROKERS_DOMAIN = ".kotaksecurities.com"
MARKET_URL = "wss://sfeed.kotaksecurities.com/apifeed"


class LoginFailed(Exception):
    """There is no session; the text says why, and holds no secret. refused: the broker does not like what it
    was given, and will not like it a second time."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class Credentials(Struct, frozen=True, kw_only=True):
    """totp: the code of this moment, asked for right before it is sent."""

    mobile_number: str
    ucc: str
    mpin: str
    totp: Callable[[], str]

    def __repr__(self) -> str:
        return "Credentials()"


class LoggedIn(Struct, frozen=True, kw_only=True):
    """base_url: where the broker takes orders and serves its files."""

    user_id: str
    at: datetime
    valid_until: datetime
    base_url: str


def code_of_now(seed: str, clock: Clock) -> str:
    """What the authenticator shows now."""
    return pyotp.TOTP(seed).at(clock.now())


def stored_credentials(settings: KotakSettings, clock: Clock) -> Credentials | None:
    """Those of the environment; None where it has not all."""
    seed = settings.totp_seed
    if not (settings.mobile_number and settings.ucc and settings.mpin and seed):
        return None
    return Credentials(
        mobile_number=settings.mobile_number,
        ucc=settings.ucc,
        mpin=settings.mpin,
        totp=lambda: code_of_now(seed, clock),
    )


async def log_in(
    settings: KotakSettings,
    credentials: Credentials,
    store: BrokerSessions,
    clock: Clock,
) -> LoggedIn:
    """Open a session and store it.

    Raises:
        LoginFailed: the broker does not take the credentials, or cannot be reached.
        StorageUnavailable: the session is not stored; a new login is needed.
    """
    line = Line(access_token=settings.access_token, login_url=settings.login_url, clock=clock, pool_size=1)
    try:
        view = await _step(
            line,
            lambda neo: neo.totp_login(
                mobile_number=credentials.mobile_number, ucc=credentials.ucc, totp=credentials.totp()
            ),
        )
        trade = await _step(
            line,
            lambda neo: neo.totp_validate(
                mpin=credentials.mpin, view_token=_text(view, "token"), view_sid=_text(view, "sid")
            ),
        )
    finally:
        await line.close()
    session = _session(settings, trade, credentials.ucc)
    now = clock.now()
    row = BrokerSession(
        broker=BROKER,
        user_id=credentials.ucc,
        sealed_token=TokenSeal(settings.session_secrets).seal(
            broker=BROKER, user_id=credentials.ucc, token=msgspec.json.encode(session).decode()
        ),
        valid_until=min(session_ends_at(now), _expiry(session.token) or datetime.max.replace(tzinfo=UTC)),
    )
    await store.save(row)
    return LoggedIn(user_id=row.user_id, at=now, valid_until=row.valid_until, base_url=session.base_url)


async def _step(line: Line, work: Callable[[NeoClient], object]) -> Mapping[str, Any]:
    ending = await line.run(Lane.CHANGE, work, session=None, timeout_s=_TIMEOUT_S)
    if isinstance(ending, Answer) and 200 <= ending.status < 300 and ending.body is not None:
        data = ending.body.get("data")
        if isinstance(data, dict) and data.get("token"):
            return data
        # Errors come with 200 too.
        raise LoginFailed("the broker does not take the number, code, client code or MPIN", refused=True)
    if isinstance(ending, Answer) and ending.status in (400, 401, 403, 422):
        raise LoginFailed("the broker does not take the number, code, client code or MPIN", refused=True)
    # Not the broker's own text, which may repeat what was sent.
    error = judge(Operation.READ, ending)
    reason = error.reason_code if error is not None else "UNREADABLE_ANSWER"
    raise LoginFailed(f"the broker did not open a session: {reason}")


def _session(settings: KotakSettings, data: Mapping[str, Any], ucc: str) -> NeoSession:
    base_url = _text(data, "baseUrl").rstrip("/")
    is_simulated = settings.login_url.startswith("http://")
    if not is_base_url(base_url, loopback=is_simulated) or not _is_brokers(base_url, settings.login_url):
        # Orders, and the token with them, would go wherever an answer points.
        raise LoginFailed("the broker names an address for orders that is not its own")
    return NeoSession(
        token=_text(data, "token"),
        sid=_text(data, "sid"),
        base_url=base_url,
        feed_url=_feed_url(data.get("rtUrl"), f"{_ws(base_url)}/realtime", settings.login_url),
        ucc=ucc,
        market_url=_feed_url(data.get("feedUrl"), _market_url(base_url, settings), settings.login_url),
    )


def _ws(url: str) -> str:
    return url.replace("http", "ws", 1)


def _market_url(base_url: str, settings: KotakSettings) -> str:
    """Where prices are, if the broker does not say; a simulator has them with all the rest."""
    return f"{_ws(base_url)}/apifeed" if settings.login_url != LOGIN_URL else MARKET_URL


def _feed_url(given: object, default: str, login_url: str) -> str:
    if not isinstance(given, str) or not given:
        return default
    url = _ws(given) if given.startswith("http") else given
    scheme, separator, rest = url.partition("://")
    host = rest.partition("/")[0]
    if not separator or scheme != default.partition("://")[0]:
        return default
    return url if _is_brokers(f"https://{host}", login_url) else default


def _is_brokers(base_url: str, login_url: str) -> bool:
    host = base_url.partition("://")[2].rpartition("@")[2].partition("/")[0].partition(":")[0]
    if login_url == LOGIN_URL:
        return host.endswith(_BROKERS_DOMAIN)
    # A simulator, or a gateway of one's own: orders go where the login went.
    own = login_url.partition("://")[2].partition(":")[0]
    return host == own or (host in LOOPBACK and own in LOOPBACK) or host.endswith(_BROKERS_DOMAIN)


def _text(data: Mapping[str, Any], name: str) -> str:
    text = data.get(name)
    # It becomes a part of a header.
    if not isinstance(text, str) or not text.isascii() or not text.isprintable() or not text:
        raise LoginFailed("the broker's answer has no session")
    return text


def _expiry(token: str) -> datetime | None:
    """When the token says that it ends; it is the broker's, so its signature is not ours to check."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    with suppress(ValueError, TypeError, OverflowError, msgspec.MsgspecError):
        payload = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        ends = payload.get("exp") if isinstance(payload, dict) else None
        if isinstance(ends, int) and ends > 0:
            return datetime.fromtimestamp(0, UTC) + timedelta(seconds=ends)
    return None
