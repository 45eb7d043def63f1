"""What everybody promises who tells circuit limits."""

from decimal import Decimal
from typing import Protocol

import pytest

from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.circuit_reads import CircuitReads


class CircuitReadsVenue(Protocol):
    """A broker under test. priced: two instruments that may have limits. unpriced: one that has none."""

    circuits: CircuitReads
    priced: tuple[Instrument, Instrument]
    unpriced: Instrument

    async def limit_around(self, instrument: Instrument, price: Decimal) -> None:
        """Let its limits be a tenth below and a tenth above a price, which is a multiple of 100 rupees."""
        ...

    async def fall_silent(self) -> None:
        """From now on the broker gives no answer that could be used."""
        ...


class CircuitReadsContract:
    """Subclass it and override `venue`."""

    @pytest.fixture
    def venue(self) -> CircuitReadsVenue:
        pytest.fail("a subclass overrides this fixture")

    async def test_limits_of_several_are_told_together(self, venue: CircuitReadsVenue) -> None:
        for number, instrument in enumerate(venue.priced, start=1):
            await venue.limit_around(instrument, Decimal(100 * number))

        assert await venue.circuits.read_circuits([*venue.priced, venue.priced[0]]) == {
            venue.priced[0]: (Decimal(90), Decimal(110)),
            venue.priced[1]: (Decimal(180), Decimal(220)),
        }

    async def test_what_was_not_asked_for_is_not_told(self, venue: CircuitReadsVenue) -> None:
        for instrument in venue.priced:
            await venue.limit_around(instrument, Decimal(100))

        assert set(await venue.circuits.read_circuits([venue.priced[1]])) == {venue.priced[1]}

    async def test_what_has_no_limits_is_left_out(self, venue: CircuitReadsVenue) -> None:
        await venue.limit_around(venue.priced[0], Decimal(100))

        told = await venue.circuits.read_circuits([venue.unpriced, venue.priced[0]])

        assert set(told) == {venue.priced[0]}
        assert await venue.circuits.read_circuits([venue.unpriced]) == {}

    async def test_no_instruments_have_no_limits(self, venue: CircuitReadsVenue) -> None:
        assert await venue.circuits.read_circuits([]) == {}

    async def test_no_answer_is_an_error_and_not_an_absence_of_limits(self, venue: CircuitReadsVenue) -> None:
        await venue.limit_around(venue.priced[0], Decimal(100))
        await venue.fall_silent()

        with pytest.raises(BrokerUnavailable):
            await venue.circuits.read_circuits([venue.priced[0]])
