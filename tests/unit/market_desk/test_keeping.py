"""What a desk keeps: candles before what rests on them, and of what strategies know the newest."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

from pulse_background.market.candle_keeper import CandleKeeper
from pulse_background.market.checkpoints import CheckpointKeeper
from pulse_background.market.intake import RunningTotals
from pulse_domain.candles import ClosedCandle
from pulse_domain.errors import StorageRejected, StorageUnavailable
from pulse_domain.matching import Candle, Tick
from pulse_domain.ports.strategy_store import Checkpoint, StrategyMode
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.memory_market_data import InMemoryCandleStore
from pulse_domain.testing.memory_strategies import InMemoryStrategyStore
from tests.unit.market_desk.desk_world import OPEN, TCS


def closed(minute: int) -> ClosedCandle:
    start = OPEN + timedelta(minutes=minute)
    price = Decimal(100 + minute)
    return ClosedCandle(TCS, 1, start, Candle(TCS, start, price, price, price, price, 1))


class Troubled(InMemoryCandleStore):
    """Away for some calls, and refusing a candle."""

    def __init__(self, away: int = 0, refused: int | None = None) -> None:
        super().__init__()
        self.away, self.refused = away, refused

    async def save(self, candles: Sequence[ClosedCandle]) -> None:
        if self.away:
            self.away -= 1
            raise StorageUnavailable
        if self.refused is not None and closed(self.refused) in candles:
            raise StorageRejected("no")
        await super().save(candles)

    async def starts(self) -> list[int]:
        found = [run async for run in self.candles(TCS, 1, OPEN, OPEN + timedelta(days=1))]
        return [(candle.start - OPEN) // timedelta(minutes=1) for run in found for candle in run]


async def test_candles_outlast_a_store_that_is_away() -> None:
    clock, store = FakeClock(auto=True), Troubled(away=3)
    keeper = CandleKeeper(store, clock)
    running = asyncio.create_task(keeper.run())
    keeper.append([closed(0), closed(1)])
    await keeper.saved_up_to(2)

    keeper.append([closed(2)])
    keeper.stop()
    await running

    assert await store.starts() == [0, 1, 2]


async def test_a_candle_that_is_refused_takes_no_other_with_it() -> None:
    store = Troubled(refused=2)
    keeper = CandleKeeper(store, FakeClock())
    keeper.append([closed(minute) for minute in range(5)])
    keeper.stop()
    await keeper.run()

    assert await store.starts() == [0, 1, 3, 4]


async def test_a_checkpoint_waits_for_its_candles_and_the_newest_wins() -> None:
    clock, candles = FakeClock(), Troubled(away=1)
    strategies = InMemoryStrategyStore(clock)
    await strategies.put(
        "it", kind="macd", instruments=(TCS,), parameters={}, mode=StrategyMode.LIVE, changed_by="asha"
    )
    keeper = CandleKeeper(candles, clock)
    checkpoints = CheckpointKeeper(strategies, keeper, clock)
    running = [asyncio.create_task(keeper.run()), asyncio.create_task(checkpoints.run())]

    refused = list[str]()
    keeper.append([closed(0)])
    for seen in (1, 2):
        checkpoints.offer(Checkpoint(name="it", version=1, at=OPEN, state={"seen": seen}), refused.append)
    await settle()
    assert await strategies.checkpoint("it", 1) is None, "its candle is not stored"
    await clock.advance(1.1)

    kept = await strategies.checkpoint("it", 1)
    assert kept is not None
    assert (kept.state["seen"], await candles.starts()) == (2, [0])
    for each in (keeper, checkpoints):
        each.stop()
    await asyncio.gather(*running)
    assert (checkpoints.saved, refused) == (1, [])


def test_made_up_volume_only_grows() -> None:
    totals = RunningTotals()

    assert [totals(Tick(TCS, OPEN, Decimal(1), volume=volume)).volume for volume in (5, 9, 2, 4, 1)] == [
        5, 9, 11, 13, 14,
    ]  # fmt: skip
