"""What can be traded, and on which terms."""

from typing import Protocol

from pulse_domain.instruments import Instrument, InstrumentTerms


class InstrumentMaster(Protocol):
    async def terms(self, instrument: Instrument) -> InstrumentTerms:
        """Today's terms of an instrument.

        Raises:
            UnknownInstrument: there is no such instrument today.
        """
        ...
