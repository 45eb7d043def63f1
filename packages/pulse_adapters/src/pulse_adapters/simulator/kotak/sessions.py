"""Logins: a one-time code gives a token that may look, and the MPIN one that may trade until the day ends."""

import base64
import hmac
import secrets
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

import msgspec
from msgspec import Struct, msgpack

from pulse_adapters.simulator.kotak.errors import (
    SESSION_IP,
    STATIC_IP,
    NeoError,
    bad_login,
    bad_session,
    missing_at_login,
    no,
)
from pulse_adapters.simulator.kotak.settings import NeoSettings
from pulse_adapters.simulator.kotak.totp import is_code
from pulse_adapters.simulator.venue import DAY_BEGINS, trading_day
from pulse_domain.units import INDIA

STREAM = "kotak"
# Not documented: as long as a person may need to find the MPIN.
_VIEW_LIFE = timedelta(minutes=5)


class Pass(Struct, frozen=True, kw_only=True):
    """What a step of the login gives."""

    token: str
    sid: str

    def __repr__(self) -> str:
        return "Pass()"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


class Session(Struct, frozen=True, kw_only=True, tag=True):
    """One login; others of the same day go on beside it. ip: where it was opened from."""

    token: str
    sid: str
    ip: str
    day: date

    def __repr__(self) -> str:
        return f"Session({self.day})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class Ended(Struct, frozen=True, kw_only=True, tag=True):
    """All sessions have ended."""

    at: datetime


class Sessions:
    """The sessions of an account. They outlive the process: `append` puts them in the journal.

    now: by which sessions end. code_now: by which authenticators make codes.
    entries: what an earlier process put into the journal.
    """

    _decoder: ClassVar = msgpack.Decoder(Session | Ended)

    def __init__(
        self,
        settings: NeoSettings,
        now: Callable[[], datetime],
        code_now: Callable[[], datetime],
        append: Callable[[str, bytes], None],
        entries: Iterable[bytes] = (),
    ) -> None:
        self._account = settings.account
        self._static_ips = settings.static_ips
        self._now = now
        self._code_now = code_now
        self._append = append
        self._views: dict[str, tuple[str, datetime]] = {}
        self._sessions: dict[str, Session] = {}
        for body in entries:
            entry = self._decoder.decode(body)
            if isinstance(entry, Session):
                self._sessions[entry.token] = entry
            else:
                self._sessions.clear()

    def check_access_token(self, access_token: str) -> bool:
        return hmac.compare_digest(access_token.encode(), self._account.access_token.encode())

    def view(self, mobile_number: str, ucc: str, code: str) -> Pass:
        """The first step.

        Raises:
            NeoError: something is missing or wrong.
        """
        for field, value in (("MobileNumber", mobile_number), ("Ucc", ucc), ("Totp", code)):
            if not value:
                raise missing_at_login(field)
        account = self._account
        if (mobile_number, ucc) != (account.mobile_number, account.ucc):
            raise bad_login("Invalid credentials")
        if not is_code(account.totp_seed, code, self._code_now()):
            raise bad_login("Invalid TOTP")
        given = self._pass(self._now() + _VIEW_LIFE)
        self._views[given.token] = (given.sid, self._now() + _VIEW_LIFE)
        return given

    def validate(self, token: str, sid: str, mpin: str, ip: str) -> Session:
        """The second step; the pass of the first one is used up if it succeeds.

        Raises:
            NeoError: the pass or the MPIN is wrong.
        """
        known, valid_until = self._views.get(token, ("", self._now()))
        if not known or known != sid or self._now() > valid_until:
            raise bad_login("Invalid session token", 403)
        if not mpin:
            raise missing_at_login("Mpin")
        if not hmac.compare_digest(mpin.encode(), self._account.mpin.encode()):
            raise bad_login("Invalid MPIN")
        del self._views[token]
        return self.begin(ip)

    def begin(self, ip: str) -> Session:
        """Begin a session without a login, for those who run the simulator."""
        given = self._pass(self._day_ends_at())
        return self.adopt(given.token, given.sid, ip)

    def adopt(self, token: str, sid: str, ip: str) -> Session:
        """Begin a session with a token of somebody else's making."""
        session = Session(token=token, sid=sid, ip=ip, day=trading_day(self._now()))
        self._sessions = {known: each for known, each in self._sessions.items() if each.day == session.day}
        self._sessions[token] = session
        self._append(STREAM, msgpack.encode(session))
        return session

    def current(self) -> Session | None:
        """The newest session that runs, if one does."""
        today = trading_day(self._now())
        return next((each for each in reversed(self._sessions.values()) if each.day == today), None)

    def find(self, token_or_sid: str) -> Session | None:
        """A session that runs, by either of its names."""
        today = trading_day(self._now())
        for session in self._sessions.values():
            if session.day == today and token_or_sid in (session.token, session.sid):
                return session
        return None

    def check(self, token: str, sid: str) -> Session:
        """Raises NeoError where they are not those of a session that runs."""
        session = self._sessions.get(token)
        if session is None or session.day != trading_day(self._now()):
            raise bad_session()
        if not hmac.compare_digest(session.sid.encode(), sid.encode()):
            raise bad_session()
        return session

    def check_origin(self, session: Session, ip: str) -> None:
        """Raises NeoError where orders may not come from there."""
        if self._static_ips and ip not in self._static_ips:
            raise NeoError({"stCode": STATIC_IP, "errMsg": "unauthorized", "stat": "Not_Ok"})
        if ip != session.ip:
            # Spelt as it is served.
            raise no(SESSION_IP, "session ip doesnt match with reqest ip")

    def end_all(self) -> None:
        if self._sessions:
            self._sessions.clear()
            self._append(STREAM, msgpack.encode(Ended(at=self._now())))

    def _day_ends_at(self) -> datetime:
        tomorrow = trading_day(self._now()) + timedelta(days=1)
        return datetime.combine(tomorrow, datetime.min.time(), INDIA) + DAY_BEGINS

    def _pass(self, expires_at: datetime) -> Pass:
        return Pass(token=self._token(expires_at), sid=secrets.token_hex(16))

    def _token(self, expires_at: datetime) -> str:
        """In the shape of a JWT, whose expiry clients read; nobody can check the signature."""
        header = {"alg": "RS256", "typ": "JWT"}
        claims = {
            "sub": self._account.ucc,
            "iat": int(self._now().timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": secrets.token_hex(8),
        }
        parts = (msgspec.json.encode(header), msgspec.json.encode(claims), secrets.token_bytes(32))
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
