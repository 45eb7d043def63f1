"""Count what was called at the broker already, by the store's record of every call."""

from datetime import timedelta

from pulse_domain.orders.execution import trading_day_start
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.traffic import CallCounts


class CountCalls:
    """For a limiter that has lost its counts, or never had any."""

    def __init__(self, store: OrderStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def __call__(self) -> CallCounts:
        """Count the calls whose outcome is stored.

        Raises:
            StorageUnavailable: nothing can be said.
        """
        now = self._clock.now()
        return CallCounts(
            last_minute=await self._store.broker_calls(now - timedelta(minutes=1)),
            day=await self._store.broker_calls(trading_day_start(now)),
        )
