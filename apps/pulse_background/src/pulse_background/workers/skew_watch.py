"""Compare this process's clock with the store's: one that is wrong must not decide what is sent when."""

from collections.abc import Callable

import structlog

from pulse_domain.errors import StorageUnavailable
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import OrderStore
from service_kit import bound

log = structlog.get_logger(__name__)

_LOOK_S = 5.0


class SkewWatch:
    """on_skew: told the measured skew in seconds; above zero where this process is ahead.
    on_change: told that the clock counts as right, or as wrong, from now on.

    Half of the round trip is in doubt, so only what is beyond that counts against the clock. Before the first
    measurement it counts as wrong.
    """

    def __init__(
        self,
        store: OrderStore,
        clock: Clock,
        *,
        max_s: float,
        on_skew: Callable[[float], object] = lambda skew_s: None,
        on_change: Callable[[], object] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._max_s = max_s
        self._on_skew = on_skew
        self._on_change = on_change
        self._measured = False
        self._right = False

    @property
    def lets_place(self) -> bool:
        return self._right

    async def run(self) -> None:
        with bound(worker="executor"):
            while True:
                try:
                    await self.measure()
                except StorageUnavailable as error:
                    # Without the store nothing is claimed anyway.
                    log.debug("the store's clock cannot be read", error=error.message)
                await self._clock.sleep(_LOOK_S if self._measured else 1.0)

    async def measure(self) -> None:
        """Look once.

        Raises:
            StorageUnavailable: the store does not answer; what was measured before holds.
        """
        before, began = self._clock.now(), self._clock.monotonic()
        theirs = await self._store.now()
        half_s = (self._clock.monotonic() - began) / 2
        skew_s = (before - theirs).total_seconds() + half_s
        right = abs(skew_s) - half_s <= self._max_s
        if right is not self._right or not self._measured:
            if not right:
                log.error("the clock is off; nothing is sent until it is right", skew_seconds=round(skew_s, 3))
            elif self._measured:
                log.warning("the clock is right again", skew_seconds=round(skew_s, 3))
        changed = right is not self._right
        self._measured, self._right = True, right
        self._on_skew(skew_s)
        if changed:
            self._on_change()
