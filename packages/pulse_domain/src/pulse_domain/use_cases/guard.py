"""Watch the line to the broker: hold placements back while it is dead, and look from time to time.

The rules are in `pulse_domain.traffic.breaker`; here they meet the clock, chance, and the calls. Every
process guards its own line.
"""

from collections.abc import Callable
from random import Random

from pulse_domain.errors import BrokerError
from pulse_domain.ports.broker import Broker
from pulse_domain.ports.clock import Clock
from pulse_domain.traffic import Breaker, BreakerSettings, BreakerState


class BrokerGuard:
    """on_change: told of every new state."""

    def __init__(
        self,
        clock: Clock,
        rng: Random,
        settings: BreakerSettings,
        on_change: Callable[[BreakerState], object] = lambda state: None,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._settings = settings
        self._on_change = on_change
        self._breaker = Breaker()

    @property
    def state(self) -> BreakerState:
        return self._breaker.state

    @property
    def lets_place(self) -> bool:
        """Whether executions may be claimed. Cancels are tried in any state: they can only do good."""
        return self._breaker.state is BreakerState.CLOSED

    @property
    def probe_in_s(self) -> float | None:
        """Seconds until a probe is due, zero or less: now; None while there is no need of one."""
        if self._breaker.state is not BreakerState.OPEN:
            return None
        return self._breaker.probe_at - self._clock.monotonic()

    def answered(self) -> None:
        """A write had a definite answer."""
        self._become(self._breaker.answered())

    def failed(self) -> None:
        """A write was not sent, or had no answer."""
        self._become(self._breaker.failed(self._clock.monotonic(), self._rng.random(), self._settings))

    async def probe(self, broker: Broker) -> None:
        """Read the broker's book once, if the breaker is open, and go by whether it answers."""
        if self._breaker.state is not BreakerState.OPEN:
            return
        self._become(self._breaker.probe_begun())
        answered = False
        try:
            await broker.order_book()
            answered = True
        except BrokerError:
            pass
        finally:
            # A probe that broke off told nothing.
            now, chance = self._clock.monotonic(), self._rng.random()
            self._become(
                self._breaker.probe_answered()
                if answered
                else self._breaker.probe_failed(now, chance, self._settings)
            )

    def _become(self, breaker: Breaker) -> None:
        before, self._breaker = self._breaker, breaker
        if breaker.state is not before.state:
            self._on_change(breaker.state)
