"""Trading terms for a demo: any instrument that can be written exists.

The figures are dated examples; a real broker's instrument file has the true ones.
"""

from collections.abc import Callable
from decimal import Decimal

from pulse_domain.errors import MarketDataUnavailable, UnknownInstrument
from pulse_domain.instruments import Instrument, InstrumentTerms

_DEFAULT_TICK = Decimal("0.05")

# (lot, freeze quantity) in units by underlying: lots of contracts that expire from January 2026 on, freeze
# quantities from 2026-02-01. Where None, the exchange's figure could not be confirmed.
_INDEX_CONTRACTS: dict[str, tuple[int, int | None]] = {
    "NIFTY": (65, 1800),
    "BANKNIFTY": (30, 600),
    "FINNIFTY": (60, 1800),
    "MIDCPNIFTY": (120, 2800),
    "NIFTYNXT50": (25, 600),
    "SENSEX": (20, None),
    "BANKEX": (30, None),
    "SENSEX50": (75, None),
}


class VirtualInstrumentMaster:
    """Cash instruments in single shares, index derivatives in their lots, other derivatives in single units.

    tick_size: the tick of an instrument; give it a feed's `tick_size`, so that orders and quotes lie on
        the same grid. MarketDataUnavailable from it means that there is no such instrument. Without it
        every tick is 0.05.
    """

    def __init__(self, tick_size: Callable[[Instrument], Decimal] | None = None) -> None:
        self._tick_size = tick_size

    async def terms(self, instrument: Instrument) -> InstrumentTerms:
        lot_size, freeze_quantity = _contract(instrument)
        return InstrumentTerms(
            lot_size=lot_size, freeze_quantity=freeze_quantity, tick_size=self._tick(instrument)
        )

    def _tick(self, instrument: Instrument) -> Decimal:
        if self._tick_size is None:
            return _DEFAULT_TICK
        try:
            return self._tick_size(instrument)
        except MarketDataUnavailable as e:
            raise UnknownInstrument(
                f"there are no prices for {instrument}", field="instrument", instrument=str(instrument)
            ) from e


def _contract(instrument: Instrument) -> tuple[int, int | None]:
    if instrument.exchange.is_cash:
        return 1, None
    # A contract is its underlying and the expiry, which begins with the year: NIFTY26NOVFUT. The longest
    # name first, as SENSEX50 begins like a SENSEX contract.
    for root in sorted(_INDEX_CONTRACTS, key=len, reverse=True):
        if instrument.symbol.startswith(root) and instrument.symbol[len(root) : len(root) + 2].isdigit():
            return _INDEX_CONTRACTS[root]
    return 1, None
