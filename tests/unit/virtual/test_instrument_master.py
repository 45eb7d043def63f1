"""Trading terms for a demo."""

from decimal import Decimal

import pytest

from pulse_adapters.feeds.synthetic import SyntheticFeed
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_domain.errors import InvalidInstrument, MarketDataUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.testing.fake_clock import FakeClock


@pytest.mark.parametrize(
    ("name", "lot_size", "freeze_quantity"),
    [
        ("NSE:RELIANCE", 1, None),
        ("NSE:NIFTYBEES", 1, None),
        ("NFO:NIFTY26NOVFUT", 65, 1800),
        ("NFO:NIFTY2611025000CE", 65, 1800),
        ("NFO:BANKNIFTY26NOVFUT", 30, 600),
        ("NFO:FINNIFTY26NOVFUT", 60, 1800),
        ("NFO:MIDCPNIFTY26NOV13000PE", 120, 2800),
        ("NFO:NIFTYNXT5026NOVFUT", 25, 600),
        ("BFO:SENSEX26NOVFUT", 20, None),
        ("BFO:SENSEX5026NOVFUT", 75, None),
        ("NFO:RELIANCE26NOVFUT", 1, None),
        ("MCX:GOLD26DECFUT", 1, None),
    ],
)
async def test_lots_and_freeze_quantities(name, lot_size, freeze_quantity):
    terms = await VirtualInstrumentMaster().terms(Instrument.parse(name))

    assert (terms.lot_size, terms.freeze_quantity) == (lot_size, freeze_quantity)
    assert terms.tick_size == Decimal("0.05")


async def test_ticks_are_those_of_the_feed():
    feed = SyntheticFeed(FakeClock())
    master = VirtualInstrumentMaster(feed.tick_size)

    for name in ("NSE:RELIANCE", "NSE:ITC", "NFO:BANKNIFTY26NOVFUT"):
        instrument = Instrument.parse(name)
        assert (await master.terms(instrument)).tick_size == feed.tick_size(instrument)


async def test_instrument_without_prices_does_not_exist():
    def no_price(instrument: Instrument) -> Decimal:
        raise MarketDataUnavailable

    with pytest.raises(InvalidInstrument, match="no prices for NSE:TCS"):
        await VirtualInstrumentMaster(no_price).terms(Instrument.parse("NSE:TCS"))
