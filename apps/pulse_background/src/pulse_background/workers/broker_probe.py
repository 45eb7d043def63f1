"""Look whether a broker that gave no answers is back."""

import structlog

from pulse_background.wakeup import Wakeup
from pulse_domain.ports.broker import Broker
from pulse_domain.use_cases.guard import BrokerGuard
from service_kit import bound

log = structlog.get_logger(__name__)

_POLL_S = 5.0


class BrokerProbe:
    """wakeup: called when the guard changes its mind."""

    def __init__(self, guard: BrokerGuard, broker: Broker, wakeup: Wakeup) -> None:
        self._guard = guard
        self._broker = broker
        self._wakeup = wakeup

    async def run(self) -> None:
        with bound(worker="executor"):
            while True:
                due_in = self._guard.probe_in_s
                if due_in is not None and due_in <= 0:
                    await self._guard.probe(self._broker)
                    log.info("the broker was probed", breaker=self._guard.state)
                    continue
                await self._wakeup.wait(_POLL_S if due_in is None else min(_POLL_S, due_in))
