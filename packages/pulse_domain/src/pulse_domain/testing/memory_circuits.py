"""A broker's circuit limits in memory."""

from collections.abc import Collection, Mapping

from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.circuit_reads import CircuitLimits


class InMemoryCircuits:
    """Implements the `CircuitReads` port.

    limits: what is told. down: while set, every call fails, as without a session.
    asked: the instruments of each call.
    """

    def __init__(self) -> None:
        self.limits: dict[Instrument, CircuitLimits] = {}
        self.down = False
        self.asked: list[frozenset[Instrument]] = []

    async def read_circuits(self, instruments: Collection[Instrument]) -> Mapping[Instrument, CircuitLimits]:
        self.asked.append(frozenset(instruments))
        if self.down:
            raise BrokerUnavailable("SESSION_EXPIRED", "there is no session")
        return {each: self.limits[each] for each in instruments if each in self.limits}
