"""Real candle and tick files, where they lie beside the repository, with all their defects."""

from datetime import date, time, timedelta
from pathlib import Path

import pytest

from pulse_domain.backtest.files import read_candles, read_ticks
from pulse_domain.errors import BadMarketData
from pulse_domain.instruments import Instrument

DATA = Path(__file__).parents[4] / "shared" / "data"
INSTRUMENT = Instrument.parse("NSE:ANY")
OPEN, CLOSE = time(9, 15), time(15, 30)

pytestmark = pytest.mark.skipif(
    not (DATA / "nse-1min").is_dir(), reason="the real files are not in ../shared/data"
)

# name: rows, days, candles without volume, seconds of a candle
CANDLES = {
    "TCS_1min_2024-01_2024-02": (14_625, 39, 0, 60),
    "NFO-35000_NIFTY-FUT_1min_2024-06_2024-08": (16_499, 44, 485, 60),
    "NIFTY50-INDEX_1min_2024-01_2024-04": (29_522, 79, 29_522, 60),
    "NIFTYBANK-INDEX_1min_2024-01_2024-04": (29_522, 79, 29_522, 60),
    "RELIANCE_1min_2016-08_2016-09": (6_750, 18, 0, 60),
    "INFY_1min_2016-08_2016-09": (6_750, 18, 0, 60),
    "HDFCBANK_1min_2016-08_2016-09": (6_750, 18, 3, 60),
    "RELIANCE_5min_2019-11_2020-11": (18_900, 252, 20, 300),
}
# day: rows, before 09:15, from 15:30 on
INDEX_TICKS = {
    "2022-11-09": (23_562, 875, 202),
    "2022-11-10": (23_608, 879, 231),
    "2022-11-11": (23_582, 881, 201),
    "2022-11-14": (23_540, 839, 201),
    "2022-11-28": (22_581, 868, 204),
}
FUTURES = {"MCX": 1256, "RELIND": 1524, "TCS": 1309, "TRENT": 1446}


def candles(name):
    return read_candles(DATA / f"nse-1min/{name}.csv.gz", INSTRUMENT)


@pytest.mark.parametrize("name", CANDLES)
def test_candles(name):
    rows, days, without_volume, seconds = CANDLES[name]
    series = candles(name)

    assert (len(series), len(series.days()), list(series.volume).count(0)) == (rows, days, without_volume)
    assert (series.interval, series.dropped) == (timedelta(seconds=seconds), ())
    assert all(candle.low <= candle.close <= candle.high for candle in series)


def test_saturdays():
    saturdays = [day for name in CANDLES for day in candles(name).days() if day.weekday() == 5]

    assert sorted(set(saturdays)) == [date(2020, 2, 1), date(2024, 1, 20), date(2024, 3, 2)]


def test_index_runs_on_after_the_close_until_it_is_cut():
    series = candles("NIFTY50-INDEX_1min_2024-01_2024-04")
    rows = [candle.start.date() for candle in series]
    session = series.between(OPEN, CLOSE)

    assert (rows.count(date(2024, 1, 20)), rows.count(date(2024, 3, 2))) == (542, 105)
    assert [candle.start.date() for candle in session].count(date(2024, 1, 20)) == 375
    assert len(series) - len(session) == 542 - 375


def test_every_candle_file_is_known():
    assert {path.name.removesuffix(".csv.gz") for path in DATA.glob("nse-1min/*.gz")} == set(CANDLES)


@pytest.mark.parametrize("day", INDEX_TICKS)
def test_ticks_of_the_index(day):
    rows, before, after = INDEX_TICKS[day]
    series = read_ticks(DATA / f"nse-ticks/NIFTY50-INDEX_1s_{day}.csv.gz", INSTRUMENT)

    assert (len(series), series.late, series.days()) == (rows, 0, [date.fromisoformat(day)])
    assert len(series.between(time(0), OPEN)) == before
    assert len(series.between(CLOSE, time(23))) == after
    assert {tick.volume for tick in series} == {0}


@pytest.mark.parametrize("symbol", FUTURES)
def test_ticks_of_futures(symbol):
    path = DATA / "nse-ticks/NFO-FUT_MCX-RELIND-TCS-TRENT_ticks_2025-11-17.csv.gz"
    series = read_ticks(path, INSTRUMENT, symbol=symbol)

    assert len(series) == FUTURES[symbol]
    assert series.late > 0
    assert list(series.at_us) == sorted(series.at_us)
    assert list(series.volume) == sorted(series.volume)
    assert all(tick.bid is not None and tick.ask is not None and tick.bid <= tick.ask for tick in series)


def test_symbol_must_be_said_where_there_are_several():
    path = DATA / "nse-ticks/NFO-FUT_MCX-RELIND-TCS-TRENT_ticks_2025-11-17.csv.gz"

    with pytest.raises(BadMarketData, match="one of MCX, RELIND, TCS, TRENT"):
        read_ticks(path, INSTRUMENT)
