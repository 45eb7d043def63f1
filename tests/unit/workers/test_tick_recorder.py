"""Ticks become batches: none waits for the store, and what is lost can be counted."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from pulse_background.workers.tick_recorder import RecorderSettings, TickRecorder
from pulse_domain.errors import StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.tick_store import TickBatch
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.memory_market_data import InMemoryTickStore

TCS = Instrument.parse("NSE:TCS")
START = datetime(2026, 1, 20, 4, 0, tzinfo=UTC)
SETTINGS = RecorderSettings(unsaved_max=10, batch=4, flush_s=1.0)


class ShakyTickStore(InMemoryTickStore):
    """down: calls fail before anything is stored.
    forgetful: so many saves are done and then answered by a failure.
    gate: saves wait for it."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.down = False
        self.forgetful = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.batches: list[tuple[int, int]] = []

    async def begin(self, source: str) -> int:
        if self.down:
            raise StorageUnavailable
        return await super().begin(source)

    async def save(self, batch: TickBatch) -> None:
        await self.gate.wait()
        if self.down:
            raise StorageUnavailable
        await super().save(batch)
        if self.forgetful:
            self.forgetful -= 1
            raise StorageUnavailable
        self.batches.append((batch.first, len(batch.ticks)))


class Floor:
    def __init__(self) -> None:
        self.clock = FakeClock(START)
        self.store = ShakyTickStore(self.clock)
        self.recorder = TickRecorder(self.store, self.clock, "synthetic", SETTINGS)

    async def stored(self) -> list[int]:
        found: list[Tick] = []
        async for run in self.store.ticks(TCS, START - timedelta(days=30), START + timedelta(days=30)):
            found += run
        return [int(tick.price) for tick in found]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.recorder.run())
        await settle()
        yield
        self.recorder.stop()
        await settle()
        await self.clock.advance(60)
        await asyncio.wait_for(task, 30)


def ticks(first: int, count: int) -> Sequence[Tick]:
    numbers = range(first, first + count)
    return [Tick(TCS, START + timedelta(milliseconds=number), Decimal(number)) for number in numbers]


async def test_a_few_ticks_are_stored_when_their_time_is_up() -> None:
    floor = Floor()
    async with floor.running():
        floor.recorder.append(ticks(1, 3))
        await settle()
        assert await floor.stored() == []

        await floor.clock.advance(1)

        assert await floor.stored() == [1, 2, 3]


async def test_many_ticks_are_stored_at_once() -> None:
    floor = Floor()
    async with floor.running():
        floor.recorder.append(ticks(1, 4))
        await settle()

        assert await floor.stored() == [1, 2, 3, 4]


async def test_taking_ticks_goes_on_while_a_batch_is_on_its_way_and_the_next_has_all_of_them() -> None:
    floor = Floor()
    async with floor.running():
        floor.store.gate.clear()
        floor.recorder.append(ticks(1, 4))
        await settle()
        floor.recorder.append(ticks(5, 6))
        floor.store.gate.set()
        await settle()

        assert floor.store.batches == [(1, 4), (5, 6)]


async def test_no_more_than_the_bound_is_ever_unsaved_and_the_oldest_that_wait_go() -> None:
    floor = Floor()
    async with floor.running():
        floor.store.gate.clear()
        floor.recorder.append(ticks(1, 4))
        await settle()
        for number in range(5, 25):
            floor.recorder.append(ticks(number, 1))
            assert floor.recorder.figures().unsaved <= 10
        floor.store.gate.set()
        await settle()

    assert await floor.stored() == [1, 2, 3, 4, *range(19, 25)]
    figures = floor.recorder.figures()
    assert (figures.received, figures.stored, figures.dropped, figures.unsaved) == (24, 10, 14, 0)
    [recording] = await floor.store.recordings(START)
    assert (recording.received, recording.lost) == (24, 14)


async def test_a_flood_larger_than_the_bound_keeps_its_newest() -> None:
    floor = Floor()
    async with floor.running():
        floor.recorder.append(ticks(1, 25))
        await settle()

    assert await floor.stored() == list(range(16, 26))


async def test_an_outage_is_waited_for() -> None:
    floor = Floor()
    floor.store.down = True
    async with floor.running():
        floor.recorder.append(ticks(1, 4))
        await floor.clock.advance(10)
        assert floor.recorder.figures().unsaved == 4
        floor.store.down = False
        await floor.clock.advance(2)

        assert await floor.stored() == [1, 2, 3, 4]


async def test_a_batch_whose_answer_was_lost_is_stored_once() -> None:
    floor = Floor()
    floor.store.forgetful = 2
    async with floor.running():
        floor.recorder.append(ticks(1, 4))
        await floor.clock.advance(5)

    assert await floor.stored() == [1, 2, 3, 4]
    assert floor.recorder.figures().stored == 4


async def test_an_impossible_value_takes_no_other_tick_with_it() -> None:
    floor = Floor()
    bad = Tick(TCS, START, Decimal(5), volume=2**70)
    async with floor.running():
        floor.recorder.append([*ticks(1, 4), bad, *ticks(6, 4)])
        await settle()

    assert await floor.stored() == [1, 2, 3, 4, 6, 7, 8, 9]
    figures = floor.recorder.figures()
    assert (figures.received, figures.stored, figures.refused) == (9, 8, 1)


async def test_ticks_of_impossible_instants_are_refused_and_counted() -> None:
    floor = Floor()
    days = [
        Tick(TCS, START + timedelta(days=number), Decimal(100 + number)) for number in (-8, -6, 0, 2, -20_000)
    ]
    async with floor.running():
        floor.recorder.append(days)
        await floor.clock.advance(1)

    assert await floor.stored() == [94, 100]
    figures = floor.recorder.figures()
    assert (figures.received, figures.stored, figures.refused) == (2, 2, 3)


async def test_stopping_stores_what_waits_and_notes_the_end() -> None:
    floor = Floor()
    async with floor.running():
        floor.recorder.append(ticks(1, 2))

    assert await floor.stored() == [1, 2]
    [recording] = await floor.store.recordings(START)
    assert recording.ended_at is not None
    assert (recording.source, recording.received, recording.lost) == ("synthetic", 2, 0)


async def test_without_a_tick_there_is_no_recording() -> None:
    floor = Floor()
    async with floor.running():
        await floor.clock.advance(10)

    assert await floor.store.recordings(START) == []
