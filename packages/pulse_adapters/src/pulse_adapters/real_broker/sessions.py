"""The session that every call is made in, and whether there is one at all.

It is opened once a day, stored sealed, and the newest one wins in every process.
"""

import asyncio
from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import ClassVar, Generic, TypeVar

import msgspec
import structlog
from msgspec import Struct

from pulse_adapters.real_broker.calls import SESSION_EXPIRED
from pulse_adapters.sealing import CannotOpen, TokenSeal
from pulse_domain.errors import BrokerUnavailable, StorageUnavailable
from pulse_domain.orders.execution import trading_day_start
from pulse_domain.ports.broker_sessions import BrokerSession, BrokerSessions
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

S = TypeVar("S")

NO_SESSION = "NO_SESSION"
SESSION_STORE_UNAVAILABLE = "SESSION_STORE_UNAVAILABLE"

# The rules want all sessions ended before each trading day; brokers do it at about six.
DAILY_FLUSH = timedelta(hours=6)
_READ_TIMEOUT_S = 3.0


def session_ends_at(login_at: datetime) -> datetime:
    """The first daily end of sessions after a login."""
    flush = trading_day_start(login_at) + DAILY_FLUSH
    return flush if login_at < flush else flush + timedelta(days=1)


class Opened(Struct, Generic[S], frozen=True):
    session: S
    valid_until: datetime

    def __repr__(self) -> str:
        return f"Opened(valid_until={self.valid_until})"


class Sessions(ABC, Generic[S]):
    """Of one broker; `S` is what its calls need.

    refresh_s: how late a new session may be noticed.
    """

    broker: ClassVar[str]

    def __init__(self, store: BrokerSessions, seal: TokenSeal, clock: Clock, *, refresh_s: float = 2.0) -> None:
        self._store = store
        self._seal = seal
        self._clock = clock
        self._refresh_s = refresh_s
        self._row: BrokerSession | None = None
        self._stored: Opened[S] | None = None
        self._reading = asyncio.Lock()
        self._read_at: float | None = None
        self._has_read = False
        # Refused by the broker; kept so that they are not tried in turns.
        self._dead = set[S]()
        self._paused: str | None = None

    @abstractmethod
    def _decode(self, text: str) -> S:
        """What was sealed. Raises: msgspec.MsgspecError: it is of another shape."""

    def _choose(self) -> Opened[S] | None:
        """The session to use; one that cannot be used where that can tell why not."""
        return self._stored

    def _on_none(self) -> None:
        """Called when it is known that there is none to use."""

    async def current(self) -> S:
        """The session to use now.

        Raises:
            BrokerUnavailable: there is none, NO_SESSION or SESSION_EXPIRED; or it is not known yet,
                SESSION_STORE_UNAVAILABLE.
        """
        await self._refresh()
        opened = self._choose()
        if opened is not None and self._is_usable(opened):
            self._go_on()
            return opened.session
        if opened is not None:
            reason = SESSION_EXPIRED
        else:
            reason = NO_SESSION if self._has_read else SESSION_STORE_UNAVAILABLE
        self._pause(reason)
        if self._has_read:
            self._on_none()
        raise BrokerUnavailable(reason, f"log in with: pulse broker login {self.broker}")

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

    def refused(self, session: S) -> None:
        """The broker does not take this session any more."""
        self._dead.add(session)
        self._read_at = None  # there may be a newer one already

    async def close(self) -> None:
        """End what goes on in the background."""

    def _pause(self, reason: str) -> None:
        if self._paused != reason and reason != SESSION_STORE_UNAVAILABLE:
            # Once, and not at every call until somebody comes.
            log.error(
                f"there is no valid broker session; nothing is sent until `pulse broker login {self.broker}`",
                broker=self.broker,
                reason=reason,
            )
        self._paused = reason

    def _go_on(self) -> None:
        if self._paused is not None:
            log.info("there is a broker session again; sending goes on", broker=self.broker)
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
                row = await self._store.newest(self.broker)
        except (StorageUnavailable, TimeoutError) as error:
            # What is known goes on being used.
            log.warning(
                "the stored broker session cannot be read", broker=self.broker, error=type(error).__name__
            )
            return
        self._has_read = True
        if row == self._row:
            return
        self._row, self._stored = row, None
        if row is not None:
            try:
                text = self._seal.open(row.sealed_token, broker=self.broker, user_id=row.user_id)
                self._stored = Opened(self._decode(text), row.valid_until)
            except CannotOpen as error:
                log.error("the stored broker session is of no use", broker=self.broker, error=str(error))
            except msgspec.MsgspecError:
                log.error("the stored broker session is of no use", broker=self.broker, error="another shape")

    def _is_usable(self, opened: Opened[S]) -> bool:
        return opened.session not in self._dead and self._clock.now() < opened.valid_until
