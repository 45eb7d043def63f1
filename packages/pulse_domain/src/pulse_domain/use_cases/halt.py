"""Halt all trading, and resume it."""

from msgspec import Struct

from pulse_domain.orders.execution import Execution
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import OrderStore, TradingState


class HaltReport(Struct, frozen=True, kw_only=True):
    """in_flight: executions claimed before the halt whose outcome is not known yet."""

    state: TradingState
    in_flight: tuple[Execution, ...]


class HaltTrading:
    def __init__(self, store: OrderStore, clock: Clock, *, wait_s: float = 2.0) -> None:
        self._store = store
        self._clock = clock
        self._wait_s = wait_s

    async def __call__(self, halted_by: str, reason: str) -> HaltReport:
        """Stop new placements at once, then wait a little for calls that are in the air.

        Once this returns, nothing is sent but what `in_flight` lists.
        """
        state = await self.stop(halted_by, reason)
        return HaltReport(state=state, in_flight=await self.settle())

    async def stop(self, halted_by: str, reason: str, *, squares_off: bool = False) -> TradingState:
        """Only the halt. Once this returns, nothing is claimed any more; with `squares_off`, but orders that
        close positions.
        """
        step = self._store.halt_to_square_off if squares_off else self._store.halt
        return await step(halted_by, reason)

    async def settle(self) -> tuple[Execution, ...]:
        """Wait a little for calls that are in the air; those that still are."""
        deadline = self._clock.monotonic() + self._wait_s
        in_flight = await self._store.in_flight()
        while in_flight and self._clock.monotonic() < deadline:
            await self._clock.sleep(0.1)
            in_flight = await self._store.in_flight()
        return tuple(in_flight)


class ResumeTrading:
    def __init__(self, store: OrderStore) -> None:
        self._store = store

    async def __call__(self, resumed_by: str, reason: str) -> TradingState:
        return await self._store.resume(resumed_by, reason)
