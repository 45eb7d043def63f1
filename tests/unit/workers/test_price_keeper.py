"""The last prices reach the board about once a second, whatever happens to it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from pulse_background.workers.price_keeper import FreshPrices, PriceFigures, PriceKeeper
from pulse_domain.errors import StorageRejected
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.risk import PriceFacts
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.memory_prices import InMemoryPriceBoard

TCS, INFY, BHEL = (Instrument.parse(f"NSE:{name}") for name in ("TCS", "INFY", "BHEL"))
START = datetime(2026, 1, 20, 4, 0, tzinfo=UTC)
BAND = (Decimal(90), Decimal(110))


class CountingBoard(InMemoryPriceBoard):
    def __init__(self) -> None:
        super().__init__()
        self.batches: list[set[Instrument]] = []
        self.refuses = False

    async def publish(self, prices: Mapping[Instrument, PriceFacts]) -> None:
        if self.refuses:
            raise StorageRejected("a value cannot be stored")
        await super().publish(prices)
        self.batches.append(set(prices))


class Floor:
    def __init__(self) -> None:
        self.clock = FakeClock(START)
        self.board = CountingBoard()
        self.keeper = PriceKeeper(
            self.board, self.clock, circuits=lambda instrument: BAND if instrument == TCS else None
        )

    async def shown(self, instrument: Instrument = TCS) -> PriceFacts | None:
        return await self.board.price(instrument)


@pytest.fixture
def floor() -> Floor:
    return Floor()


@asynccontextmanager
async def running(floor: Floor) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(floor.keeper.run())
    await settle()
    yield task
    floor.keeper.stop()
    await asyncio.wait_for(task, 5)


def tick(second: float, price: str = "100", volume: int = 0, instrument: Instrument = TCS) -> Tick:
    return Tick(instrument, START + timedelta(seconds=second), Decimal(price), volume=volume)


async def test_last_price_average_and_circuits_are_shown_after_a_second(floor: Floor) -> None:
    async with running(floor):
        await floor.keeper.take([tick(0, "100", 10), tick(0.5, "101", 20), tick(0.5, "55", 0, INFY)])
        assert await floor.shown() is None

        await floor.clock.advance(1)

        assert await floor.shown() == PriceFacts(
            at=START + timedelta(seconds=0.5), last_price=Decimal("101"), minute_vwap=Decimal("101"),
            lower_circuit=Decimal(90), upper_circuit=Decimal(110),
        )  # fmt: skip
        assert await floor.shown(INFY) == PriceFacts(
            at=START + timedelta(seconds=0.5), last_price=Decimal("55"), minute_vwap=Decimal("55")
        )


async def test_only_what_changed_is_published(floor: Floor) -> None:
    async with running(floor):
        floor.keeper.append([tick(0), tick(0, instrument=INFY)])
        await floor.clock.advance(1)
        floor.keeper.append([tick(1, "101")])
        await floor.clock.advance(1)
        await floor.clock.advance(5)

    assert floor.board.batches == [{TCS, INFY}, {TCS}]


async def test_while_the_board_is_away_the_newest_prices_are_kept_and_shown_when_it_is_back(
    floor: Floor,
) -> None:
    async with running(floor):
        floor.board.down = True
        floor.keeper.append([tick(0), tick(0, instrument=INFY)])
        await floor.clock.advance(1)
        floor.keeper.append([tick(1, "101")])
        await floor.clock.advance(1)
        floor.board.down = False
        await floor.clock.advance(1)

        told = await floor.shown()
        assert told is not None
        assert told.last_price == Decimal("101")
        assert await floor.shown(INFY) is not None
    assert floor.board.batches == [{TCS, INFY}]
    assert floor.keeper.figures() == PriceFigures(taken=3, refused=0, late=0, published=2, failures=2)


async def test_a_batch_that_the_board_refuses_does_not_come_again(floor: Floor) -> None:
    async with running(floor):
        floor.board.refuses = True
        floor.keeper.append([tick(0)])
        await floor.clock.advance(1)
        floor.board.refuses = False
        floor.keeper.append([tick(1, instrument=INFY)])
        await floor.clock.advance(1)

    assert floor.board.batches == [{INFY}]


async def test_bad_ticks_and_those_of_the_future_are_counted_and_show_nothing(floor: Floor) -> None:
    async with running(floor):
        floor.keeper.append(
            [
                tick(0, "0"),
                tick(0, "-1"),
                tick(0, "NaN"),
                tick(61),
                Tick(TCS, START, Decimal(100), day_low=Decimal(101)),
                Tick(TCS, START, Decimal(100), day_high=Decimal(99)),
                Tick(TCS, START.replace(tzinfo=None), Decimal(100)),
            ]
        )
        await floor.clock.advance(1)

    assert floor.board.batches == []
    assert floor.keeper.figures() == PriceFigures(taken=0, refused=7, late=0, published=0, failures=0)


async def test_a_tick_that_comes_a_minute_late_is_counted_and_changes_nothing(floor: Floor) -> None:
    async with running(floor):
        floor.keeper.append([tick(0, "100"), tick(-60, "1")])
        await floor.clock.advance(1)

        told = await floor.shown()
    assert told is not None
    assert told.last_price == Decimal("100")
    assert floor.keeper.figures().late == 1


async def test_what_waits_is_shown_before_the_keeper_stops(floor: Floor) -> None:
    async with running(floor):
        floor.keeper.append([tick(0, instrument=BHEL)])

    assert await floor.shown(BHEL) is not None


# --- for the risk gate of the same process


async def test_what_came_just_now_is_known_before_it_is_shown(floor: Floor) -> None:
    prices = FreshPrices(floor.keeper, floor.board)
    await floor.keeper.take([tick(0, "100", 10), tick(0.5, "101", 20)])
    await floor.clock.advance(0.6)

    assert await prices.price(TCS) == PriceFacts(
        at=START + timedelta(seconds=0.5), last_price=Decimal("101"), minute_vwap=Decimal("101"),
        lower_circuit=Decimal(90), upper_circuit=Decimal(110),
    )  # fmt: skip
    assert await floor.shown() is None


@pytest.mark.parametrize("seen", [True, False], ids=["long ago", "never"])
async def test_what_was_not_seen_here_of_late_is_looked_up(floor: Floor, seen: bool) -> None:
    """Another process may have it: the desk that leads now."""
    prices = FreshPrices(floor.keeper, floor.board)
    if seen:
        await floor.keeper.take([tick(0, "100")])
    await floor.clock.advance(2)
    shown = PriceFacts(at=START + timedelta(seconds=1.9), last_price=Decimal("107"))
    await prices.publish({TCS: shown})

    assert await prices.price(TCS) == shown
    assert await prices.prices() == {TCS: shown}
    assert await prices.price(BHEL) is None
