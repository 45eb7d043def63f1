"""What every candle store promises."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from pulse_domain.candles import ClosedCandle
from pulse_domain.errors import StorageRejected
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle
from pulse_domain.ports.candle_store import CandleStore

_OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)
_TCS, _INFY = Instrument.parse("NSE:TCS"), Instrument.parse("NSE:INFY")


def _candle(minute: int, close: str = "3001.50", instrument: Instrument = _TCS, volume: int = 10) -> Candle:
    prices = (Decimal("3000.05"), Decimal("3002.00"), Decimal("2999.95"), Decimal(close))
    return Candle(instrument, _OPEN + timedelta(minutes=minute), *prices, volume)


def _closed(candle: Candle, minutes: int = 1) -> ClosedCandle:
    return ClosedCandle(candle.instrument, minutes, candle.start, candle)


async def _read(
    store: CandleStore, instrument: Instrument = _TCS, minutes: int = 1, after: int = 0, up_to: int = 100_000
) -> list[Candle]:
    found: list[Candle] = []
    since, until = _OPEN + timedelta(minutes=after), _OPEN + timedelta(minutes=up_to)
    async for run in store.candles(instrument, minutes, since, until):
        found += run
    return found


class CandleStoreContract:
    """Subclass it and override `store`, which is empty."""

    @pytest.fixture
    def store(self) -> CandleStore:
        pytest.fail("a subclass overrides this fixture")

    async def test_candles_come_back_as_they_were_by_instrument_and_length(self, store: CandleStore) -> None:
        ones = [_candle(minute) for minute in (2, 0, 1)]
        await store.save([_closed(candle) for candle in ones])
        await store.save([_closed(_candle(0, "3002.00"), 5), _closed(_candle(0, "2999.95", _INFY))])

        assert await _read(store) == [_candle(0), _candle(1), _candle(2)]
        assert await _read(store, minutes=5) == [_candle(0, "3002.00")]
        assert await _read(store, _INFY) == [_candle(0, "2999.95", _INFY)]
        assert await _read(store, minutes=15) == []

    async def test_a_range_begins_with_its_first_instant_and_ends_before_its_last(
        self, store: CandleStore
    ) -> None:
        await store.save([_closed(_candle(minute)) for minute in range(5)])

        assert await _read(store, after=1, up_to=3) == [_candle(1), _candle(2)]

    async def test_the_candle_that_came_last_holds(self, store: CandleStore) -> None:
        await store.save([_closed(_candle(0)), _closed(_candle(0, "3000.00"))])
        await store.save([_closed(_candle(1)), _closed(_candle(1))])
        await store.save([_closed(_candle(1, "2999.95"))])

        assert await _read(store) == [_candle(0, "3000.00"), _candle(1, "2999.95")]

    async def test_a_gap_is_what_is_not_there(self, store: CandleStore) -> None:
        await store.save([_closed(_candle(0)), ClosedCandle(_TCS, 1, _OPEN + timedelta(minutes=1), None)])
        await store.save([ClosedCandle(_TCS, 1, _OPEN, None)])
        await store.save([])

        assert await _read(store) == [_candle(0)]

    async def test_the_last_one_of_each_is_told(self, store: CandleStore) -> None:
        await store.save([_closed(_candle(minute)) for minute in (2, 7, 4)])
        await store.save([_closed(_candle(10), 5), _closed(_candle(3, instrument=_INFY))])
        both, after = (_TCS, _INFY), [_OPEN + timedelta(minutes=minute) for minute in range(10)]

        assert await store.last_starts(both, 1, after[0]) == {_TCS: after[7], _INFY: after[3]}
        assert await store.last_starts(both, 1, after[4]) == {_TCS: after[7]}
        assert await store.last_starts([_TCS], 1, after[7]) == {_TCS: after[7]}
        assert await store.last_starts(both, 1, after[8]) == {}
        assert await store.last_starts((), 1, after[0]) == {}

    async def test_candles_of_many_runs_all_come(self, store: CandleStore) -> None:
        candles = [_candle(minute) for minute in range(11_000)]
        await store.save([_closed(candle) for candle in candles])

        assert await _read(store) == candles

    async def test_an_impossible_value_stores_nothing(self, store: CandleStore) -> None:
        with pytest.raises(StorageRejected):
            await store.save([_closed(_candle(0)), _closed(_candle(1, volume=2**70))])

        assert await _read(store) == []
