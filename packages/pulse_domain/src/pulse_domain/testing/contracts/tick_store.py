"""What every tick store promises."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from pulse_domain.errors import StorageRejected
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.tick_store import TickBatch, TickStore

_OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)
_TCS, _INFY = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:INFY")
_EARLIER = datetime(2000, 1, 1, tzinfo=UTC)


def _tick(second: float, price: str = "3000.05", instrument: Instrument = _TCS) -> Tick:
    return Tick(instrument, _OPEN + timedelta(seconds=second), Decimal(price))


async def _read(
    store: TickStore, instrument: Instrument = _TCS, since: datetime = _OPEN, seconds: float = 86_400
) -> list[Tick]:
    found: list[Tick] = []
    async for run in store.ticks(instrument, since, since + timedelta(seconds=seconds)):
        found += run
    return found


class TickStoreContract:
    """Subclass it and override `store`, which is empty."""

    @pytest.fixture
    def store(self) -> TickStore:
        pytest.fail("a subclass overrides this fixture")

    async def saved(self, store: TickStore, *ticks: Tick) -> int:
        recording = await store.begin("synthetic")
        await store.save(TickBatch(recording=recording, first=1, ticks=ticks))
        return recording

    async def test_ticks_come_back_as_they_were(self, store: TickStore) -> None:
        whole = Tick(
            _TCS, _OPEN + timedelta(microseconds=123_457), Decimal("3000.05"), Decimal("3000.00"),
            Decimal("3000.10"), 12_345_678_901, Decimal("2950.00"), Decimal("3050.50"),
        )  # fmt: skip
        bare = _tick(1, "0.0025")
        await self.saved(store, whole, bare)

        assert await _read(store) == [whole, bare]

    async def test_ticks_are_found_by_instrument_and_range(self, store: TickStore) -> None:
        ticks = [_tick(second, instrument=each) for second in range(4) for each in (_TCS, _INFY)]
        await self.saved(store, *ticks)

        found = await _read(store, _INFY, _OPEN + timedelta(seconds=1), 2)

        assert found == [_tick(second, instrument=_INFY) for second in (1, 2)]
        assert await _read(store, Instrument.parse("NSE:SBIN")) == []

    async def test_ticks_come_by_their_instants_and_equal_ones_by_arrival(self, store: TickStore) -> None:
        arrived = [_tick(2, "1"), _tick(1, "2"), _tick(2, "3"), _tick(1, "4")]
        await self.saved(store, *arrived)
        await self.saved(store, _tick(1, "5"))

        assert [int(tick.price) for tick in await _read(store)] == [2, 4, 5, 1, 3]

    async def test_ticks_of_many_runs_all_come(self, store: TickStore) -> None:
        ticks = [_tick(second / 10) for second in range(12_345)]
        await self.saved(store, *ticks)

        assert await _read(store) == ticks

    async def test_days_are_kept_apart_and_found_together(self, store: TickStore) -> None:
        ticks = [_tick(86_400 * day) for day in range(3)]
        await self.saved(store, *ticks)

        assert await _read(store, seconds=3 * 86_400) == ticks

    async def test_the_same_batch_again_changes_nothing(self, store: TickStore) -> None:
        recording = await self.saved(store, _tick(0), _tick(1))

        await store.save(TickBatch(recording=recording, first=1, ticks=[_tick(0), _tick(1)]))

        assert await _read(store) == [_tick(0), _tick(1)]
        [known] = await store.recordings(_EARLIER)
        assert (known.received, known.stored) == (2, 2)

    async def test_an_impossible_value_stores_nothing_of_its_batch(self, store: TickStore) -> None:
        recording = await store.begin("synthetic")
        bad = Tick(_TCS, _OPEN, Decimal(1), volume=2**70)

        with pytest.raises(StorageRejected):
            await store.save(TickBatch(recording=recording, first=1, ticks=[_tick(0), bad]))
        await store.save(TickBatch(recording=recording, first=1, ticks=[_tick(0)]))

        assert await _read(store) == [_tick(0)]

    async def test_what_was_lost_shows_in_the_numbers(self, store: TickStore) -> None:
        recording = await store.begin("synthetic")
        for first in (1, 21, 41):
            ticks: Sequence[Tick] = [_tick(first + number) for number in range(10)]
            await store.save(TickBatch(recording=recording, first=first, ticks=ticks))
        [running] = await store.recordings(_EARLIER)

        await store.end(recording, received=55)
        [ended] = await store.recordings(_EARLIER)

        assert (running.ended_at, running.received, running.stored, running.lost) == (None, 50, 30, 20)
        assert ended.ended_at is not None
        assert (ended.source, ended.received, ended.stored, ended.lost) == ("synthetic", 55, 30, 25)

    async def test_each_recording_counts_for_itself(self, store: TickStore) -> None:
        one = await self.saved(store, _tick(0))
        other = await self.saved(store, _tick(0))
        empty = await store.begin("zerodha")

        found = await store.recordings(_EARLIER)

        assert [(each.recording, each.received, each.stored) for each in found] == [
            (one, 1, 1), (other, 1, 1), (empty, 0, 0)
        ]  # fmt: skip
        assert await store.recordings(found[-1].started_at + timedelta(days=1)) == []
        assert await _read(store) == [_tick(0), _tick(0)]
