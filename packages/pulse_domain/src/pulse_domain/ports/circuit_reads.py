"""What a broker tells of the day's circuit limits."""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Protocol

from pulse_domain.instruments import Instrument

# The lower and the upper limit of the day, in rupees; both above 0, the lower below the upper.
CircuitLimits = tuple[Decimal, Decimal]


class CircuitReads(Protocol):
    async def read_circuits(self, instruments: Collection[Instrument]) -> Mapping[Instrument, CircuitLimits]:
        """The limits of now, asked for together; they may change within a day.

        What has none, or none that make sense, is left out.

        Raises:
            BrokerUnavailable: there is no answer that could be understood: no session, an outage, a limit.
        """
        ...
