"""Files of market data: read alike whatever their format, and what is wrong is told by path and line."""

import gzip
import sys
import time as clock
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas
import polars
import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pulse_domain.backtest.files import read_candles, read_ticks
from pulse_domain.backtest.series import CandleSeries, Dropped, TickSeries
from pulse_domain.errors import BadMarketData, MissingExtra, PulseError
from pulse_domain.instruments import Instrument
from pulse_domain.units import INDIA

TCS = Instrument.parse("NSE:TCS")
NIFTY = Instrument.parse("NSE:NIFTY50")
MINUTE = timedelta(minutes=1)
KOLKATA = ZoneInfo("Asia/Kolkata")
HEADER = "timestamp,open,high,low,close,volume\n"
FIRST = "2024-01-19T09:15:00+05:30,100,101,99,100.5,500\n"
SECOND = "2024-01-19T09:16:00+05:30,100.5,102,100,101,700\n"
THIRD = "2024-01-19T09:17:00+05:30,101.0,101.0,100.05,100.05,0\n"
STARTS = [datetime(2024, 1, 19, 9, 15 + i, tzinfo=INDIA) for i in range(3)]
NUMBERS: dict[str, list[Any]] = {
    "open": [100.0, 100.5, 101.0],
    "high": [101.0, 102.0, 101.0],
    "low": [99.0, 100.0, 100.05],
    "close": [100.5, 101.0, 100.05],
    "volume": [500, 700, 0],
}
CANDLES = CandleSeries.from_columns(TCS, STARTS, *NUMBERS.values())
TICKS = "timestamp,symbol,price,day_volume,quote_a_price,quote_b_price\n"


@pytest.fixture
def written(tmp_path):
    def write(*lines: str, name: str = "a.csv") -> Path:
        path = tmp_path / name
        text = "".join(lines).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    return write


class TestCsv:
    @pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "A.CSV", "a.b.csv.gz"])
    def test_candles(self, written, name):
        path = written(HEADER, FIRST, SECOND, THIRD, name=name)

        assert read_candles(path, TCS) == read_candles(str(path), TCS) == CANDLES

    def test_columns_in_any_order_byte_order_mark_and_blank_lines(self, written):
        path = written(
            "\ufeffVolume, low,Timestamp,OPEN,high,close,oi\r\n\r\n",
            "500,99,2024-01-19T09:15:00+05:30,100,101,100.5,7\r\n\r\n",
            '700.0,"100", 2024-01-19 09:16:00+05:30 ,1005e-1,102.00,101.,\r\n',
            "0,100.0500,2024-01-19T03:47:00Z,101,101,100.05000,x\r\n",
        )

        assert read_candles(path, TCS) == CANDLES

    def test_volume_may_be_left_out(self, written):
        path = written(*(line.rpartition(",")[0] + "\n" for line in (HEADER, FIRST, SECOND, THIRD)))

        assert list(read_candles(path, TCS).volume) == [0, 0, 0]

    @pytest.mark.parametrize("zone", [INDIA, KOLKATA])
    @pytest.mark.parametrize("gap", ["T", " "])
    def test_times_without_an_offset(self, written, zone, gap):
        path = written(
            *(line.replace("+05:30", "").replace("T", gap) for line in (HEADER, FIRST, SECOND, THIRD))
        )

        assert read_candles(path, TCS, zone=zone) == CANDLES
        with pytest.raises(BadMarketData, match=r"line 2 \(row 1\): timestamp .* has no offset from UTC"):
            read_candles(path, TCS)

    def test_times_that_have_an_offset_keep_it(self, written):
        path = written(HEADER, FIRST, SECOND.replace("+05:30", ""), THIRD)

        assert read_candles(path, TCS, zone=INDIA) == CANDLES

    def test_a_zone_that_changes_its_clocks(self, written):
        hours = ("2024-03-31 00:00", "2024-03-31 01:00", "2024-03-31 03:00", "2024-04-01 00:00")
        path = written("date,open,high,low,close\n", *(f"{hour},1,1,1,1\n" for hour in hours))

        series = read_candles(path, TCS, zone=ZoneInfo("Europe/Berlin"))

        assert [(us - series.start_us[0]) // 3_600_000_000 for us in series.start_us] == [0, 1, 2, 23]

    def test_days_and_microseconds(self, written):
        days = written("date,open,high,low,close\n", "20240118,1,1,1,1\n", "2024-01-19,1,1,1,1\n")
        numbers = written("start,open,high,low,close\n", "1705635900000000,1,1,1,1\n", name="b.csv")

        assert read_candles(days, TCS, zone=INDIA).interval == timedelta(days=1)
        assert read_candles(numbers, TCS, interval=MINUTE)[0].start == STARTS[0]

    def test_what_floats_leave_behind(self, written):
        path = written(HEADER, "2024-01-19T09:15:00+05:30,100.05000000000001,101,99,100.49999999999999,0\n")

        series = read_candles(path, TCS, interval=MINUTE)

        assert (series.open[0], series.close[0]) == (1_000_500, 1_005_000)

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            (FIRST, "timestamp 2024-01-19 09:15:00+05:30 is there twice"),
            (FIRST.replace("15:00", "14:00"), "2024-01-19 09:14:00+05:30 is earlier than the row before"),
            ("yesterday,100,101,99,100,5\n", "timestamp 'yesterday' is not a time such as "),
            ("2024-13-19T09:16:00+05:30,100,101,99,100,5\n", "is not a time such as "),
            ("1705635960,100,101,99,100,5\n", "timestamp 1705635960 is not between 1980 and 2200"),
            ("9999-12-31T09:16:00+05:30,100,101,99,100,5\n", "is not between 1980 and 2200"),
            (",100,101,99,100,5\n", "timestamp is missing"),
            (SECOND.replace("+05:30", ""), "2024-01-19 09:16:00 has no offset from UTC: give its zone"),
            (SECOND.replace("102", "99"), "high 99 is below low 100"),
            (SECOND.replace("100.5", "102.05"), "open 102.05 is outside 100 to 102"),
            (SECOND.replace("101,", "99.9999,"), "close 99.9999 is outside 100 to 102"),
            (SECOND.replace("100.5", "nan"), "open is not a number"),
            (SECOND.replace("100.5", "inf"), "open is inf"),
            (SECOND.replace("100.5", "1e400"), "open is inf"),
            (SECOND.replace("100.5", ""), "open is missing"),
            (SECOND.replace("100.5", "1,005"), "7 cells for 6 columns"),
            (SECOND.replace("100.5", '"1,005"'), "open '1,005' is not a number"),
            (SECOND.replace("100.5", "100.50001"), "open 100.50001 is finer than a ten-thousandth of a rupee"),
            (SECOND.replace("100,", "0,"), "low 0.0 is not above 0"),
            (SECOND.replace("100,", "-100,"), "low -100.0 is not above 0"),
            (SECOND.replace("100,", "-0.5,"), "low -0.5 is not above 0"),
            (SECOND.replace("102", "100000001"), "high 100000001.0 is not at most 100000000"),
            (SECOND.replace("700", "-7"), "volume -7.0 is not a whole number from 0 on"),
            (SECOND.replace("700", "0.7"), "volume 0.7 is not a whole number from 0 on"),
            (SECOND.replace("700", "7e99"), "is not a whole number from 0 on"),
            (SECOND.replace("700", "many"), "volume 'many' is not a number"),
            (SECOND.replace("700", ""), "volume is missing"),
            ("2024-01-19T09:16:00+05:30,100,101\n", "3 cells for 6 columns"),
        ],
    )  # fmt: skip
    def test_defects_are_told_by_row_and_line_or_left_out(self, written, row, reason):
        path = written(HEADER, "\n", FIRST, row, THIRD)

        with pytest.raises(BadMarketData) as caught:
            read_candles(path, TCS)
        assert caught.value.message.startswith(f"{path} line 4 (row 2): ")
        assert reason in caught.value.message
        assert "\n" not in caught.value.message
        details = caught.value.details
        assert (details["path"], details["row"], details["line"]) == (str(path), 2, 4)
        assert details["reason"] in caught.value.message

        series = read_candles(path, TCS, interval=MINUTE, defects="drop")
        assert [candle.start for candle in series] == [STARTS[0], STARTS[2]]
        assert series.dropped == (Dropped(2, details["reason"]),)

    def test_line_of_a_row_below_one_of_two_lines(self, written):
        path = written(
            HEADER.replace("\n", ",note\n"), FIRST.replace("\n", ',"a\nb"\n'), FIRST.replace("\n", ",\n")
        )

        with pytest.raises(BadMarketData, match=r"line 4 \(row 2\): timestamp .* is there twice"):
            read_candles(path, TCS)

    def test_first_defect_is_told_whatever_its_kind(self, written):
        path = written(HEADER, FIRST, FIRST, "1,2\n")
        other = written(HEADER, "1,2\n", FIRST, FIRST, name="b.csv")

        with pytest.raises(BadMarketData, match=r"\(row 2\)"):
            read_candles(path, TCS)
        with pytest.raises(BadMarketData, match=r"\(row 1\)"):
            read_candles(other, TCS)

    def test_nothing_left(self, written):
        path = written(HEADER, "1,2\n", FIRST.replace("+05:30", ""))

        with pytest.raises(BadMarketData, match=r"line 2 \(row 1\): 2 cells for 6 columns"):
            read_candles(path, TCS, defects="drop")

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("", "the file is empty"),
            (HEADER, "there is a header and nothing more"),
            (HEADER + "\n\n", "there is a header and nothing more"),
            ("timestamp,open,high,low,volume\n" + FIRST, "column close is missing"),
            ("open,high,low,close\n1,1,1,1\n", "column timestamp is missing"),
            (FIRST + SECOND, "column timestamp is missing"),
            (HEADER.replace("volume", "close") + FIRST, "column close is there twice"),
            (HEADER + FIRST, "one candle does not tell how long it lasts: give the interval"),
        ],
    )
    def test_files_without_rows_or_columns(self, written, text, problem):
        path = written(text)

        with pytest.raises(BadMarketData) as caught:
            read_candles(path, TCS)
        assert caught.value.message.startswith(f"{path}: ")
        assert problem in caught.value.message
        assert caught.value.details["path"] == str(path)

    def test_unreadable_files(self, tmp_path):
        whole = (HEADER + FIRST).encode()
        (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(whole)[:-9])
        (tmp_path / "spoiled.csv.gz").write_bytes(gzip.compress(whole)[:20] + b"x" * 50)
        (tmp_path / "plain.csv.gz").write_bytes(whole)
        (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\xff\xfe")
        (tmp_path / "folder.csv").mkdir()
        (tmp_path / "text.parquet").write_bytes(whole)
        (tmp_path / "a.xlsx").write_bytes(whole)

        for name in ("cut.csv.gz", "spoiled.csv.gz", "plain.csv.gz", "latin.csv", "folder.csv", "absent.csv",
                     "text.parquet", "absent.parquet", "a.xlsx"):  # fmt: skip
            with pytest.raises(BadMarketData, match=name) as caught:
                read_candles(tmp_path / name, TCS)
            assert "\n" not in caught.value.message
            assert caught.value.details["path"] == str(tmp_path / name)


class TestTicks:
    def test_several_symbols(self, written):
        path = written(
            TICKS,
            "2024-01-19T09:15:00.25+05:30,INFY,1500,10.0,1499.5,1500.5\n",
            "2024-01-19T09:15:02+05:30,TCS,100,20.0,99.95,100.05\n",
            "2024-01-19T09:15:01+05:30,TCS,100.05,15.0,0,\n",
        )
        tcs = TickSeries.from_columns(
            TCS, [STARTS[0] + timedelta(seconds=2)] * 2, [100, 100.05], [99.95, 0], [100.05, 0], [20, 20]
        )

        assert read_ticks(path, TCS) == read_ticks(path, TCS, symbol="TCS") == tcs
        assert read_ticks(path, TCS).late == 1
        assert read_ticks(path, NIFTY, symbol="INFY")[0].at.microsecond == 250_000
        for symbol, told in (("MCX", "no row is of MCX"), (None, "no row is of NIFTY50")):
            with pytest.raises(BadMarketData, match=f"{told}; say the symbol, one of INFY, TCS"):
                read_ticks(path, NIFTY, symbol=symbol)

    def test_one_symbol_is_taken_whatever_its_name(self, written):
        path = written("timestamp,symbol,price,volume\n", "2024-01-19T09:15:00+05:30,NIFTY 50,21700.05,0\n")

        assert read_ticks(path, NIFTY)[0].price == Decimal("21700.05")
        with pytest.raises(BadMarketData, match="no row is of NIFTY; say the symbol, one of NIFTY 50"):
            read_ticks(path, NIFTY, symbol="NIFTY")

    def test_file_that_names_no_symbol(self, written):
        path = written("timestamp,price\n", "2024-01-19T09:15:00+05:30,100\n")

        tick = read_ticks(path, TCS)[0]

        assert (tick.instrument, tick.bid, tick.ask, tick.volume) == (TCS, None, None, 0)
        with pytest.raises(BadMarketData, match="column symbol is missing"):
            read_ticks(path, TCS, symbol="TCS")

    def test_many_symbols_are_not_all_listed(self, written):
        path = written("timestamp,symbol,price\n", *(f"2024-01-19T09:15:00+05:30,S{i},1\n" for i in range(40)))

        with pytest.raises(BadMarketData, match=r"one of S0, S1, S10, (S1\d, ){7}\.\.\.$"):
            read_ticks(path, TCS)

    def test_defects_are_told_by_the_rows_of_the_file(self, written):
        path = written(
            TICKS,
            "2024-01-19T09:15:00+05:30,INFY,0,10,,\n",
            "2024-01-19T09:15:00+05:30,TCS,100,20,,\n",
            "2024-01-19T09:15:00+05:30,TCS\n",
            "2024-01-19T09:15:00+05:30,TCS,100,20,101,100\n",
            "2024-01-19T09:15:00+05:30,TCS,100,20,-1,x\n",
        )

        with pytest.raises(BadMarketData, match=r"line 4 \(row 3\): 2 cells for 6 columns"):
            read_ticks(path, TCS)
        series = read_ticks(path, TCS, defects="drop")
        assert len(series) == 1
        assert series.dropped == (
            Dropped(3, "2 cells for 6 columns"),
            Dropped(4, "bid 101 is above ask 100"),
            Dropped(5, "quote_a_price -1.0 is not above 0"),
        )


class TestParquet:
    def test_of_pandas_with_and_without_an_index(self, tmp_path):
        frame = pandas.DataFrame({"timestamp": STARTS, **NUMBERS, "oi": 5})

        for i, one in enumerate(
            (frame, frame.set_index("timestamp"), frame.set_index("timestamp").rename_axis(None))
        ):
            one.to_parquet(tmp_path / f"{i}.parquet")
            assert read_candles(tmp_path / f"{i}.parquet", TCS) == CANDLES

    @pytest.mark.parametrize("unit", ["ms", "us", "ns"])
    def test_times_of_polars(self, tmp_path, unit):
        start = polars.col("timestamp").dt.cast_time_unit(unit)
        frame = polars.DataFrame({"timestamp": STARTS, **NUMBERS}).with_columns(start)
        frame.write_parquet(tmp_path / "aware.parquet")
        frame.with_columns(start.dt.replace_time_zone(None)).write_parquet(tmp_path / "naive.parquet")

        assert read_candles(tmp_path / "aware.parquet", TCS) == CANDLES
        for zone in (UTC, ZoneInfo("UTC")):
            assert read_candles(tmp_path / "naive.parquet", TCS, zone=zone) == CANDLES
        with pytest.raises(BadMarketData, match=r"naive.parquet row 1: timestamp .* has no offset from UTC"):
            read_candles(tmp_path / "naive.parquet", TCS)

    def test_decimals_and_short_numbers(self, tmp_path):
        prices = {
            name: pyarrow.array([Decimal(str(cell)) for cell in NUMBERS[name]], pyarrow.decimal128(12, 4))
            for name in ("open", "high", "low", "close")
        }
        volume = pyarrow.array(NUMBERS["volume"], pyarrow.uint16())
        start = pyarrow.array(STARTS, pyarrow.timestamp("s", "Asia/Kolkata"))
        parquet.write_table(pyarrow.table({"Start": start, **prices, "volume": volume}), tmp_path / "a.parquet")

        assert read_candles(tmp_path / "a.parquet", TCS) == CANDLES

    def test_defects(self, tmp_path):
        path = tmp_path / "a.parquet"
        frame = pandas.DataFrame(
            {"timestamp": [*STARTS, None], **{name: [*cells, 1] for name, cells in NUMBERS.items()}}
        )
        frame.loc[1, "open"] = None
        frame.to_parquet(path)

        with pytest.raises(BadMarketData) as caught:
            read_candles(path, TCS)
        assert caught.value.message == f"{path} row 2: open is not a number"
        assert caught.value.details == {
            "path": str(path), "row": 2, "field": "open", "reason": "open is not a number",
        }  # fmt: skip
        series = read_candles(path, TCS, defects="drop")
        assert series.dropped == (Dropped(2, "open is not a number"), Dropped(4, "timestamp is missing"))

    def test_ticks_of_several_symbols(self, tmp_path):
        columns = {
            "timestamp": [STARTS[1], STARTS[0], STARTS[0]], "symbol": ["TCS", "INFY", "TCS"],
            "price": [100.0, 0.0, 100.05], "day_volume": [5.0, None, 4.0], "bid": [None, 1.0, 100.0],
        }  # fmt: skip
        frame = pandas.DataFrame(columns)
        frame["symbol"] = frame["symbol"].astype("category")
        frame.to_parquet(tmp_path / "a.parquet")

        series = read_ticks(tmp_path / "a.parquet", TCS)

        assert series == TickSeries.from_columns(TCS, [STARTS[1]] * 2, [100, 100.05], [0, 100], [0, 0], [5, 5])
        with pytest.raises(BadMarketData, match=r"row 2: price 0\.0 is not above 0"):
            read_ticks(tmp_path / "a.parquet", TCS, symbol="INFY")

    def test_without_rows_or_columns(self, tmp_path):
        frame = pandas.DataFrame({"timestamp": STARTS, **NUMBERS})
        frame[:0].to_parquet(tmp_path / "rows.parquet")
        frame.drop(columns="low").to_parquet(tmp_path / "columns.parquet")

        with pytest.raises(BadMarketData, match="there are columns and no rows"):
            read_candles(tmp_path / "rows.parquet", TCS)
        with pytest.raises(BadMarketData, match="column low is missing"):
            read_candles(tmp_path / "columns.parquet", TCS)

    def test_without_pyarrow(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)

        with pytest.raises(MissingExtra, match=r'pip install "pulse-domain\[parquet\]"') as caught:
            read_candles(tmp_path / "a.parquet", TCS)
        assert isinstance(caught.value, PulseError)
        assert caught.value.details == {"package": "pyarrow", "extra": "parquet"}

    def test_without_numpy(self, tmp_path, monkeypatch):
        path = tmp_path / "a.parquet"
        polars.DataFrame({"timestamp": STARTS, **NUMBERS}).write_parquet(path)
        monkeypatch.setitem(sys.modules, "numpy", None)

        assert read_candles(path, TCS) == CANDLES


prices = st.integers(1, 10**12).map(lambda units: Decimal(units).scaleb(-4))
texts = prices.flatmap(
    lambda price: st.sampled_from([
        f"{price}", f" {price:f} ", f"{price.normalize():f}", f"{price:e}", f"{price}000", f"+{price}",
        f"0{price}",
    ])
)  # fmt: skip


@given(st.lists(texts, min_size=1, max_size=5))
def test_prices_are_read_as_they_are_written(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("files") / "a.csv"
    rows = [f"2024-01-19T09:{15 + i}:00+05:30,{text},{text},{text},{text},0\n" for i, text in enumerate(cells)]
    path.write_text(HEADER + "".join(rows))

    series = read_candles(path, TCS, interval=MINUTE)

    assert [Decimal(units) for units in series.open] == [Decimal(text.strip()) * 10_000 for text in cells]


@given(st.lists(st.tuples(st.datetimes(datetime(1981, 1, 1), datetime(2199, 1, 1)), st.sampled_from(
    ["Asia/Kolkata", "UTC", "America/New_York", "Australia/Lord_Howe"])), min_size=1, max_size=5))  # fmt: skip
def test_times_are_read_as_they_are_written(tmp_path_factory, times):
    path = tmp_path_factory.mktemp("files") / "a.csv"
    zone = ZoneInfo(times[0][1])
    aware = [at.replace(tzinfo=ZoneInfo(name)) for at, name in times]
    one_zone = [at.replace(tzinfo=zone) for at, _ in times]

    for texts, wanted in (
        ([str(at) for at in aware], aware),
        ([at.isoformat() for at, _ in times], one_zone),
    ):
        path.write_text("timestamp,price\n" + "".join(f"{text},1\n" for text in texts))
        series = read_ticks(path, TCS, zone=zone)
        assert series == TickSeries.from_columns(TCS, wanted, [1] * len(wanted))


def test_ten_thousand_rows_take_a_few_hundredths_of_a_second(written):
    start = datetime(2024, 1, 19, 9, 15, tzinfo=INDIA)
    rows = [
        f"{(start + i * MINUTE).isoformat()},{i * 0.05 + 100:.2f},{i + 200},{i % 90 + 1}.5,100,{i}\n"
        for i in range(10_000)
    ]
    path = written(HEADER, *rows)

    def run() -> float:
        began = clock.perf_counter()
        read_candles(path, TCS, defects="drop")
        return clock.perf_counter() - began

    assert min(run() for _ in range(5)) < 0.3
