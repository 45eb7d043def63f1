"""Logins: a request token for once, then an access token until six in the morning."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from msgspec import Struct, msgpack

from pulse_adapters.simulator.kite.errors import KiteError, bad_token
from pulse_adapters.simulator.kite.settings import KiteApp
from pulse_adapters.simulator.venue import trading_day

STREAM = "kite"
_REQUEST_TOKEN_LIFE = timedelta(minutes=3)


class Session(Struct, frozen=True, kw_only=True, tag=True):
    """One login; it replaces the one before of the same app."""

    api_key: str
    access_token: str
    day: date
    login_at: datetime

    def __repr__(self) -> str:
        return f"Session({self.day})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []  # a Struct of its own would show every field


class Ended(Struct, frozen=True, kw_only=True, tag=True):
    """All sessions have ended."""

    at: datetime


class Sessions:
    """The sessions of an app. They outlive the process: `append` puts them in the journal.

    entries: what an earlier process put there.
    """

    _decoder: ClassVar = msgpack.Decoder(Session | Ended)

    def __init__(
        self,
        app: KiteApp,
        now: Callable[[], datetime],
        append: Callable[[str, bytes], None],
        entries: Iterable[bytes] = (),
    ) -> None:
        self._app = app
        self._now = now
        self._append = append
        self._request_tokens: dict[str, datetime] = {}
        self._session: Session | None = None
        for body in entries:
            entry = self._decoder.decode(body)
            self._session = entry if isinstance(entry, Session) else None

    def new_request_token(self, api_key: str) -> str:
        """What the login page hands to the app.

        Raises:
            KiteError: there is no such app.
        """
        self._check_key(api_key)
        token = secrets.token_hex(16)
        self._request_tokens[token] = self._now() + _REQUEST_TOKEN_LIFE
        return token

    def exchange(self, api_key: str, request_token: str, checksum: str) -> Session:
        """Begin a session for a request token, which is used up.

        Raises:
            KiteError: the key, the token or the checksum is wrong, or the token has expired.
        """
        self._check_key(api_key)
        valid_until = self._request_tokens.pop(request_token, None)
        if valid_until is None or self._now() > valid_until:
            raise KiteError(403, "TokenException", "Token is invalid or has expired.")
        text = f"{api_key}{request_token}{self._app.api_secret}"
        if not hmac.compare_digest(hashlib.sha256(text.encode()).hexdigest().encode(), checksum.encode()):
            raise KiteError(403, "TokenException", "Invalid `checksum`.")
        return self._begin()

    def begin(self) -> Session:
        """Begin a session without a login, for those who run the simulator."""
        return self._begin()

    def current(self) -> Session | None:
        """The session that runs, if one does."""
        session = self._session
        return session if session is not None and session.day == trading_day(self._now()) else None

    def end(self, api_key: str, access_token: str) -> None:
        """Log out.

        Raises:
            KiteError: there is no such session.
        """
        self.check(api_key, access_token)
        self.end_all()

    def end_all(self) -> None:
        if self._session is not None:
            self._session = None
            self._append(STREAM, msgpack.encode(Ended(at=self._now())))

    def check(self, api_key: str, access_token: str) -> None:
        """Raises KiteError where the token is not that of a session that runs."""
        session = self.current()
        if (
            session is None
            or session.api_key != api_key
            or not hmac.compare_digest(session.access_token.encode(), access_token.encode())
        ):
            raise bad_token()

    def _begin(self) -> Session:
        now = self._now()
        session = Session(
            api_key=self._app.api_key, access_token=secrets.token_hex(16), day=trading_day(now), login_at=now
        )
        self._session = session
        self._append(STREAM, msgpack.encode(session))
        return session

    def _check_key(self, api_key: str) -> None:
        if api_key != self._app.api_key:
            raise KiteError(403, "TokenException", "Invalid `api_key`.")
