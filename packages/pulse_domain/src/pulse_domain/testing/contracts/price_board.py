"""What every board of prices promises."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from pulse_domain.instruments import Instrument
from pulse_domain.ports.price_board import PriceBoard
from pulse_domain.risk import PriceFacts

_AT = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)
_TCS, _INFY = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:INFY")


def _facts(second: float, price: str = "3000.05") -> PriceFacts:
    return PriceFacts(at=_AT + timedelta(seconds=second), last_price=Decimal(price))


class PriceBoardContract:
    """Subclass it and override `board`, empty at every test."""

    @pytest.fixture
    def board(self) -> PriceBoard:
        pytest.fail("a subclass overrides this fixture")

    async def test_a_price_is_shown_as_it_was_published(self, board: PriceBoard) -> None:
        whole = PriceFacts(
            at=_AT + timedelta(microseconds=123_457),
            last_price=Decimal("3000.0525"),
            minute_vwap=Decimal("2999.9876"),
            lower_circuit=Decimal("2700.05"),
            upper_circuit=Decimal("3300.05"),
        )
        await board.publish({_TCS: whole, _INFY: _facts(0)})

        assert await board.price(_TCS) == whole
        assert await board.price(_INFY) == _facts(0)
        assert await board.prices() == {_TCS: whole, _INFY: _facts(0)}

    async def test_nothing_is_shown_of_what_nobody_has_published(self, board: PriceBoard) -> None:
        await board.publish({_TCS: _facts(0)})

        assert await board.price(_INFY) is None

    async def test_a_newer_price_takes_the_place_of_the_older(self, board: PriceBoard) -> None:
        await board.publish({_TCS: _facts(0, "1")})
        await board.publish({_TCS: _facts(1, "2")})

        assert await board.price(_TCS) == _facts(1, "2")

    async def test_an_older_price_changes_nothing(self, board: PriceBoard) -> None:
        await board.publish({_TCS: _facts(1, "2"), _INFY: _facts(0)})
        await board.publish({_TCS: _facts(0, "1"), _INFY: _facts(1)})

        assert await board.prices() == {_TCS: _facts(1, "2"), _INFY: _facts(1)}

    async def test_of_one_instant_the_last_that_is_told_counts(self, board: PriceBoard) -> None:
        await board.publish({_TCS: _facts(0, "1")})
        await board.publish({_TCS: _facts(0, "2")})

        assert await board.price(_TCS) == _facts(0, "2")

    async def test_nothing_published_changes_nothing(self, board: PriceBoard) -> None:
        await board.publish({})

        assert await board.prices() == {}

    async def test_whoever_publishes_at_once_the_newest_price_stays(self, board: PriceBoard) -> None:
        await asyncio.gather(
            *(board.publish({_TCS: _facts(second), _INFY: _facts(-second)}) for second in range(20))
        )

        assert await board.prices() == {_TCS: _facts(19), _INFY: _facts(0)}
