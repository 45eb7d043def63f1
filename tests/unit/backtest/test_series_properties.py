"""What holds for market data of every kind, good and bad."""

from array import array
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.backtest.series import CandleSeries, TickSeries
from pulse_domain.errors import BadMarketData
from pulse_domain.instruments import Instrument
from pulse_domain.units import INDIA, to_units, to_us

TCS = Instrument.parse("NSE:TCS")
MINUTE = timedelta(minutes=1)
MINUTE_US = 60_000_000
OPENING_US = to_us(datetime(2024, 1, 19, 9, 15, tzinfo=INDIA))
NAN = float("nan")

# Prices in ten-thousandths, most on the usual tick; times in microseconds, often equal or stepping back.
units = st.one_of(st.integers(1, 400).map(lambda ticks: ticks * 500), st.integers(1, 10**12))
instants = st.one_of(
    st.integers(0, 30).map(lambda minute: OPENING_US + minute * MINUTE_US),
    st.integers(OPENING_US - 10**14, OPENING_US + 10**14),
)
volumes = st.integers(0, 10**12)


@st.composite
def good_candles(draw):
    starts = sorted(draw(st.sets(instants, min_size=1, max_size=12)))
    rows = []
    for start in starts:
        low, one, other, high = sorted(draw(st.lists(units, min_size=4, max_size=4)))
        opened, close = draw(st.permutations([one, other]))
        rows.append((start, opened, high, low, close, draw(volumes)))
    interval = timedelta(microseconds=draw(st.integers(1, 10**12)))
    others = zip(*rows, strict=True)
    return CandleSeries(
        TCS, [array("q", cells) for cells in others], interval_us=interval // timedelta.resolution
    )


@given(good_candles())
def test_candles_there_and_back(series):
    assert CandleSeries.from_candles(list(series), interval=series.interval) == series


@given(good_candles())
def test_ways_to_hand_columns_in_agree(series):
    start, *rest = series.start_us, series.open, series.high, series.low, series.close, series.volume
    *prices, volume = rest
    floats = [[units / 10_000 for units in cells] for cells in prices]
    decimals = [[Decimal(units).scaleb(-4) for units in cells] for cells in prices]
    zone = timezone(timedelta(minutes=-210))
    local = numpy.array(start).astype("datetime64[us]")

    ways: list[list[Any]] = [
        [list(start), *floats, list(volume)],
        [[candle.start for candle in series], *decimals, list(volume)],
        [numpy.array(start), *map(numpy.array, floats), numpy.array(volume)],
        [numpy.array(start), *map(numpy.array, floats), numpy.array(volume, "float64")],
        [local.astype("datetime64[ns]"), *map(numpy.array, floats), numpy.array(volume)],
        [local.astype("datetime64[ns]"), *decimals, numpy.array(volume)],
    ]
    for columns in ways:
        assert CandleSeries.from_columns(TCS, *columns, interval=series.interval, zone=UTC) == series
    behind = [local + numpy.timedelta64(-210, "m"), *floats, volume]
    assert CandleSeries.from_columns(TCS, *behind, interval=series.interval, zone=zone) == series


@given(st.lists(st.tuples(instants, units, st.one_of(st.just(0), units), st.one_of(st.just(0), units), volumes),
                min_size=1, max_size=12))  # fmt: skip
def test_ticks_there_and_back(rows):
    rows = [(at, price, min(bid, ask) or bid, max(bid, ask) if bid else ask, volume)
            for at, price, bid, ask, volume in rows]  # fmt: skip
    at, price, bid, ask, volume = zip(*rows, strict=True)
    columns = [at, *([units / 10_000 for units in cells] for cells in (price, bid, ask)), volume]

    series = TickSeries.from_columns(TCS, *columns)

    assert TickSeries.from_ticks(list(series)) == series
    assert TickSeries.from_columns(TCS, *map(numpy.array, columns)) == series
    assert (list(series.price), list(series.bid), list(series.ask)) == (list(price), list(bid), list(ask))
    assert list(series.at_us) == [max(at[: i + 1]) for i in range(len(at))]
    assert list(series.at_us) == sorted(series.at_us)
    days = [us.date() for us in (row.at for row in series)]
    for i in range(len(rows)):
        assert series.volume[i] == max(volume[k] for k in range(i + 1) if days[k] == days[i])


bad_starts = st.sampled_from([0, -1, -(2**63), 2**63 - 1])
bad_numbers = st.one_of(
    st.sampled_from([0.0, -0.0, -1.0, NAN, float("inf"), float("-inf"), 1e9, 1e300, 5e-324, 100.00001, 1e-4]),
    st.floats(),
)


@st.composite
def dirty_rows(draw):
    """Rows of which some have bad cells, are there twice or come too early."""
    series = draw(good_candles())
    rows = [
        [start, *(units / 10_000 for units in prices), float(volume)]
        for start, *prices, volume in zip(
            series.start_us, series.open, series.high, series.low, series.close, series.volume, strict=True
        )
    ]
    for _ in range(draw(st.integers(0, 4))):
        row, column = draw(st.integers(0, len(rows) - 1)), draw(st.integers(0, 7))
        if column < 6:
            rows[row][column] = draw(bad_numbers if column else bad_starts)
        else:
            rows.insert(draw(st.integers(0, len(rows))), list(rows[row]))
    return rows


def made(candles: bool, columns: list[Any], defects: Any) -> tuple[object, ...]:
    """The series and what was left out, or what was said."""
    try:
        if candles:
            series: Any = CandleSeries.from_columns(TCS, *columns, interval=MINUTE, defects=defects)
        else:
            series = TickSeries.from_columns(TCS, *columns[:5], defects=defects)
    except BadMarketData as e:
        return e.message, e.details
    return series, series.dropped


@given(dirty_rows(), st.booleans(), st.sampled_from(["raise", "drop"]))
def test_lists_and_arrays_are_told_the_same(rows, candles, defects):
    lists = [list(column) for column in zip(*rows, strict=True)]
    arrays = [numpy.array(column) for column in lists]

    assert made(candles, lists, defects) == made(candles, arrays, defects)


@given(dirty_rows())
def test_dropping_leaves_what_is_good_or_says_that_nothing_is(rows):
    lists = [list(column) for column in zip(*rows, strict=True)]
    try:
        series = CandleSeries.from_columns(TCS, *lists, interval=MINUTE, defects="drop")
    except BadMarketData:
        with pytest.raises(BadMarketData):
            CandleSeries.from_columns(TCS, *([cells[0]] for cells in lists), interval=MINUTE)
        return

    assert len(series) + len(series.dropped) == len(rows)
    left_out = {row.row for row in series.dropped}
    assert [to_us(candle.start) for candle in series] == [
        row[0] for number, row in enumerate(rows, start=1) if number not in left_out
    ]
    assert CandleSeries.from_candles(list(series), interval=MINUTE) == series
    for candle in series:
        assert 0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
        assert to_units(candle.open) == candle.open * 10_000
