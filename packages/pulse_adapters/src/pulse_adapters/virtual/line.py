"""The line between a caller and the exchange: it takes time, and it fails as scripted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import NoReturn

from pulse_adapters.virtual.faults import (
    Call,
    Fault,
    Faults,
    LoseAnswer,
    LoseRequest,
    Refuse,
    Unavailable,
)
from pulse_domain.errors import BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable
from pulse_domain.ports.clock import Clock

READ_TIMEOUT_S = 10.0


class Line:
    """`latency_ms` is the shortest and the longest round trip."""

    def __init__(self, clock: Clock, rng: Random, latency_ms: tuple[float, float]) -> None:
        self.faults = Faults()
        self._clock = clock
        self._rng = rng
        self._latency_ms = latency_ms
        self._closed = False

    def close(self) -> None:
        self._closed = True

    @asynccontextmanager
    async def round_trip(self, call: Call, timeout_s: float = READ_TIMEOUT_S) -> AsyncIterator[Fault | None]:
        """Travel to the exchange, do the body there, and travel back within `timeout_s`.

        Raises:
            BrokerRejected: the body refused; the refusal travels back too.
            BrokerUnavailable: nothing was sent, or a read was not answered.
            BrokerOutcomeUnknown: no answer came; the body may or may not have run.
        """
        fault = self.faults.next(call)
        if self._closed:
            raise BrokerUnavailable("CLOSED", "the exchange is closed")
        if isinstance(fault, Unavailable):
            raise BrokerUnavailable(fault.reason_code)
        way_s = self.latency_s() / 2
        if isinstance(fault, LoseRequest) or way_s >= timeout_s:
            await self._wait_in_vain(call, timeout_s)
        await self._clock.sleep(way_s)
        refusal = None
        try:
            if isinstance(fault, Refuse):
                raise BrokerRejected(fault.reason_code, fault.message)
            yield fault
        except BrokerRejected as e:
            refusal = e
        if isinstance(fault, LoseAnswer) or 2 * way_s >= timeout_s:
            await self._wait_in_vain(call, timeout_s - way_s)
        await self._clock.sleep(way_s)
        if refusal is not None:
            raise refusal

    def latency_s(self) -> float:
        """A random round trip."""
        return self._rng.uniform(*self._latency_ms) / 1000

    async def _wait_in_vain(self, call: Call, seconds: float) -> NoReturn:
        await self._clock.sleep(seconds)
        if call in (Call.ORDER_BOOK, Call.TRADES):
            raise BrokerUnavailable("TIMEOUT", "the read was not answered in time")
        raise BrokerOutcomeUnknown("TIMEOUT", "the call was not answered in time", call_ended=True)
