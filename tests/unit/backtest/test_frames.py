"""Frames of pandas and polars hold the same data as columns do."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas
import polars
import pytest

from pulse_domain.backtest.series import CandleSeries, TickSeries
from pulse_domain.errors import BadMarketData
from pulse_domain.instruments import Instrument
from pulse_domain.units import INDIA

TCS = Instrument.parse("NSE:TCS")
KOLKATA = ZoneInfo("Asia/Kolkata")
STARTS = [datetime(2024, 1, 19, 9, 15 + i, tzinfo=INDIA) for i in range(4)]
NUMBERS: dict[str, list[Any]] = {
    "open": [100.0, 100.5, 101.0, 100.05],
    "high": [101.0, 102.0, 101.0, 100.1],
    "low": [99.0, 100.0, 100.05, 100.05],
    "close": [100.5, 101.0, 100.05, 100.1],
    "volume": [500, 700, 0, 20],
}
TICKS: dict[str, list[Any]] = {
    "price": [100.0, 100.05, 100.1, 100.1],
    "bid": [99.95, None, 0.0, 100.05],
    "ask": [100.05, 100.1, None, 0.0],
    "volume": [0, 10, 10, 15],
}
CANDLES = CandleSeries.from_columns(TCS, STARTS, *NUMBERS.values())


def pandas_frame(unit: str = "us", **more: Any) -> pandas.DataFrame:
    starts = pandas.Series(STARTS).dt.tz_convert("Asia/Kolkata").dt.as_unit(unit)
    return pandas.DataFrame({"timestamp": starts, **NUMBERS, **more})


def polars_frame(unit: Any = "us", **more: Any) -> polars.DataFrame:
    start = polars.col("timestamp").dt.convert_time_zone("Asia/Kolkata").dt.cast_time_unit(unit)
    return polars.DataFrame({"timestamp": STARTS, **NUMBERS, **more}).with_columns(start)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
class TestTimesOfPandas:
    def test_column(self, unit):
        assert CandleSeries.from_frame(TCS, pandas_frame(unit)) == CANDLES

    def test_index(self, unit):
        assert CandleSeries.from_frame(TCS, pandas_frame(unit).set_index("timestamp")) == CANDLES

    def test_index_before_columns_of_times(self, unit):
        frame = pandas_frame(unit, date="2024-01-19").set_index("timestamp").rename_axis(None)

        assert CandleSeries.from_frame(TCS, frame) == CANDLES

    @pytest.mark.parametrize("zone", [INDIA, KOLKATA])
    def test_without_a_zone(self, unit, zone):
        frame = pandas_frame(unit)
        frame["timestamp"] = frame["timestamp"].dt.tz_localize(None)

        assert CandleSeries.from_frame(TCS, frame, zone=zone) == CANDLES
        assert CandleSeries.from_frame(TCS, frame.set_index("timestamp"), zone=zone) == CANDLES
        with pytest.raises(BadMarketData, match="row 1: start 2024-01-19 09:15:00 has no offset from UTC"):
            CandleSeries.from_frame(TCS, frame)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
class TestTimesOfPolars:
    def test_column(self, unit):
        assert CandleSeries.from_frame(TCS, polars_frame(unit)) == CANDLES

    @pytest.mark.parametrize("zone", [INDIA, KOLKATA])
    def test_without_a_zone(self, unit, zone):
        frame = polars_frame(unit).with_columns(polars.col("timestamp").dt.replace_time_zone(None))

        assert CandleSeries.from_frame(TCS, frame, zone=zone) == CANDLES
        with pytest.raises(BadMarketData, match="row 1: start 2024-01-19 09:15:00 has no offset from UTC"):
            CandleSeries.from_frame(TCS, frame)


@pytest.mark.parametrize("backend", ["numpy_nullable", "pyarrow"])
def test_other_types_of_pandas(backend):
    frame = pandas_frame().convert_dtypes(dtype_backend=backend)

    assert CandleSeries.from_frame(TCS, frame) == CANDLES
    frame.loc[2, "open"] = pandas.NA
    with pytest.raises(BadMarketData, match="row 3: open is "):
        CandleSeries.from_frame(TCS, frame)


def test_decimals_of_pandas():
    frame = pandas_frame()
    frame["close"] = pandas.Series([Decimal(str(cell)) for cell in NUMBERS["close"]], dtype=object)

    assert CandleSeries.from_frame(TCS, frame) == CANDLES


def test_decimals_and_short_floats_of_polars():
    frame = polars_frame().with_columns(
        polars.col("open").cast(polars.Decimal(12, 4)), polars.col("high").cast(polars.Float32),
        polars.col("volume").cast(polars.UInt32),
    )  # fmt: skip

    assert CandleSeries.from_frame(TCS, frame) == CANDLES


def test_days():
    days = [date(2024, 1, 16 + i) for i in range(4)]
    by_day = CandleSeries.from_columns(TCS, days, *NUMBERS.values(), zone=INDIA)

    assert CandleSeries.from_frame(TCS, polars.DataFrame({"date": days, **NUMBERS}), zone=INDIA) == by_day
    assert CandleSeries.from_frame(TCS, pandas.DataFrame({"date": days, **NUMBERS}), zone=INDIA) == by_day
    frame = pandas.DataFrame({"date": pandas.to_datetime(pandas.Series(days)), **NUMBERS})
    assert CandleSeries.from_frame(TCS, frame, zone=INDIA) == by_day


@pytest.mark.parametrize("frame", [pandas_frame(oi=7), polars_frame(oi=7)], ids=["pandas", "polars"])
class TestColumns:
    def test_case_and_further_columns_do_not_matter(self, frame):
        names = {"open": "Open", "high": "HIGH", "timestamp": "Datetime", "volume": "Volume"}
        renamed = frame.rename(names) if isinstance(frame, polars.DataFrame) else frame.rename(columns=names)

        assert CandleSeries.from_frame(TCS, renamed) == CANDLES

    def test_names_of_the_callers_own(self, frame):
        names = {"timestamp": "begins", "close": "ltp"}
        renamed = frame.rename(names) if isinstance(frame, polars.DataFrame) else frame.rename(columns=names)

        assert CandleSeries.from_frame(TCS, renamed, columns={"start": "begins", "close": "ltp"}) == CANDLES
        for columns, missing in (({"start": "begins"}, "close"), ({"close": "ltp"}, "start")):
            with pytest.raises(BadMarketData, match=f"column {missing} is missing"):
                CandleSeries.from_frame(TCS, renamed, columns=columns)
        with pytest.raises(BadMarketData, match="column last is missing") as caught:
            CandleSeries.from_frame(TCS, renamed, columns={"close": "last"})
        assert caught.value.details == {"field": "close"}

    def test_volume_may_be_left_out(self, frame):
        without = frame[["timestamp", "open", "high", "low", "close"]]

        assert list(CandleSeries.from_frame(TCS, without).volume) == [0, 0, 0, 0]

    def test_columns_of_it(self, frame):
        given = [frame[name] for name in ("timestamp", *NUMBERS)]

        assert CandleSeries.from_columns(TCS, *given) == CANDLES

    def test_defects_are_left_out(self, frame):
        both = [frame[:3], frame[1:]]
        twice: Any = polars.concat(both) if isinstance(frame, polars.DataFrame) else pandas.concat(both)

        series = CandleSeries.from_frame(TCS, twice, defects="drop")

        assert series == CANDLES
        assert [dropped.row for dropped in series.dropped] == [4, 5]


@pytest.mark.parametrize("how", [{"interval": timedelta(minutes=5)}, {"interval": timedelta(minutes=1)}])
def test_interval(how):
    assert CandleSeries.from_frame(TCS, polars_frame(), **how).interval == how["interval"]


def test_missing_cells():
    pandas_one, polars_one = pandas_frame(), polars_frame()
    pandas_one.loc[1, "timestamp"] = pandas.NaT
    third = polars.col("open") == 101.0
    polars_one = polars_one.with_columns(polars.when(~third).then(polars.col("timestamp")))
    without_volume = polars_frame().with_columns(polars.when(~third).then(polars.col("volume")))

    for frame, told in (
        (pandas_one, "row 2: start is missing"),
        (polars_one, "row 3: start is missing"),
        (without_volume, "row 3: volume is not a number"),
    ):
        with pytest.raises(BadMarketData, match=told):
            CandleSeries.from_frame(TCS, frame)


def test_times_that_are_text():
    frame = pandas_frame()
    frame["timestamp"] = frame["timestamp"].astype(str)

    with pytest.raises(BadMarketData, match=r"row 1: start '2024.*' is neither a datetime nor a whole number"):
        CandleSeries.from_frame(TCS, frame)


def test_column_that_is_there_twice():
    frame = pandas_frame()
    frame.columns = ["timestamp", "open", "high", "low", "close", "close"]

    with pytest.raises(BadMarketData, match="column close is there twice"):
        CandleSeries.from_frame(TCS, frame)


def test_what_is_no_frame():
    with pytest.raises(TypeError, match="a frame of pandas or polars is needed, not list"):
        CandleSeries.from_frame(TCS, [])


@pytest.mark.parametrize("frame_of", [pandas.DataFrame, polars.DataFrame])
class TestTicks:
    def test_all_columns(self, frame_of):
        series = TickSeries.from_frame(TCS, frame_of({"timestamp": STARTS, **TICKS}))

        assert series == TickSeries.from_columns(TCS, STARTS, *TICKS.values())
        assert (list(series.bid), list(series.ask)) == (
            [999_500, 0, 0, 1_000_500], [1_000_500, 1_001_000, 0, 0],
        )  # fmt: skip

    def test_price_alone(self, frame_of):
        frame = frame_of({"time": STARTS, "LTP": TICKS["price"]})

        assert TickSeries.from_frame(TCS, frame, columns={"price": "LTP"}) == TickSeries.from_columns(
            TCS, STARTS, TICKS["price"]
        )

    def test_volume_of_the_day(self, frame_of):
        frame = frame_of({"at": STARTS, "price": TICKS["price"], "last_qty": 1, "day_volume": TICKS["volume"]})

        assert list(TickSeries.from_frame(TCS, frame).volume) == TICKS["volume"]

    def test_late_rows_and_defects(self, frame_of):
        frame = frame_of({"at": [STARTS[1], STARTS[0], STARTS[2]], "price": [100.0, 100.0, -1.0]})

        series = TickSeries.from_frame(TCS, frame, defects="drop")

        assert (len(series), series.late, [dropped.row for dropped in series.dropped]) == (2, 1, [3])


def test_polars_does_without_numpy():
    program = f"""
import sys
sys.modules["numpy"] = None
import polars
from datetime import datetime
from pulse_domain.backtest.series import CandleSeries
from pulse_domain.instruments import Instrument
starts = [datetime.fromisoformat(text) for text in {[str(at.astimezone(UTC)) for at in STARTS]}]
frame = polars.DataFrame({{"timestamp": starts, **{NUMBERS}}})
series = CandleSeries.from_frame(Instrument.parse("NSE:TCS"), frame)
print(list(series.start_us) == {list(CANDLES.start_us)}, list(series.close), series.interval_us)
"""

    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == (
        f"True {list(CANDLES.close)} 60000000"
    )
