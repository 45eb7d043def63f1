"""The session that every call is made in, and whether there is one at all.

It is opened once a day, stored sealed, and the newest one wins in every process. Where that is wanted, a
process that finds none opens one itself.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import msgspec
import structlog

from pulse_adapters.kotak.client import NeoSession
from pulse_adapters.kotak.outcomes import SESSION_EXPIRED
from pulse_adapters.sealing import CannotOpen, TokenSeal
from pulse_domain.errors import BrokerUnavailable, StorageUnavailable
from pulse_domain.ports.broker_sessions import BrokerSession, BrokerSessions
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

BROKER = "kotak"
NO_SESSION = "NO_SESSION"
SESSION_STORE_UNAVAILABLE = "SESSION_STORE_UNAVAILABLE"

_IST = timedelta(hours=5, minutes=30)
# The rules want all sessions ended before each trading day; when exactly the broker does it is not documented.
_FLUSH = timedelta(hours=6)
_READ_TIMEOUT_S = 3.0
_RENEWAL_PAUSE_S = 60.0


def session_ends_at(login_at: datetime) -> datetime:
    """The first daily end of sessions after a login."""
    midnight = (login_at + _IST).replace(hour=0, minute=0, second=0, microsecond=0) - _IST
    flush = midnight + _FLUSH
    return flush if login_at < flush else flush + timedelta(days=1)


class KotakSessions:
    """refresh_s: how late a new session may be noticed.
    renew: logs in and stores the session; it says whether it is of any use to try again.
    """

    def __init__(
        self,
        store: BrokerSessions,
        seal: TokenSeal,
        clock: Clock,
        *,
        renew: Callable[[], Awaitable[bool]] | None = None,
        refresh_s: float = 2.0,
    ) -> None:
        self._store = store
        self._seal = seal
        self._clock = clock
        self._renew = renew
        self._refresh_s = refresh_s
        self._row: BrokerSession | None = None
        self._session: NeoSession | None = None
        self._reading = asyncio.Lock()
        self._read_at: float | None = None
        self._has_read = False
        self._dead: set[str] = set()
        self._paused: str | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._renewed_at: float | None = None

    async def current(self) -> NeoSession:
        """The session to use now.

        Raises:
            BrokerUnavailable: there is none, NO_SESSION or SESSION_EXPIRED; or it is not known yet,
                SESSION_STORE_UNAVAILABLE.
        """
        await self._refresh()
        if self._session is not None and self._is_usable(self._session):
            self._go_on()
            return self._session
        if self._session is not None:
            reason = SESSION_EXPIRED
        else:
            reason = NO_SESSION if self._has_read else SESSION_STORE_UNAVAILABLE
        self._pause(reason)
        if self._has_read:
            self._begin_renewal()
        raise BrokerUnavailable(reason, "log in with: pulse broker login kotak")

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

    def refused(self, session: NeoSession) -> None:
        """The broker does not take this session any more."""
        self._dead.add(session.token)
        self._read_at = None  # there may be a newer one already

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    def _pause(self, reason: str) -> None:
        if self._paused != reason and reason != SESSION_STORE_UNAVAILABLE:
            # Once, and not at every call until somebody comes.
            log.error(
                "there is no valid broker session; nothing is sent until `pulse broker login kotak`",
                broker=BROKER,
                reason=reason,
            )
        self._paused = reason

    def _go_on(self) -> None:
        if self._paused is not None:
            log.info("there is a broker session again; sending goes on", broker=BROKER)
        self._paused = None

    # --- renewal

    def _begin_renewal(self) -> None:
        """In a task of its own: a login takes longer than a call may."""
        if self._renew is None or (self._renewing is not None and not self._renewing.done()):
            return
        now = self._clock.monotonic()
        if self._renewed_at is not None and now - self._renewed_at < _RENEWAL_PAUSE_S:
            return
        self._renewed_at = now
        self._renewing = asyncio.create_task(self._try_renewal(self._renew), name="kotak-login")

    async def _try_renewal(self, renew: Callable[[], Awaitable[bool]]) -> None:
        try:
            if not await renew():
                # The broker locks an account after a few wrong tries.
                self._renew = None
        except Exception as error:  # its text may hold what was sent
            log.error("a login has failed", broker=BROKER, error=type(error).__name__)
        self._read_at = None

    # --- the store

    async def _refresh(self) -> None:
        if self._reading.locked():
            if self._session is not None and self._is_usable(self._session):
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
        self._row, self._session = row, None
        if row is not None:
            try:
                text = self._seal.open(row.sealed_token, broker=BROKER, user_id=row.user_id)
                self._session = msgspec.json.decode(text, type=NeoSession)
            except CannotOpen as error:
                log.error("the stored broker session is of no use", broker=BROKER, error=str(error))
            except msgspec.MsgspecError:
                log.error("the stored broker session is of no use", broker=BROKER, error="another shape")

    def _is_usable(self, session: NeoSession) -> bool:
        assert self._row is not None, "a session is read from a row"
        return session.token not in self._dead and self._clock.now() < self._row.valid_until
