"""Split orders as they come in, and on every poll those whose hint was lost."""

from collections.abc import Awaitable, Callable

import structlog

from pulse_background.wakeup import Wakeup
from pulse_domain.errors import StorageUnavailable
from pulse_domain.orders.model import Order
from pulse_domain.ports.clock import Clock
from pulse_domain.use_cases.split import SplitOrders
from service_kit import Ids, bind, bound

log = structlog.get_logger(__name__)

_RETRY_S = 0.5


def log_outcome(order: Order, outcome: str) -> None:
    """Log what came of splitting an order, under the ids of the request that made it."""
    with bind(Ids(order.request_id, order.trace_id)):
        if outcome == "failed":
            log.error("order cannot be split", order_id=order.order_id)
        else:
            log.info("order split", order_id=order.order_id, outcome=outcome)


class OrderSplitter:
    def __init__(
        self,
        split: SplitOrders,
        recover: Callable[[], Awaitable[object]],
        clock: Clock,
        wakeup: Wakeup,
        *,
        poll_s: float,
        on_saved: Callable[[], None],
    ) -> None:
        self._split = split
        self._recover = recover
        self._clock = clock
        self._wakeup = wakeup
        self._poll_s = poll_s
        self._on_saved = on_saved
        self._stopping = False

    def stop(self) -> None:
        """Finish the batch at hand and claim no other."""
        self._stopping = True
        self._wakeup.call()

    async def run(self) -> None:
        """Work until `stop`."""
        with bound(worker="splitter"):
            while not self._stopping:
                try:
                    await self.drain()
                except StorageUnavailable as error:
                    log.warning("the store does not answer", error=error.message)
                    await self._clock.sleep(min(_RETRY_S, self._poll_s))
                    continue
                await self._wakeup.wait(self._poll_s)

    async def drain(self) -> None:
        """Split until no order is waiting, those of workers that went silent included."""
        await self._recover()
        while not self._stopping:
            report = await self._split()
            if report.saved:
                self._on_saved()
            if not report.seen:
                return
