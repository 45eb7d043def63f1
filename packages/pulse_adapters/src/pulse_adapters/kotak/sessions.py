"""The session that every call is made in.

Where that is wanted, a process that finds none opens one itself.
"""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from msgspec import Struct

from pulse_adapters.real_broker.sessions import Sessions
from pulse_adapters.sealing import TokenSeal
from pulse_domain.ports.broker_sessions import BrokerSessions
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

BROKER = "kotak"
_RENEWAL_PAUSE_S = 60.0


class NeoSession(Struct, frozen=True, kw_only=True):
    """What a login gives. base_url: where all calls of this session go. feed_url: of the order feed.

    ucc, market_url: who and where to ask for prices; empty in a session of a release that did not keep them.
    """

    token: str
    sid: str
    base_url: str
    feed_url: str
    ucc: str = ""
    market_url: str = ""

    def __repr__(self) -> str:
        return f"NeoSession(base_url={self.base_url!r})"


class KotakSessions(Sessions[NeoSession]):
    """renew: logs in and stores the session; it says whether it is of any use to try again."""

    broker = BROKER

    def __init__(
        self,
        store: BrokerSessions,
        seal: TokenSeal,
        clock: Clock,
        *,
        renew: Callable[[], Awaitable[bool]] | None = None,
        refresh_s: float = 2.0,
    ) -> None:
        super().__init__(store, seal, clock, refresh_s=refresh_s)
        self._renew = renew
        self._renewing: asyncio.Task[None] | None = None
        self._renewed_at: float | None = None

    def _decode(self, text: str) -> NeoSession:
        return msgspec.json.decode(text, type=NeoSession)

    def _on_none(self) -> None:
        """Begin a login in a task of its own: it takes longer than a call may."""
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

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
