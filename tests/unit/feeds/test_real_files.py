"""Real candle and tick files, where they lie beside the repository, with all their defects."""

from pathlib import Path

import pytest

from pulse_adapters.feeds.recordings import FeedFile
from pulse_adapters.feeds.replay import ReplayFeed
from pulse_domain.instruments import Instrument
from pulse_domain.testing.fake_clock import FakeClock

DATA = Path(__file__).parents[4] / "shared" / "data"
CANDLES = sorted(DATA.glob("nse-1min/*.csv.gz"))
TICKS = sorted(DATA.glob("nse-ticks/*.csv.gz"))

pytestmark = pytest.mark.skipif(not CANDLES, reason="no real files in ../shared/data")


@pytest.mark.parametrize("path", CANDLES + TICKS, ids=lambda path: path.name)
def test_every_real_file_is_read(path):
    file = FeedFile(path)

    for recording in file.recordings.values():
        assert recording.length_s > 0
        for part in range(1000):
            moment = recording.moment(part / 1000 * recording.length_s)
            assert 0 < moment.bid <= moment.ask


async def test_four_symbols_in_one_tick_file():
    path = next(path for path in TICKS if "TRENT" in path.name)
    clock = FakeClock()
    feed = ReplayFeed(clock, {}, FeedFile(path), speed=10)

    for symbol, low, high in (("TCS", 2_000, 5_000), ("TRENT", 3_000, 8_000), ("MCX", 5_000, 12_000)):
        for _ in range(20):
            quote = await feed.quote(Instrument.parse(f"NFO:{symbol}"))
            assert low < quote.bid <= quote.ask < high
            await clock.advance(3)
