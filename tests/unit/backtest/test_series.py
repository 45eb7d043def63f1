"""Market data of one instrument: what goes in comes out, and defects are told by row and reason."""

import copy
import pickle
import subprocess
import sys
import time as clock
from array import array
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy
import pytest
from msgspec.structs import replace

from pulse_domain.backtest.series import CandleSeries, Dropped, TickSeries
from pulse_domain.errors import BadMarketData
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Candle, Tick
from pulse_domain.units import INDIA, to_us

TCS = Instrument.parse("NSE:TCS")
INFY = Instrument.parse("NSE:INFY")
MINUTE = timedelta(minutes=1)
MINUTE_US = 60_000_000
OPENING = datetime(2024, 1, 19, 9, 15, tzinfo=INDIA)
OPENING_US = to_us(OPENING)
NAN = float("nan")

# start in minutes after the opening, open, high, low, close, volume
GOOD = [
    (0, 100.0, 101.0, 99.0, 100.5, 500),
    (1, 100.5, 102.0, 100.0, 101.0, 700),
    (2, 101.0, 101.0, 100.05, 100.05, 0),
    (3, 100.05, 100.1, 100.05, 100.1, 20),
]


def columns(rows) -> Any:
    start, *others = map(list, zip(*rows, strict=True))
    return [[OPENING_US + int(minute * MINUTE_US) for minute in start], *others]


def of_rows(rows, **how):
    return CandleSeries.from_columns(TCS, *columns(rows), **how)


def day(on: date, first: time, minutes: int, *, price: float = 100.0, volume: int = 10):
    """The rows of a session, one a minute."""
    begin = datetime.combine(on, first, INDIA)
    return [(begin + i * MINUTE, price, price, price, price, volume) for i in range(minutes)]


def of_days(*days, **how):
    return CandleSeries.from_columns(TCS, *zip(*(row for rows in days for row in rows), strict=True), **how)


def candle(minute: int, price: str = "100", **fields) -> Candle:
    at = Decimal(price)
    return replace(Candle(TCS, OPENING + minute * MINUTE, at, at, at, at), **fields)


def tick(second: float, price: str = "100", **fields) -> Tick:
    return replace(Tick(TCS, OPENING + timedelta(seconds=second), Decimal(price)), **fields)


class TestCandles:
    def test_columns_are_whole_numbers(self):
        series = of_rows(GOOD)

        assert series.instrument == TCS
        assert series.start_us == array("q", [OPENING_US + i * MINUTE_US for i in range(4)])
        assert series.open == array("q", [1_000_000, 1_005_000, 1_010_000, 1_000_500])
        assert series.high == array("q", [1_010_000, 1_020_000, 1_010_000, 1_001_000])
        assert series.low == array("q", [990_000, 1_000_000, 1_000_500, 1_000_500])
        assert series.close == array("q", [1_005_000, 1_010_000, 1_000_500, 1_001_000])
        assert series.volume == array("q", [500, 700, 0, 20])
        assert (series.interval_us, series.interval, series.dropped) == (MINUTE_US, MINUTE, ())

    def test_one_candle_of_it(self):
        series = of_rows(GOOD)

        assert series[1] == Candle(
            TCS, OPENING + MINUTE, Decimal("100.50"), Decimal("102.00"), Decimal("100.00"), Decimal("101.00"),
            700, OPENING + 2 * MINUTE,
        )  # fmt: skip
        assert series[-1] == series[3] == list(series)[3]
        assert series[1].start.utcoffset() == timedelta(hours=5, minutes=30)
        with pytest.raises(IndexError):
            series[4]

    def test_candles_in_bulk_are_those_one_by_one(self):
        minutes = [0, 1, 2, 375, 376, 376.5, 1440]
        series = of_rows([(minute, *GOOD[i % 4][1:]) for i, minute in enumerate(minutes)])

        for first in range(8):
            for last in range(first, 8):
                assert series.candles(first, last) == [series[i] for i in range(first, last)]
        assert list(series) == series.candles(0, 7)

    def test_candle_ends_after_the_interval_or_where_the_next_starts(self):
        series = of_rows([(minute, *GOOD[0][1:]) for minute in (0, 1, 1.25, 2, 60)], interval=MINUTE)

        lengths = [series.end_us(i) - series.start_us[i] for i in range(5)]

        assert lengths == [MINUTE_US, MINUTE_US // 4, MINUTE_US * 3 // 4, MINUTE_US, MINUTE_US]
        assert [candle.end - candle.start for candle in series] == [
            timedelta(microseconds=length) for length in lengths
        ]

    def test_interval_is_the_commonest_distance_and_the_shortest_of_equals(self):
        def interval(*minutes, **how):
            return of_rows([(minute, *GOOD[0][1:]) for minute in minutes], **how).interval

        assert interval(0, 5, 10, 11, 15, 20, 25) == 5 * MINUTE
        assert interval(0, 3, 5) == 2 * MINUTE
        assert interval(0, 5, 10, interval=MINUTE) == MINUTE

    def test_one_candle_needs_its_length(self):
        with pytest.raises(BadMarketData, match="give the interval"):
            of_rows(GOOD[:1])

        assert of_rows(GOOD[:1], interval=MINUTE)[0].end == OPENING + MINUTE
        assert CandleSeries.from_candles([candle(0, end=OPENING + 3 * MINUTE)]).interval == 3 * MINUTE

    @pytest.mark.parametrize("interval", [timedelta(), -MINUTE])
    def test_interval_is_longer_than_nothing(self, interval):
        with pytest.raises(BadMarketData, match="cannot last"):
            of_rows(GOOD, interval=interval)

    def test_equality_is_that_of_the_data(self):
        series = of_rows(GOOD)

        assert series == of_rows([*GOOD, GOOD[3]], defects="drop")
        assert series != of_rows(GOOD, interval=2 * MINUTE)
        assert series != of_rows(GOOD[:3])
        assert series != CandleSeries.from_columns(INFY, *columns(GOOD))
        assert series != list(series)

    def test_copies_and_pickles(self):
        series = of_rows(GOOD)
        list(series)

        assert pickle.loads(pickle.dumps(series)) == copy.deepcopy(series) == series

    def test_it_says_what_it_is(self):
        assert repr(of_rows(GOOD)) == (
            "<CandleSeries NSE:TCS: 4 rows from 2024-01-19 09:15:00+05:30 to 2024-01-19 09:18:00+05:30, "
            "each 0:01:00>"
        )

    def test_candles_of_two_instruments(self):
        with pytest.raises(BadMarketData, match="NSE:TCS row 2: it is of NSE:INFY") as caught:
            CandleSeries.from_candles([candle(0), candle(1, instrument=INFY)])

        assert caught.value.details["row"] == 2


class TestWhatColumnsMayBe:
    """The same data, written in other ways."""

    @pytest.mark.parametrize("written", [list, tuple, iter, numpy.array, lambda cells: array("d", cells)])
    def test_prices_of_any_kind_of_sequence(self, written):
        start, *prices, volume = columns(GOOD)
        given = [start, *map(written, prices), volume]

        assert CandleSeries.from_columns(TCS, *given) == of_rows(GOOD)

    @pytest.mark.parametrize(
        "written",
        [
            lambda cell: Decimal(str(cell)), lambda cell: Decimal(str(cell)) * 1, numpy.float64, numpy.float32,
            lambda cell: int(cell) if cell == int(cell) else cell,
        ],
    )  # fmt: skip
    def test_prices_of_any_number(self, written):
        start, *prices, volume = columns(GOOD)
        given = [start, *([written(cell) for cell in cells] for cells in prices), volume]

        assert CandleSeries.from_columns(TCS, *given) == of_rows(GOOD)

    @pytest.mark.parametrize("kind", ["float64", "float32", "int64", "int16", "uint8", "uint64", "object"])
    def test_prices_of_any_array(self, kind):
        rows = [(i, 100, 101, 99, 100, 200) for i in range(3)]
        start, *numbers = columns(rows)

        assert CandleSeries.from_columns(TCS, numpy.array(start), *(
            numpy.array(cells, kind) for cells in numbers
        )) == of_rows(rows)  # fmt: skip

    def test_short_floats_are_read_by_their_text(self):
        prices = numpy.array([48203.45, 0.1, 1234.9], "float32")
        start = numpy.array(columns(GOOD)[0][:3])

        series = CandleSeries.from_columns(TCS, start, prices, prices, prices, prices)

        assert list(series.open) == [482_034_500, 1_000, 12_349_000]

    def test_columns_in_steps_and_read_only(self):
        start, *numbers = (numpy.array(cells).repeat(2)[::2] for cells in columns(GOOD))
        start.flags.writeable = False

        assert CandleSeries.from_columns(TCS, start, *numbers) == of_rows(GOOD)

    def test_what_is_handed_in_stays_as_it_is(self):
        given = [numpy.array(cells) for cells in columns([*GOOD, GOOD[0]])]
        before = [cells.copy() for cells in given]

        series = CandleSeries.from_columns(TCS, *given, defects="drop")
        series.start_us[0] = 0

        assert all((cells == then).all() for cells, then in zip(given, before, strict=True))

    def test_cells_under_a_mask_are_missing(self):
        start, opened, *others = map(numpy.array, columns(GOOD))
        masked = numpy.ma.masked_array(opened, [False, False, True, False])

        with pytest.raises(BadMarketData, match="row 3: open is missing"):
            CandleSeries.from_columns(TCS, start, masked, *others)

    def test_a_column_is_not_a_table(self):
        start, opened, *others = map(numpy.array, columns(GOOD))

        with pytest.raises(BadMarketData, match=r"row 1: open \[100.0, 100.0\] is not a number"):
            CandleSeries.from_columns(TCS, start, numpy.stack([opened, opened], axis=1), *others)

    def test_volume_may_be_left_out(self):
        assert list(CandleSeries.from_columns(TCS, *columns(GOOD)[:5]).volume) == [0, 0, 0, 0]

    @pytest.mark.parametrize("zone", [INDIA, ZoneInfo("Asia/Kolkata")])
    def test_local_times_of_a_zone(self, zone):
        _, *others = columns(GOOD)
        local = [datetime(2024, 1, 19, 9, 15 + i) for i in range(4)]

        for way in (
            local,
            [at.replace(tzinfo=UTC) - timedelta(hours=5, minutes=30) for at in local],
            *(numpy.array(local, f"datetime64[{unit}]") for unit in ("ns", "us", "ms", "s", "m")),
        ):
            assert CandleSeries.from_columns(TCS, way, *others, zone=zone) == of_rows(GOOD)
            numbers = map(numpy.array, others)
            assert CandleSeries.from_columns(TCS, way, *numbers, zone=zone) == of_rows(GOOD)

    def test_days_as_starts(self):
        days = [date(2024, 1, 17), date(2024, 1, 18), date(2024, 1, 19)]
        others = columns(GOOD[:3])[1:]

        series = CandleSeries.from_columns(TCS, days, *others, zone=INDIA)

        assert (series.interval, series.days()) == (timedelta(days=1), days)
        assert series == CandleSeries.from_columns(
            TCS, numpy.array(days, "datetime64[D]"), *map(numpy.array, others), zone=INDIA
        )

    def test_a_zone_that_changes_its_clocks(self):
        zone = ZoneInfo("Europe/Berlin")
        local = [datetime(2024, 3, 31, hour) for hour in (0, 1, 3, 4)] + [datetime(2024, 4, 1)]
        numbers = [[100.0] * 5] * 4

        series = CandleSeries.from_columns(TCS, local, *numbers, zone=zone)

        assert [(series.start_us[i] - series.start_us[0]) // 3_600_000_000 for i in range(5)] == [
            0,
            1,
            2,
            3,
            23,
        ]
        assert series == CandleSeries.from_columns(
            TCS, numpy.array(local, "datetime64[s]"), *map(numpy.array, numbers), zone=zone
        )

    def test_floats_beside_the_grid_by_what_floats_lose(self):
        prices = [0.1 + 0.2, 4050.5499999999997, 1e6 / 3 * 3, 99_999_999.9999]

        series = CandleSeries.from_columns(TCS, columns(GOOD)[0], prices, prices, prices, prices)

        assert list(series.open) == [3_000, 40_505_500, 10_000_000_000, 999_999_999_999]


class TestDefects:
    """Each is told with its row, alike for lists and for arrays; or left out and listed."""

    BY_ROW = (
        ((2.5, NAN, 101, 99, 100, 0), "open", "open is not a number"),
        ((2.5, 100, float("inf"), 99, 100, 0), "high", "high is inf"),
        ((2.5, 100, 101, float("-inf"), 100, 0), "low", "low is -inf"),
        ((2.5, 100, 98, 99, 100, 0), "high", "high 98 is below low 99"),
        ((2.5, 102, 101, 99, 100, 0), "open", "open 102 is outside 99 to 101"),
        ((2.5, 100, 101, 99, 98.95, 0), "close", "close 98.95 is outside 99 to 101"),
        ((2.5, 100, 101, 0, 100, 0), "low", "low 0.0 is not above 0"),
        ((2.5, 100, 101, -1, 100, 0), "low", "low -1.0 is not above 0"),
        ((2.5, 100, 1e9, 99, 100, 0), "high", "high 1000000000.0 is not at most 100000000"),
        ((2.5, 100, 1e300, 99, 100, 0), "high", "high is 1e+300"),
        ((2.5, 100.00001, 101, 99, 100, 0), "open", "open 100.00001 is finer than a ten-thousandth of a rupee"),
        ((2.5, 100, 101, 99, 100, -1), "volume", "volume -1.0 is not a whole number from 0 on"),
        ((2.5, 100, 101, 99, 100, 0.5), "volume", "volume 0.5 is not a whole number from 0 on"),
        ((2.5, 100, 101, 99, 100, NAN), "volume", "volume is not a number"),
        ((2.5, 100, 101, 99, 100, 1e13), "volume", "volume 10000000000000.0 is not a whole number from 0 on"),
        ((2, 100, 101, 99, 100, 0), "start", "start 2024-01-19 09:17:00+05:30 is there twice"),
        ((1, 100, 101, 99, 100, 0), "start", "start 2024-01-19 09:16:00+05:30 is earlier than the row before"),
    )

    @pytest.mark.parametrize(("row", "field", "reason"), BY_ROW, ids=[reason for _, _, reason in BY_ROW])
    def test_of_a_row(self, row, field, reason):
        rows = [*GOOD[:3], tuple(map(float, row)), GOOD[3]]
        start, *numbers = columns(rows)
        start = [int(us) for us in start]
        numbers = [list(map(float, cells)) for cells in numbers]

        for way in ([start, *numbers], [numpy.array(start), *map(numpy.array, numbers)]):
            with pytest.raises(BadMarketData) as caught:
                CandleSeries.from_columns(TCS, *way)
            assert caught.value.message == f"NSE:TCS row 4: {reason}"
            assert caught.value.details == {"row": 4, "field": field, "reason": reason}

            series = CandleSeries.from_columns(TCS, *way, defects="drop")
            assert series == of_rows(GOOD)
            assert series.dropped == (Dropped(4, reason),)

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (None, "open is missing"),
            ("100", "open '100' is not a number"),
            (Decimal("NaN"), "open is not a number"),
            (Decimal("sNaN"), "open is not a number"),
            (Decimal("Infinity"), "open is Infinity"),
            (Decimal("100.00001"), "open 100.00001 is finer than a ten-thousandth of a rupee"),
            ([], "open [] is not a number"),
        ],
    )
    def test_prices_that_no_array_has(self, value, reason):
        start, opened, *others = columns(GOOD)

        with pytest.raises(BadMarketData) as caught:
            CandleSeries.from_columns(TCS, start, [*opened[:2], value, opened[3]], *others)

        assert caught.value.details == {"row": 3, "field": "open", "reason": reason}

    @pytest.mark.parametrize("value", [None, "x", [], "5", Decimal("0.5"), Decimal("NaN"), float("inf")])
    def test_volumes_that_no_array_has(self, value):
        given = columns(GOOD)
        given[5][2] = value

        with pytest.raises(BadMarketData, match="row 3: volume"):
            CandleSeries.from_columns(TCS, *given)

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (datetime(2024, 1, 19, 9, 17), "has no offset from UTC: give its zone"),
            (date(2024, 1, 19), "has no offset from UTC: give its zone"),
            ("2024-01-19T09:17:00+05:30", "is neither a datetime nor a whole number"),
            (None, "start is missing"),
            (NAN, "start is not a number"),
            (1705636020.0, "is neither a datetime nor a whole number"),
            (1705636020, "is not between 1980 and 2200; numbers count microseconds since 1970"),
            (1705636020_000_000_000, "is not between 1980 and 2200; numbers count microseconds since 1970"),
            (2**63, "is not between 1980 and 2200; numbers count microseconds since 1970"),
            (datetime(1979, 1, 1, tzinfo=UTC), "is not between 1980 and 2200"),
        ],
    )
    def test_times(self, value, reason):
        start, *others = columns(GOOD)

        with pytest.raises(BadMarketData) as caught:
            CandleSeries.from_columns(TCS, [*start[:2], value, start[3]], *others)

        assert caught.value.details["row"] == 3
        assert reason in caught.value.details["reason"]

    def test_times_of_arrays(self):
        start, *others = map(numpy.array, columns(GOOD))
        local = start.astype("datetime64[us]")
        missing = local.copy()
        missing[2] = numpy.datetime64("NaT")

        for way, row, reason in (
            (local, 1, "start 2024-01-19 03:45:00 has no offset from UTC: give its zone"),
            (start / 1e6, 1, "is neither a datetime nor a whole number"),
            (start * 1000, 1, "is not between 1980 and 2200"),
        ):
            for defects in ("raise", "drop"):
                with pytest.raises(BadMarketData) as caught:
                    CandleSeries.from_columns(TCS, way, *others, defects=defects)
                assert caught.value.details["row"] == row
                assert reason in caught.value.details["reason"]
        with pytest.raises(BadMarketData, match="row 3: start is missing"):
            CandleSeries.from_columns(TCS, missing, *others, zone=UTC)

    def test_columns_that_differ_in_length(self):
        given = columns(GOOD)
        del given[5][0]

        with pytest.raises(BadMarketData, match=r"the columns differ in length: start 4, .*volume 3"):
            CandleSeries.from_columns(TCS, *given)

    def test_nothing(self):
        empty: Any
        for empty in ([], numpy.array([])):
            with pytest.raises(BadMarketData, match="there are no rows"):
                CandleSeries.from_columns(TCS, *[empty] * 6)
        with pytest.raises(BadMarketData, match="there are no rows"):
            CandleSeries.from_candles([])
        with pytest.raises(BadMarketData, match="there are no rows"):
            TickSeries.from_ticks([])

    def test_nothing_left(self):
        rows = [(i, 100.0, 99.0, 101.0, 100.0, 0) for i in range(3)]

        for way in (columns(rows), [numpy.array(cells) for cells in columns(rows)]):
            with pytest.raises(BadMarketData, match="no row can be used; row 1: high 99 is below low 101"):
                CandleSeries.from_columns(TCS, *way, defects="drop")

    def test_a_word_for_defects_that_means_nothing(self):
        with pytest.raises(ValueError, match="ignore"):
            of_rows(GOOD, defects="ignore")

    def test_the_first_of_several_is_told(self):
        rows = [GOOD[0], (1, NAN, 1.0, 1.0, 1.0, 0), GOOD[2], GOOD[1], (3, 1.0, 1.0, 1.0, NAN, 0)]
        swapped = [GOOD[1], GOOD[0], (2, NAN, 1.0, 1.0, 1.0, 0)]

        for way, row in ((rows, 2), (swapped, 2)):
            for cells in (columns(way), [numpy.array(cells) for cells in columns(way)]):
                with pytest.raises(BadMarketData) as caught:
                    CandleSeries.from_columns(TCS, *cells)
                assert caught.value.details["row"] == row

    def test_what_is_dropped_takes_no_part_in_the_order(self):
        rows = [GOOD[0], (9, NAN, 1.0, 1.0, 1.0, 0), *GOOD[1:3], GOOD[1], GOOD[2], GOOD[3]]

        for cells in (columns(rows), [numpy.array(cells) for cells in columns(rows)]):
            series = CandleSeries.from_columns(TCS, *cells, defects="drop")
            assert series == of_rows(GOOD)
            assert [(row.row, row.reason.rpartition(" is ")[2]) for row in series.dropped] == [
                (2, "not a number"), (5, "earlier than the row before"), (6, "there twice"),
            ]  # fmt: skip

    def test_candle_with_a_naive_time(self):
        with pytest.raises(BadMarketData, match=r"row 2: start .* has no offset from UTC"):
            CandleSeries.from_candles([
                candle(0), candle(1, start=datetime(2024, 1, 19, 9, 16), end=OPENING + 2 * MINUTE)
            ])  # fmt: skip


class TestWhatIsNoDefect:
    """What real files have and a backtest keeps."""

    FRIDAY, SATURDAY, MONDAY = date(2024, 1, 19), date(2024, 1, 20), date(2024, 1, 22)
    OPEN = time(9, 15)

    def test_saturday_session(self):
        series = of_days(day(self.FRIDAY, self.OPEN, 375), day(self.SATURDAY, self.OPEN, 375))

        assert series.days() == [self.FRIDAY, self.SATURDAY]

    def test_two_windows_on_a_day(self):
        windows = [(time(9, 15), 45), (time(11, 30), 60)]
        series = of_days(*(day(date(2024, 3, 2), first, minutes) for first, minutes in windows))

        assert (len(series), series.interval, series.days()) == (105, MINUTE, [date(2024, 3, 2)])
        assert series[44].end == datetime(2024, 3, 2, 10, 0, tzinfo=INDIA)
        assert series[45].start == datetime(2024, 3, 2, 11, 30, tzinfo=INDIA)

    def test_halt_written_flat_without_volume(self):
        series = of_days(
            day(self.FRIDAY, time(10, 0), 20),
            day(self.FRIDAY, time(10, 20), 45, volume=0),
            day(self.FRIDAY, time(11, 5), 20, price=94.2),
        )

        assert (len(series), list(series.volume).count(0)) == (85, 45)

    def test_missing_days_and_candles(self):
        first_late = day(self.MONDAY, time(9, 16), 374)
        series = of_days(day(self.FRIDAY, self.OPEN, 375), first_late)

        assert (len(series), series.days()) == (749, [self.FRIDAY, self.MONDAY])
        assert series[374].end == datetime(2024, 1, 19, 15, 30, tzinfo=INDIA)

    def test_rows_after_the_close_can_be_cut_off(self):
        series = of_days(day(self.FRIDAY, time(9, 0), 390), day(self.SATURDAY, self.OPEN, 542))

        session = series.between(time(9, 15), time(15, 30))

        assert (len(series), len(session)) == (932, 750)
        assert session[0].start == datetime(2024, 1, 19, 9, 15, tzinfo=INDIA)
        assert session[-1].start == datetime(2024, 1, 20, 15, 29, tzinfo=INDIA)
        assert session.interval == MINUTE
        with pytest.raises(BadMarketData, match="no row is from 19:00:00 up to 20:00:00"):
            series.between(time(19), time(20))

    def test_times_of_utc_without_a_mark(self):
        utc = [(at.astimezone(UTC).replace(tzinfo=None), *rest) for at, *rest in day(self.FRIDAY, self.OPEN, 9)]

        with pytest.raises(BadMarketData, match="row 1: start 2024-01-19 03:45:00 has no offset from UTC"):
            of_days(utc)
        assert of_days(utc, zone=UTC) == of_days(day(self.FRIDAY, self.OPEN, 9))


def test_nothing_optional_is_imported():
    program = (
        "import sys, pulse_domain.backtest, pulse_domain.backtest.files\n"
        "print(sorted({'numpy', 'pandas', 'polars', 'pyarrow', 'plotly'} & set(sys.modules)))"
    )

    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_a_hundred_thousand_rows_of_arrays_take_milliseconds():
    start = OPENING_US + numpy.arange(100_000) * MINUTE_US
    prices = numpy.round(100 + numpy.arange(100_000) % 700 * 0.05, 2)
    volume = numpy.arange(100_000)

    def run() -> float:
        began = clock.perf_counter()
        CandleSeries.from_columns(TCS, start, prices, prices, prices, prices, volume)
        return clock.perf_counter() - began

    assert min(run() for _ in range(5)) < 0.05


def test_candles_are_made_in_bulk_at_about_a_microsecond_each():
    start = OPENING_US + numpy.arange(50_000) * MINUTE_US
    prices = numpy.round(100 + numpy.arange(50_000) % 700 * 0.05, 2)
    series = CandleSeries.from_columns(TCS, start, prices, prices, prices, prices)

    def run() -> float:
        began = clock.perf_counter()
        for first in range(0, 50_000, 1_000):
            series.candles(first, first + 1_000)
        return clock.perf_counter() - began

    assert min(run() for _ in range(5)) / 50_000 < 2e-6
