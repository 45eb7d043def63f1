"""The access token that every call carries, and whether there is one at all.

A person logs in once a day; the token is stored sealed, and the newest one wins in every process. The
broker ends all sessions at about six in the morning, and this one earlier where it is told to.
"""

import asyncio
from datetime import datetime, timedelta

import structlog
from msgspec import Struct

from pulse_adapters.sealing import CannotOpen, TokenSeal
from pulse_adapters.zerodha.outcomes import SESSION_EXPIRED
from pulse_domain.errors import BrokerUnavailable, StorageUnavailable
from pulse_domain.ports.broker_sessions import BrokerSession, BrokerSessions
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

BROKER = "zerodha"
NO_SESSION = "NO_SESSION"
SESSION_STORE_UNAVAILABLE = "SESSION_STORE_UNAVAILABLE"

_IST = timedelta(hours=5, minutes=30)
# The daily flush by the rules; the broker's has been seen to run until half past seven.
_FLUSH = timedelta(hours=6)
FLUSH_LATEST = timedelta(hours=7, minutes=30)
_READ_TIMEOUT_S = 3.0


def session_ends_at(login_at: datetime) -> datetime:
    """The first daily flush after a login."""
    midnight = (login_at + _IST).replace(hour=0, minute=0, second=0, microsecond=0) - _IST
    flush = midnight + _FLUSH
    return flush if login_at < flush else flush + timedelta(days=1)


def may_be_flushed_early(login_at: datetime) -> bool:
    """Whether a login is so early that the day's flush may still end it."""
    midnight = (login_at + _IST).replace(hour=0, minute=0, second=0, microsecond=0) - _IST
    return _FLUSH <= login_at - midnight < FLUSH_LATEST


class _Token(Struct, frozen=True):
    text: str
    valid_until: datetime

    def __repr__(self) -> str:
        return f"_Token(valid_until={self.valid_until})"


class ZerodhaSessions:
    """initial_token: used until a session that is still valid is stored. refresh_s: how late a new session may
    be noticed."""

    def __init__(
        self,
        store: BrokerSessions,
        seal: TokenSeal,
        clock: Clock,
        *,
        initial_token: str | None = None,
        refresh_s: float = 2.0,
    ) -> None:
        self._store = store
        self._seal = seal
        self._clock = clock
        self._refresh_s = refresh_s
        self._initial = initial_token and _Token(initial_token, session_ends_at(clock.now()))
        self._row: BrokerSession | None = None
        self._stored: _Token | None = None
        self._reading = asyncio.Lock()
        self._read_at: float | None = None
        self._has_read = False
        # Refused by the broker; kept so that they are not tried in turns.
        self._dead = set[str]()
        self._paused: str | None = None

    async def current(self) -> str:
        """The token to use now.

        Raises:
            BrokerUnavailable: there is none, NO_SESSION or SESSION_EXPIRED; or it is not known yet,
                SESSION_STORE_UNAVAILABLE.
        """
        await self._refresh()
        token = self._choose()
        if token is not None and self._is_usable(token):
            self._go_on()
            return token.text
        if token is not None:
            reason = SESSION_EXPIRED
        else:
            reason = NO_SESSION if self._has_read else SESSION_STORE_UNAVAILABLE
        self._pause(reason)
        raise BrokerUnavailable(reason, "log in with: pulse broker login zerodha")

    async def is_open(self) -> bool:
        """Whether anything can be sent."""
        try:
            await self.current()
        except BrokerUnavailable:
            return False
        return True

    @property
    def paused(self) -> bool:
        """Whether the last look found no valid session."""
        return self._paused is not None

    def refused(self, token: str) -> None:
        """The broker does not take this token any more."""
        self._dead.add(token)
        self._read_at = None  # there may be a newer one already

    def _pause(self, reason: str) -> None:
        if self._paused != reason and reason != SESSION_STORE_UNAVAILABLE:
            # Once, and not at every call until somebody comes.
            log.error(
                "there is no valid broker session; nothing is sent until `pulse broker login zerodha`",
                broker=BROKER,
                reason=reason,
            )
        self._paused = reason

    def _go_on(self) -> None:
        if self._paused is not None:
            log.info("there is a broker session again; sending goes on", broker=BROKER)
        self._paused = None

    async def _refresh(self) -> None:
        known = self._choose()
        if self._reading.locked():
            if known is not None and self._is_usable(known):
                return  # somebody asks already, and there is something to go on with
        elif self._is_fresh():
            return
        async with self._reading:
            if not self._is_fresh():
                await self._read()

    def _is_fresh(self) -> bool:
        return self._read_at is not None and self._clock.monotonic() - self._read_at < self._refresh_s

    async def _read(self) -> None:
        self._read_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(_READ_TIMEOUT_S):
                row = await self._store.newest(BROKER)
        except (StorageUnavailable, TimeoutError) as error:
            # What is known goes on being used.
            log.warning("the stored broker session cannot be read", broker=BROKER, error=type(error).__name__)
            return
        self._has_read = True
        if row == self._row:
            return
        self._row, self._stored = row, None
        if row is not None:
            try:
                text = self._seal.open(row.sealed_token, broker=BROKER, user_id=row.user_id)
            except CannotOpen as error:
                log.error("the stored broker session is of no use", broker=BROKER, error=str(error))
            else:
                self._stored = _Token(text, row.valid_until)

    def _choose(self) -> _Token | None:
        """The stored one where it can be used; else the initial one; else whichever can tell why not."""
        tokens = [token for token in (self._stored, self._initial) if token]
        return next((token for token in tokens if self._is_usable(token)), tokens[0] if tokens else None)

    def _is_usable(self, token: _Token) -> bool:
        return token.text not in self._dead and self._clock.now() < token.valid_until
