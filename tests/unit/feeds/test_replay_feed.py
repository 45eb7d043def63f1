"""Files as ticks: every row once, in its order, with its own instant, at any speed."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.feeds.errors import FeedFileError, FeedSpecError
from pulse_adapters.feeds.recordings import FeedFile
from pulse_adapters.feeds.replay_feed import ReplayMarketFeed
from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_domain.backtest import TickSeries
from pulse_domain.backtest.files import read_candles, read_ticks
from pulse_domain.candles import CandleBuilder, SessionHours
from pulse_domain.errors import MarketDataUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.memory_feed import KeptFeed
from pulse_domain.units import INDIA

TCS, INFY, RELIND = (Instrument.parse(f"NSE:{symbol}") for symbol in ("TCS", "INFY", "RELIND"))
OPEN = datetime.fromisoformat("2026-01-20T09:15:00+05:30")
DATA = Path(__file__).parents[4] / "shared" / "data"


def at(seconds: float) -> datetime:
    return OPEN + timedelta(seconds=seconds)


def tick_file(path: Path, *rows: tuple[float, str], header: str = "price") -> FeedFile:
    """Rows of the second and the cells that follow."""
    lines = [f"{at(second).isoformat()},{cells}" for second, cells in rows]
    path.write_text(f"timestamp,{header}\n" + "\n".join(lines) + "\n")
    return FeedFile(path)


def candle_file(path: Path, *rows: str, minutes: int = 1, start: datetime = OPEN) -> FeedFile:
    """Rows of `open,high,low,close,volume`."""
    lines = [f"{(start + i * timedelta(minutes=minutes)).isoformat()},{row}" for i, row in enumerate(rows)]
    path.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    return FeedFile(path)


def all_day(instrument: Instrument, instant: datetime) -> SessionHours:
    midnight = datetime.combine(instant.astimezone(INDIA).date(), time(), INDIA)
    return SessionHours(midnight, midnight + timedelta(days=1))


def rebuilt(ticks: list[Tick], minutes: int) -> list[Candle]:
    builder = CandleBuilder(all_day, timeframes=(1, minutes), grace=timedelta(0))
    told = [closed for tick in ticks for closed in builder.on_tick(tick)]
    told += builder.on_time(ticks[-1].at + timedelta(days=2))
    assert (builder.late, builder.outside, builder.ahead) == (0, 0, 0)
    return [closed.candle for closed in told if closed.minutes == minutes and closed.candle is not None]


async def played(feed: ReplayMarketFeed, *instruments: Instrument) -> list[Tick]:
    """All that comes, whatever time it takes."""
    feed.subscribe(instruments)
    kept = KeptFeed()
    await feed.run(kept)
    return kept.taken


# --- rows


async def test_rows_keep_their_order_their_instants_and_their_repetitions(tmp_path: Path) -> None:
    file = tick_file(
        tmp_path / "ticks.csv",
        (0, "TCS,100,10,99.5,100.5"),
        (2, "TCS,101,30,0,"),
        (1, "TCS,100.5,20,100,101"),  # late
        (2, "TCS,101,30,0,"),  # twice
        (3, "INFY,50,1,,"),
        (2, "TCS,102,25,,"),  # late, and with a total that is late too
        header="symbol,price,day_volume,quote_a_price,quote_b_price",
    )

    ticks = await played(ReplayMarketFeed(FakeClock(auto=True), {}, file), TCS, INFY)

    assert ticks == [
        Tick(TCS, at(0), Decimal("100"), Decimal("99.5"), Decimal("100.5"), 10),
        Tick(TCS, at(2), Decimal("101"), None, None, 30),
        Tick(TCS, at(1), Decimal("100.5"), Decimal("100"), Decimal("101"), 20),
        Tick(TCS, at(2), Decimal("101"), None, None, 30),
        Tick(INFY, at(3), Decimal("50"), None, None, 1),
        Tick(TCS, at(2), Decimal("102"), None, None, 25),
    ]


async def test_files_are_played_side_by_side_by_recorded_time(tmp_path: Path) -> None:
    tcs = tick_file(tmp_path / "tcs.csv", (0, "1"), (5, "2"), (20, "3"))
    infy = tick_file(tmp_path / "infy.csv", (1, "4"), (5, "5"), (4, "6"), (9, "7"))

    feed = ReplayMarketFeed(FakeClock(auto=True), {TCS: tcs, INFY: infy})

    assert [tick.price for tick in await played(feed, TCS, INFY)] == [1, 4, 2, 5, 6, 7, 3]


async def test_one_file_may_play_for_several_instruments(tmp_path: Path) -> None:
    file = tick_file(tmp_path / "ticks.csv", (0, "1"), (1, "2"))

    ticks = await played(ReplayMarketFeed(FakeClock(auto=True), {}, file), TCS, INFY)

    one, two = Decimal(1), Decimal(2)
    assert [(tick.instrument, tick.price) for tick in ticks] == [
        (TCS, one),
        (INFY, one),
        (TCS, two),
        (INFY, two),
    ]


@pytest.mark.parametrize("speed", [0.5, 1, 60, 100_000])
async def test_the_same_comes_at_any_speed(tmp_path: Path, speed: float) -> None:
    file = tick_file(tmp_path / "ticks.csv", *((i / 3, str(100 + i % 5)) for i in range(400)))
    feed = ReplayMarketFeed(FakeClock(auto=True), {}, file, speed=speed)

    ticks = await played(feed, TCS)

    assert ticks == list(feed.ticks())
    assert [tick.at for tick in ticks] == [at(i / 3) for i in range(400)]


async def test_speed_is_recorded_seconds_in_a_second_of_the_clock(tmp_path: Path) -> None:
    clock, kept = FakeClock(), KeptFeed()
    file = tick_file(tmp_path / "ticks.csv", *((i, str(i + 1)) for i in range(31)))
    feed = ReplayMarketFeed(clock, {}, file, speed=10)
    feed.subscribe([TCS])
    run = asyncio.create_task(feed.run(kept))

    for second in range(4):
        assert len(kept.taken) == 10 * second
        if second == 3:
            break
        # The one of the very end comes with the next.
        await clock.advance(1 if second else 0.99)
    await clock.advance(0.1)
    await run

    assert len(kept.taken) == 31


async def test_a_pause_lasts_a_minute_at_most(tmp_path: Path) -> None:
    clock = FakeClock(auto=True)
    file = tick_file(tmp_path / "ticks.csv", (0, "1"), (59, "2"), (20_000, "3"), (86_400, "4"))

    began = clock.monotonic()
    ticks = await played(ReplayMarketFeed(clock, {}, file), TCS)

    assert len(ticks) == 4
    assert clock.monotonic() - began == pytest.approx(59 + 60 + 60, abs=1)


async def test_it_begins_where_it_is_told_to(tmp_path: Path) -> None:
    ticks = tick_file(tmp_path / "ticks.csv", (0, "1"), (5, "2"), (3, "3"), (20, "4"))
    candles = candle_file(tmp_path / "candles.csv", "5,5,5,5,100", "6,6,6,6,200")

    begins = ReplayMarketFeed(FakeClock(auto=True), {TCS: ticks, INFY: candles}, start_at=at(4))
    given = await played(begins, TCS, INFY)

    # A candle that has begun before is left out whole; what was traded in it counts.
    expected = ((2, 0), (3, 0), (4, 0), (6, 100), (6, 166), (6, 233), (6, 300))
    assert [(tick.price, tick.volume) for tick in given] == [
        (Decimal(price), total) for price, total in expected
    ]


# --- candles


async def test_a_candle_is_four_ticks_with_the_running_total_of_the_day(tmp_path: Path) -> None:
    file = candle_file(tmp_path / "a.csv", "100,103,99,102,401", "102,103,96,97,40")

    ticks = await played(ReplayMarketFeed(FakeClock(auto=True), {}, file), TCS)

    expected = (
        (0, 100, 0), (20, 99, 133), (40, 103, 267), (59, 102, 401),
        (60, 102, 401), (80, 103, 414), (100, 96, 427), (119, 97, 441),
    )  # fmt: skip
    assert [(tick.at, tick.price, tick.volume) for tick in ticks] == [
        (at(second), Decimal(price), total) for second, price, total in expected
    ]


def test_the_total_begins_anew_every_day(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "timestamp,open,high,low,close,volume\n"
        "2026-01-20T15:29:00+05:30,1,1,1,1,100\n2026-01-21T09:15:00+05:30,1,1,1,1,40\n"
    )
    feed = ReplayMarketFeed(FakeClock(), {}, FeedFile(path))
    feed.subscribe([TCS])

    assert [tick.volume for tick in feed.ticks()] == [0, 33, 66, 100, 0, 13, 26, 40]


def test_candles_that_begin_within_a_session_have_all_their_volume(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "timestamp,open,high,low,close,volume\n"
        "2026-01-20T11:00:00+05:30,1,1,1,1,400\n2026-01-20T11:01:00+05:30,1,1,1,1,40\n"
    )
    feed = ReplayMarketFeed(FakeClock(), {}, FeedFile(path))
    feed.subscribe([TCS])

    # As of a desk: what came before its first tick is in no candle.
    builder = CandleBuilder(DatedCalendar().hours_at, timeframes=(), since=feed.clock.now())
    told = [closed for tick in feed.ticks() for closed in builder.on_tick(tick)]
    told += builder.on_time(told[-1].start + timedelta(minutes=3))

    assert [closed.candle.volume for closed in told if closed.candle is not None] == [400, 40]


prices = st.integers(1, 10_000).map(lambda paise: Decimal(paise) / 20)


@given(
    st.lists(st.tuples(prices, prices, prices, prices, st.integers(0, 10**7)), min_size=1, max_size=8),
    st.sampled_from([1, 3, 5]),
)
def test_candles_built_from_a_candle_file_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[Decimal, Decimal, Decimal, Decimal, int]],
    minutes: int,
) -> None:
    cells = [f"{opened},{max(row[:4])},{min(row[:4])},{row[3]},{row[4]}" for row in rows for opened in row[:1]]
    if len(cells) == 1:
        minutes = 1  # one row does not tell how long it lasts
    feed = ReplayMarketFeed(
        FakeClock(), {}, candle_file(tmp_path_factory.mktemp("a") / "a.csv", *cells, minutes=minutes)
    )
    feed.subscribe([TCS])

    candles = rebuilt(list(feed.ticks()), minutes)

    assert candles == [
        Candle(TCS, OPEN + i * timedelta(minutes=minutes), row[0], max(row[:4]), min(row[:4]), row[3], row[4])
        for i, row in enumerate(rows)
    ]


# --- recorded time


class LateClock(FakeClock):
    """Time that passes while the loop is busy with something else."""

    def jump(self, seconds: float) -> None:
        self._elapsed_s += seconds


async def test_recorded_time_is_never_ahead_of_what_is_not_given_yet(tmp_path: Path) -> None:
    clock = LateClock()
    file = tick_file(tmp_path / "ticks.csv", *((i, "1") for i in range(2000)))
    feed = ReplayMarketFeed(clock, {}, file, speed=1000)
    feed.subscribe([TCS])
    batches: list[int] = []

    class Looking(KeptFeed):
        def ticks(self, ticks: Iterable[Tick]) -> None:
            batch = list(ticks)
            super().ticks(batch)
            batches.append(len(batch))
            assert timedelta(0) <= feed.clock.now() - batch[-1].at <= timedelta(seconds=1)

    kept = Looking()
    run = asyncio.create_task(feed.run(kept))
    await settle()
    for _ in range(3):
        clock.jump(0.6)  # six hundred rows are due at once
        assert feed.clock.now() - kept.taken[-1].at <= timedelta(seconds=1)
        await clock.advance(0.001)
    assert len(kept.taken) < 2000
    await clock.advance(1)
    await run

    assert max(batches) > 100
    assert kept.taken == list(feed.ticks())


async def test_recorded_time_stands_until_the_feed_runs_and_goes_on_after_it(tmp_path: Path) -> None:
    clock = FakeClock()
    feed = ReplayMarketFeed(clock, {}, tick_file(tmp_path / "a.csv", (0, "1"), (6, "2")), speed=60)
    feed.subscribe([TCS])
    await clock.advance(100)
    assert feed.clock.now() == OPEN

    run = asyncio.create_task(feed.run(KeptFeed()))
    await clock.advance(1)
    await run
    await clock.advance(1)

    assert timedelta(seconds=60) <= feed.clock.now() - OPEN <= timedelta(seconds=180)
    assert feed.clock.now().tzinfo is UTC
    assert feed.clock.monotonic() == pytest.approx((feed.clock.now() - OPEN).total_seconds())


async def test_sleeping_takes_recorded_seconds_and_ends_after_a_leap(tmp_path: Path) -> None:
    clock = FakeClock()
    file = tick_file(tmp_path / "a.csv", (0, "1"), (10_000, "2"))
    feed = ReplayMarketFeed(clock, {}, file, speed=60)
    feed.subscribe([TCS])
    run = asyncio.create_task(feed.run(KeptFeed()))
    short, long = (asyncio.create_task(feed.clock.sleep(seconds)) for seconds in (30, 9_000))

    await clock.advance(0.4)
    assert not short.done()
    await clock.advance(0.2)
    assert short.done()
    assert not long.done()
    await clock.advance(1)  # the pause of a minute is over, and the rest of it is left out
    await run

    assert long.done()


# --- subscriptions


async def test_what_comes_in_later_begins_at_that_moment(tmp_path: Path) -> None:
    clock, kept = FakeClock(), KeptFeed()
    tcs = tick_file(tmp_path / "tcs.csv", *((i, "1") for i in range(10)))
    infy = tick_file(tmp_path / "infy.csv", *((i, "2") for i in range(10)))
    feed = ReplayMarketFeed(clock, {TCS: tcs, INFY: infy})
    feed.subscribe([TCS])
    run = asyncio.create_task(feed.run(kept))
    await clock.advance(4.5)

    feed.subscribe([INFY])
    await clock.advance(10)
    await run

    assert [(tick.instrument, tick.at) for tick in kept.taken] == [
        *((TCS, at(second)) for second in range(5)), *((INFY, at(second)) for second in range(5, 10)),
    ]  # fmt: skip


async def test_recorded_time_goes_on_to_what_is_wanted_now(tmp_path: Path) -> None:
    clock = FakeClock()
    often = tick_file(tmp_path / "tcs.csv", *((i, "1") for i in range(60)))
    seldom = tick_file(tmp_path / "infy.csv", (0, "2"), (50, "2"))
    feed = ReplayMarketFeed(clock, {TCS: often, INFY: seldom})
    feed.subscribe([TCS])
    run = asyncio.create_task(feed.run(KeptFeed()))
    await clock.advance(4.5)

    feed.subscribe([INFY])
    await clock.advance(20)

    assert feed.clock.now() == at(24.5)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)


async def test_an_instrument_without_a_file_is_refused_and_nothing_is_changed(tmp_path: Path) -> None:
    feed = ReplayMarketFeed(FakeClock(auto=True), {TCS: tick_file(tmp_path / "a.csv", (0, "1"))})
    feed.subscribe([TCS])

    with pytest.raises(MarketDataUnavailable, match="no file plays for NSE:INFY"):
        feed.subscribe([TCS, INFY])

    assert [tick.instrument for tick in feed.ticks()] == [TCS]


async def test_one_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    clock, kept = FakeClock(), KeptFeed()
    feed = ReplayMarketFeed(clock, {}, tick_file(tmp_path / "a.csv", *((i, "1") for i in range(10))))
    feed.subscribe([TCS])
    run = asyncio.create_task(feed.run(kept))
    await clock.advance(4.5)
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await clock.advance(100)
    assert len(kept.taken) == 5

    run = asyncio.create_task(feed.run(kept))
    await clock.advance(10)
    await run

    assert kept.taken == list(feed.ticks())


# --- bad input


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(tmp_path: Path, speed: float) -> None:
    with pytest.raises(FeedSpecError, match="the speed must be above 0"):
        ReplayMarketFeed(FakeClock(), {}, tick_file(tmp_path / "a.csv", (0, "1")), speed=speed)


def test_a_file_that_cannot_play_is_refused(tmp_path: Path) -> None:
    file = tick_file(tmp_path / "a.csv", (0, "A,1"), (1, "B,1"), header="symbol,price")

    with pytest.raises(FeedFileError, match="there is no symbol TCS, only A, B"):
        ReplayMarketFeed(FakeClock(), {TCS: file})
    with pytest.raises(FeedFileError, match="ends before"):
        ReplayMarketFeed(FakeClock(), {}, file, start_at=at(2))
    with pytest.raises(FeedSpecError, match="UTC offset"):
        ReplayMarketFeed(FakeClock(), {}, file, start_at=datetime(2026, 1, 20))


# --- real files


@pytest.mark.skipif(not DATA.is_dir(), reason="no real files in ../shared/data")
class TestRealFiles:
    async def test_a_live_recording_comes_with_all_its_defects(self) -> None:
        path = next(DATA.glob("nse-ticks/*TRENT*.csv.gz"))
        instruments = [Instrument.parse(f"NFO:{name}") for name in ("MCX", "RELIND", "TCS", "TRENT")]
        feed = ReplayMarketFeed(FakeClock(auto=True), {}, FeedFile(path), speed=600)

        ticks = await played(feed, *instruments)

        assert len(ticks) == 5535
        assert any(later.at < earlier.at for earlier, later in pairwise(ticks))
        for instrument in instruments:
            own = [tick for tick in ticks if tick.instrument == instrument]
            # What a backtest over the file sees.
            assert TickSeries.from_ticks(own) == read_ticks(path, instrument)

    @pytest.mark.parametrize("day", ["2022-11-09", "2022-11-28"])
    async def test_a_day_of_the_index(self, day: str) -> None:
        path = DATA / "nse-ticks" / f"NIFTY50-INDEX_1s_{day}.csv.gz"
        nifty = Instrument.parse("NSE:NIFTY")
        feed = ReplayMarketFeed(FakeClock(auto=True), {}, FeedFile(path), speed=60)

        ticks = await played(feed, nifty)
        builder = CandleBuilder(DatedCalendar().hours_at)
        told = [closed for tick in ticks for closed in builder.on_tick(tick) if closed.minutes == 1]

        assert TickSeries.from_ticks(ticks) == read_ticks(path, nifty)
        assert len(told) == 375  # every minute of the session, as it goes on after it
        assert builder.late == 0
        holes = sum(closed.candle is None for closed in told)
        assert (holes > 10) == (day == "2022-11-28")

    async def test_candles_of_a_real_file_come_out_as_they_went_in(self) -> None:
        path = min(DATA.glob("nse-1min/*.csv.gz"), key=lambda path: path.stat().st_size)
        series = read_candles(path, TCS, defects="drop")
        first: date = series.days()[0]
        feed = ReplayMarketFeed(FakeClock(), {}, FeedFile(path))
        feed.subscribe([TCS])
        ticks = [tick for tick in feed.ticks() if (tick.at.astimezone(INDIA).date() - first).days < 4]

        candles = rebuilt(ticks, 1)

        wanted = [candle for candle in series if (candle.start.date() - first).days < 4]
        assert [(c.start, c.open, c.high, c.low, c.close, c.volume) for c in candles] == [
            (c.start, c.open, c.high, c.low, c.close, c.volume) for c in wanted
        ]
