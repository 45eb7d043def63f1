"""The access token that every call carries.

A person logs in once a day. The broker ends all sessions at about six in the morning, and this one earlier
where it is told to.
"""

from datetime import datetime, timedelta

from pulse_adapters.real_broker.sessions import DAILY_FLUSH, Opened, Sessions, session_ends_at
from pulse_adapters.sealing import TokenSeal
from pulse_domain.orders.execution import trading_day_start
from pulse_domain.ports.broker_sessions import BrokerSessions
from pulse_domain.ports.clock import Clock

BROKER = "zerodha"
# The broker's daily flush has been seen to run until half past seven.
FLUSH_LATEST = timedelta(hours=7, minutes=30)


def may_be_flushed_early(login_at: datetime) -> bool:
    """Whether a login is so early that the day's flush may still end it."""
    return DAILY_FLUSH <= login_at - trading_day_start(login_at) < FLUSH_LATEST


class ZerodhaSessions(Sessions[str]):
    """initial_token: used until a session that is still valid is stored."""

    broker = BROKER

    def __init__(
        self,
        store: BrokerSessions,
        seal: TokenSeal,
        clock: Clock,
        *,
        initial_token: str | None = None,
        refresh_s: float = 2.0,
    ) -> None:
        super().__init__(store, seal, clock, refresh_s=refresh_s)
        self._initial = Opened(initial_token, session_ends_at(clock.now())) if initial_token else None

    def _decode(self, text: str) -> str:
        return text

    def _choose(self) -> Opened[str] | None:
        """The stored one where it can be used; else the initial one; else whichever can tell why not."""
        tokens = [token for token in (self._stored, self._initial) if token]
        return next((token for token in tokens if self._is_usable(token)), tokens[0] if tokens else None)
