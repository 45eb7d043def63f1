"""The last prices, as the risk gate asks for them: one row for each instrument, newer over older."""

from collections.abc import Mapping
from typing import Protocol

from pulse_domain.instruments import Instrument
from pulse_domain.risk import PriceFacts


class PriceBoard(Protocol):
    async def publish(self, prices: Mapping[Instrument, PriceFacts]) -> None:
        """Show prices; one that is older than what is shown changes nothing.

        Raises:
            StorageUnavailable: perhaps they are shown.
        """
        ...

    async def price(self, instrument: Instrument) -> PriceFacts | None:
        """What is shown of an instrument, however old; None where nobody has published a price.

        Raises:
            StorageUnavailable.
        """
        ...

    async def prices(self) -> Mapping[Instrument, PriceFacts]:
        """All that is shown.

        Raises:
            StorageUnavailable.
        """
        ...
