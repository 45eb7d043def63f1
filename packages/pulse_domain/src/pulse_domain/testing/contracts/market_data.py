"""What every source of prices promises."""

from datetime import datetime
from decimal import Decimal
from typing import Protocol

import pytest

from pulse_domain.errors import MarketDataUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.market_data import MarketData


class MarketDataVenue(Protocol):
    """A source of prices under test.

    without_price: an instrument that has no price, if there is one.
    """

    market: MarketData
    instrument: Instrument
    tick_size: Decimal
    without_price: Instrument | None

    def now(self) -> datetime:
        """The present instant as the source sees it."""
        ...

    async def advance(self, seconds: float) -> None:
        """Let time pass for the source."""
        ...


class MarketDataContract:
    """Subclass it and override `venue`."""

    @pytest.fixture
    def venue(self) -> MarketDataVenue:
        pytest.fail("a subclass overrides this fixture")

    async def test_quote_is_of_the_instrument_and_of_now(self, venue: MarketDataVenue) -> None:
        quote = await venue.market.quote(venue.instrument)

        assert quote.instrument == venue.instrument
        assert quote.at.tzinfo is not None
        assert quote.at <= venue.now()

    async def test_prices_are_on_the_tick_grid(self, venue: MarketDataVenue) -> None:
        for _ in range(50):
            quote = await venue.market.quote(venue.instrument)

            for price in (quote.last_price, quote.bid, quote.ask):
                assert price > 0
                assert price % venue.tick_size == 0
            assert quote.bid <= quote.ask
            await venue.advance(1.7)

    async def test_volume_and_time_do_not_fall(self, venue: MarketDataVenue) -> None:
        earlier = await venue.market.quote(venue.instrument)

        for _ in range(20):
            await venue.advance(1)
            later = await venue.market.quote(venue.instrument)
            assert later.volume >= earlier.volume >= 0
            assert later.at >= earlier.at
            earlier = later

    async def test_quotes_of_one_instant_are_equal(self, venue: MarketDataVenue) -> None:
        first = await venue.market.quote(venue.instrument)

        assert await venue.market.quote(venue.instrument) == first

    async def test_instrument_without_a_price(self, venue: MarketDataVenue) -> None:
        if venue.without_price is None:
            pytest.skip("this source has a price for every instrument")

        with pytest.raises(MarketDataUnavailable):
            await venue.market.quote(venue.without_price)
