"""What every instrument master promises."""

from typing import Protocol

import pytest

from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.ports.instrument_master import InstrumentMaster


class InstrumentMasterVenue(Protocol):
    """A master under test.

    cash, derivative: known instruments.
    unknown: an instrument that does not exist, if there is one.
    """

    master: InstrumentMaster
    cash: Instrument
    derivative: Instrument
    unknown: Instrument | None


class InstrumentMasterContract:
    """Subclass it and override `venue`."""

    @pytest.fixture
    def venue(self) -> InstrumentMasterVenue:
        pytest.fail("a subclass overrides this fixture")

    async def test_terms_can_be_traded_on(self, venue: InstrumentMasterVenue) -> None:
        for instrument in (venue.cash, venue.derivative):
            terms = await venue.master.terms(instrument)

            assert terms.lot_size >= 1
            assert terms.tick_size > 0
            assert terms.units_per_broker_quantity >= 1
            assert terms.freeze_quantity is None or terms.freeze_quantity >= terms.lot_size

    async def test_shares_trade_one_by_one(self, venue: InstrumentMasterVenue) -> None:
        assert (await venue.master.terms(venue.cash)).lot_size == 1

    async def test_terms_stay_over_the_day(self, venue: InstrumentMasterVenue) -> None:
        first = await venue.master.terms(venue.derivative)

        assert await venue.master.terms(venue.derivative) == first

    async def test_unknown_instrument_is_refused(self, venue: InstrumentMasterVenue) -> None:
        if venue.unknown is None:
            pytest.skip("this master knows every instrument that can be written")

        with pytest.raises(InvalidInstrument):
            await venue.master.terms(venue.unknown)
