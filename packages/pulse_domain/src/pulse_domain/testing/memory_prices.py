"""The last prices in memory."""

from collections.abc import Mapping

from pulse_domain.errors import StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.risk import PriceFacts


class InMemoryPriceBoard:
    """Implements the `PriceBoard` port.

    down: while set, every call fails as that of an unreachable board does.
    """

    def __init__(self) -> None:
        self.down = False
        self._shown: dict[Instrument, PriceFacts] = {}

    async def publish(self, prices: Mapping[Instrument, PriceFacts]) -> None:
        self._check()
        for instrument, facts in prices.items():
            shown = self._shown.get(instrument)
            if shown is None or facts.at >= shown.at:
                self._shown[instrument] = facts

    async def price(self, instrument: Instrument) -> PriceFacts | None:
        self._check()
        return self._shown.get(instrument)

    async def prices(self) -> Mapping[Instrument, PriceFacts]:
        self._check()
        return dict(self._shown)

    def _check(self) -> None:
        if self.down:
            raise StorageUnavailable
