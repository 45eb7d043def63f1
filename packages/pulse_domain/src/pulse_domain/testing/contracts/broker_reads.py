"""What every broker's reads promise."""

from decimal import Decimal
from typing import Protocol

import pytest

from pulse_domain.errors import BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.ports.broker_reads import BrokerReads


class BrokerReadsVenue(Protocol):
    """A broker under test.

    priced: two instruments that have a price. unpriced: one that has none.
    held: shares that the account owns, and how many.
    lot: the units of the smallest order in the first instrument. product: what it is traded under.
    """

    reads: BrokerReads
    priced: tuple[Instrument, Instrument]
    unpriced: Instrument
    held: tuple[Instrument, int]
    lot: int
    product: str

    async def set_price(self, instrument: Instrument, price: Decimal, *, bid: Decimal, ask: Decimal) -> None:
        """Let it trade at a price between what is bid and asked, all on the tick grid of 0.05."""
        ...

    async def trade(self, instrument: Instrument, quantity: int) -> Decimal:
        """Let the account buy units, or sell where negative, by other means than ours; the price."""
        ...

    async def fall_silent(self) -> None:
        """From now on the broker gives no answer that could be used."""
        ...


class BrokerReadsContract:
    """Subclass it and override `venue`."""

    @pytest.fixture
    def venue(self) -> BrokerReadsVenue:
        pytest.fail("a subclass overrides this fixture")

    async def test_a_quote_is_what_the_market_says(self, venue: BrokerReadsVenue) -> None:
        instrument = venue.priced[0]
        await venue.set_price(instrument, Decimal("100.10"), bid=Decimal("100.05"), ask=Decimal("100.15"))

        quotes = await venue.reads.quotes([instrument])

        assert set(quotes) == {instrument}
        quote = quotes[instrument]
        assert quote.instrument == instrument
        assert (quote.last_price, quote.bid, quote.ask) == (
            Decimal("100.10"),
            Decimal("100.05"),
            Decimal("100.15"),
        )
        assert quote.at.tzinfo is not None
        assert quote.volume >= 0

    async def test_quotes_follow_the_market(self, venue: BrokerReadsVenue) -> None:
        instrument = venue.priced[0]
        seen = []
        for price in (Decimal(100), Decimal(90)):
            await venue.set_price(instrument, price, bid=price, ask=price + Decimal("0.05"))
            seen.append((await venue.reads.quotes([instrument]))[instrument].last_price)

        assert seen == [100, 90]

    async def test_several_are_asked_for_together(self, venue: BrokerReadsVenue) -> None:
        for number, instrument in enumerate(venue.priced, start=1):
            price = Decimal(100 * number)
            await venue.set_price(instrument, price, bid=price, ask=price + Decimal("0.05"))

        quotes = await venue.reads.quotes([*venue.priced, venue.priced[0]])

        assert {key: quote.last_price for key, quote in quotes.items()} == {
            venue.priced[0]: 100,
            venue.priced[1]: 200,
        }

    async def test_what_has_no_price_is_left_out(self, venue: BrokerReadsVenue) -> None:
        instrument = venue.priced[0]
        await venue.set_price(instrument, Decimal(100), bid=Decimal(100), ask=Decimal("100.05"))

        assert set(await venue.reads.quotes([instrument, venue.unpriced])) == {instrument}
        assert await venue.reads.quotes([venue.unpriced]) == {}

    async def test_no_instruments_have_no_quotes(self, venue: BrokerReadsVenue) -> None:
        assert await venue.reads.quotes([]) == {}

    async def test_a_new_account_has_no_positions(self, venue: BrokerReadsVenue) -> None:
        assert await venue.reads.positions() == ()

    @pytest.mark.parametrize("lots", [2, -3])
    async def test_what_was_traded_is_a_position_in_units(self, venue: BrokerReadsVenue, lots: int) -> None:
        instrument = venue.priced[0]
        price = await venue.trade(instrument, lots * venue.lot)

        [position] = await venue.reads.positions()

        assert (position.instrument, position.product) == (instrument, venue.product)
        assert position.quantity == lots * venue.lot
        assert position.average_price == price

    async def test_what_was_closed_is_no_position(self, venue: BrokerReadsVenue) -> None:
        await venue.trade(venue.priced[0], venue.lot)
        await venue.trade(venue.priced[0], -venue.lot)

        assert await venue.reads.positions() == ()

    async def test_what_is_owned_is_held(self, venue: BrokerReadsVenue) -> None:
        [holding] = await venue.reads.holdings()

        assert (holding.instrument, holding.quantity) == venue.held
        assert holding.average_price > 0

    @pytest.mark.parametrize("read", ["quotes", "positions", "holdings"])
    async def test_no_answer_is_an_error_and_not_an_empty_one(self, venue: BrokerReadsVenue, read: str) -> None:
        await venue.fall_silent()

        with pytest.raises(BrokerUnavailable):
            await (venue.reads.quotes([venue.priced[0]]) if read == "quotes" else getattr(venue.reads, read)())
