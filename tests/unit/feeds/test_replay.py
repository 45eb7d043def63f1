"""Playing files: at any speed, over and over, and never outside what was recorded."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.feeds.errors import FeedFileError, FeedSpecError
from pulse_adapters.feeds.files import CandleRow
from pulse_adapters.feeds.recordings import CandleRecording, FeedFile
from pulse_adapters.feeds.replay import ReplayFeed
from pulse_domain.errors import MarketDataUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.testing.fake_clock import FakeClock

INFY = Instrument.parse("NSE:INFY")
TCS = Instrument.parse("NSE:TCS")
OPEN = datetime.fromisoformat("2026-01-05T09:15:00+05:30")


def candles(path: Path, *rows: str, start: datetime = OPEN) -> FeedFile:
    """A file of one-minute candles, written `open,high,low,close,volume`."""
    lines = ["timestamp,open,high,low,close,volume"]
    lines += [f"{(start + timedelta(minutes=i)).isoformat()},{row}" for i, row in enumerate(rows)]
    path.write_text("\n".join(lines) + "\n")
    return FeedFile(path)


def ticks(path: Path, *rows: str, header: str = "timestamp,price") -> FeedFile:
    """A file of ticks, written `SECONDS,...`."""
    lines = [header]
    for row in rows:
        seconds, rest = row.split(",", 1)
        lines.append(f"{(OPEN + timedelta(seconds=float(seconds))).isoformat()},{rest}")
    path.write_text("\n".join(lines) + "\n")
    return FeedFile(path)


@pytest.fixture
def two_minutes(tmp_path) -> FeedFile:
    return candles(tmp_path / "a.csv", "100,103,99,102,600", "102,102,96,97,300")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


# --- candles -----------------------------------------------------------------------------------


async def test_price_goes_to_the_nearer_extreme_first(clock, two_minutes):
    feed = ReplayFeed(clock, {INFY: two_minutes})

    path = []
    for _ in range(7):
        path.append((await feed.quote(INFY)).last_price)
        await clock.advance(20)

    # 100 is nearer to 99 than to 103; 102 is at its high already.
    assert path == [100, 99, 103, 102, 102, 96, 100]


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 60.0), (60.0, 1.0), (0.5, 120.0)])
async def test_a_recorded_minute_takes_a_minute_divided_by_the_speed(clock, two_minutes, speed, seconds):
    feed = ReplayFeed(clock, {INFY: two_minutes}, speed=speed)

    await clock.advance(seconds * 1.5)

    assert feed.recorded_at(INFY) == OPEN + timedelta(seconds=90)
    assert (await feed.quote(INFY)).at == clock.now()


async def test_file_starts_again_at_its_end(clock, two_minutes):
    feed = ReplayFeed(clock, {INFY: two_minutes})
    first = await feed.quote(INFY)

    await clock.advance(120)

    again = await feed.quote(INFY)
    assert (again.last_price, again.volume) == (first.last_price, first.volume)
    assert feed.recorded_at(INFY) == OPEN


async def test_file_starts_where_it_is_told(clock, two_minutes):
    feed = ReplayFeed(clock, {INFY: two_minutes}, start_at=OPEN + timedelta(seconds=30))

    assert feed.recorded_at(INFY) == OPEN + timedelta(minutes=1)


async def test_nights_and_holes_are_left_out(clock, tmp_path):
    path = tmp_path / "a.csv"
    days = ["2026-01-05T15:28:00", "2026-01-05T15:29:00", "2026-01-06T09:15:00", "2026-01-06T09:16:00"]
    lines = [f"{day}+05:30,{100 + i},{100 + i},{100 + i},{100 + i},10" for i, day in enumerate(days)]
    path.write_text("\n".join(["timestamp,open,high,low,close,volume", *lines]))
    feed = ReplayFeed(clock, {INFY: FeedFile(path)})

    seen = []
    for _ in days:
        seen.append((int((await feed.quote(INFY)).last_price), feed.recorded_at(INFY).isoformat()[:19]))
        await clock.advance(60)

    assert seen == list(zip(range(100, 104), days, strict=True))


async def test_volume_counts_from_the_start_of_the_recorded_day(clock, two_minutes):
    feed = ReplayFeed(clock, {INFY: two_minutes})

    volumes = []
    for _ in range(4):
        volumes.append((await feed.quote(INFY)).volume)
        await clock.advance(30)

    assert volumes == [0, 300, 600, 750]


rows = st.tuples(
    st.lists(st.integers(1, 400), min_size=4, max_size=4).map(sorted), st.booleans(), st.integers(0, 10_000)
).map(
    lambda drawn: CandleRow(
        OPEN,
        500 * drawn[0][1 + drawn[1]], 500 * drawn[0][3], 500 * drawn[0][0], 500 * drawn[0][2 - drawn[1]],
        drawn[2],
    )
)  # fmt: skip


@given(st.lists(rows, min_size=1, max_size=5), st.floats(0, 0.999999))
def test_every_quote_lies_inside_its_candle_and_on_the_grid(drawn, part):
    minute = timedelta(minutes=1)
    recording = CandleRecording([row._replace(start=OPEN + i * minute) for i, row in enumerate(drawn)])

    moment = recording.moment(part * recording.length_s)

    units = int(recording.tick_size * 10_000)
    candle = drawn[int((moment.recorded_at - OPEN) / minute)]
    assert candle.low <= moment.bid * units <= moment.price * units <= moment.ask * units <= candle.high


@given(rows)
def test_candle_begins_at_its_open_and_meets_both_extremes(row):
    recording = CandleRecording([row])
    units = int(recording.tick_size * 10_000)

    path = [recording.moment(second).price * units for second in (0, 20, 40, 59.999999)]

    assert path[0] == row.open
    assert {path[1], path[2]} == {row.high, row.low}
    assert abs(path[3] - row.close) <= units


@pytest.mark.parametrize(
    ("prices", "tick"),
    [("100,101.05,99,100", "0.05"), ("100,101.02,99,100", "0.01"), ("88,88.0025,88,88", "0.0025")],
)
def test_tick_grid_is_that_of_the_files_prices(clock, tmp_path, prices, tick):
    feed = ReplayFeed(clock, {INFY: candles(tmp_path / "a.csv", f"{prices},10")})

    assert feed.tick_size(INFY) == Decimal(tick)


# --- ticks -------------------------------------------------------------------------------------


async def test_ticks_play_at_their_times(clock, tmp_path):
    feed = ReplayFeed(clock, {INFY: ticks(tmp_path / "a.csv", "0,100", "2.5,101", "4,102")})

    seen = []
    for _ in range(6):
        seen.append(int((await feed.quote(INFY)).last_price))
        await clock.advance(1)

    assert seen == [100, 100, 100, 101, 102, 100]


async def test_late_rows_play_with_those_before_them(clock, tmp_path):
    file = ticks(
        tmp_path / "a.csv", "0,100,10", "5,101,30", "3,99,20", "6,102,40", header="timestamp,price,volume"
    )
    feed = ReplayFeed(clock, {INFY: file})

    seen = []
    for _ in range(4):
        quote = await feed.quote(INFY)
        seen.append((int(quote.last_price), quote.volume, (feed.recorded_at(INFY) - OPEN).seconds))
        await clock.advance(2)

    assert seen == [(100, 10, 0), (100, 10, 0), (100, 10, 0), (102, 40, 6)]
    assert (await feed.quote(INFY)).last_price == 100
    await clock.advance(4.5)
    late = await feed.quote(INFY)
    assert (int(late.last_price), late.volume) == (99, 30)
    assert feed.recorded_at(INFY) == OPEN + timedelta(seconds=5)


async def test_long_pauses_last_a_minute(clock, tmp_path):
    feed = ReplayFeed(clock, {INFY: ticks(tmp_path / "a.csv", "0,100", "5000,101")})

    await clock.advance(60)

    assert (await feed.quote(INFY)).last_price == 101


async def test_recorded_quotes_are_played(clock, tmp_path):
    file = ticks(tmp_path / "a.csv", "0,100,99.95,100.10", header="timestamp,price,bid,ask")

    quote = await ReplayFeed(clock, {INFY: file}).quote(INFY)

    assert [quote.bid, quote.last_price, quote.ask] == [Decimal("99.95"), Decimal(100), Decimal("100.10")]


# --- which file plays --------------------------------------------------------------------------


async def test_own_file_plays_before_the_fallback(clock, tmp_path, two_minutes):
    other = candles(tmp_path / "b.csv", "500,500,500,500,10")
    feed = ReplayFeed(clock, {INFY: other}, two_minutes)

    assert (await feed.quote(INFY)).last_price == 500
    assert (await feed.quote(TCS)).last_price == 100


async def test_without_a_fallback_other_instruments_have_no_price(clock, two_minutes):
    feed = ReplayFeed(clock, {INFY: two_minutes})

    with pytest.raises(MarketDataUnavailable):
        await feed.quote(TCS)
    with pytest.raises(MarketDataUnavailable):
        feed.tick_size(TCS)


async def test_symbols_of_a_file_play_for_their_instruments(clock, tmp_path):
    file = ticks(tmp_path / "a.csv", "0,TCS,300", "1,INFY,100", header="timestamp,symbol,price")
    feed = ReplayFeed(clock, {}, file)

    prices = [(await feed.quote(Instrument.parse(n))).last_price for n in ("NSE:INFY", "NSE:TCS", "NSE:ITC")]

    assert prices == [100, 300, 300]
    with pytest.raises(FeedFileError, match="no symbol ITC, only TCS, INFY"):
        ReplayFeed(clock, {Instrument.parse("NSE:ITC"): file})


def test_speed_and_start_that_cannot_be_played(clock, two_minutes):
    for speed in (0, -1, float("nan"), float("inf")):
        with pytest.raises(FeedSpecError):
            ReplayFeed(clock, {}, two_minutes, speed=speed)
    with pytest.raises(FeedSpecError):
        ReplayFeed(clock, {}, two_minutes, start_at=datetime(2026, 1, 5, 9, 15))
    with pytest.raises(FeedFileError, match="ends before"):
        ReplayFeed(clock, {}, two_minutes, start_at=OPEN + timedelta(days=1))
