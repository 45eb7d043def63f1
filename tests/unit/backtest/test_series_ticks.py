"""Ticks keep the order of their arrival; time and day volume do not step back."""

import pickle
from datetime import datetime, time, timedelta
from decimal import Decimal

import numpy
import pytest
from msgspec.structs import replace

from pulse_domain.backtest.series import Dropped, TickSeries
from pulse_domain.errors import BadMarketData
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.units import INDIA, to_us

TCS = Instrument.parse("NSE:TCS")
INFY = Instrument.parse("NSE:INFY")
MINUTE = timedelta(minutes=1)
OPENING = datetime(2024, 1, 19, 9, 15, tzinfo=INDIA)
OPENING_US = to_us(OPENING)
NAN = float("nan")


def tick(second: float, price: str = "100", **fields) -> Tick:
    return replace(Tick(TCS, OPENING + timedelta(seconds=second), Decimal(price)), **fields)


def test_columns_are_whole_numbers():
    at = [OPENING_US, OPENING_US + 1, OPENING_US + 2]
    series = TickSeries.from_columns(
        TCS, at, [100, 100.05, 100.1], [99.95, None, 0], [0.0, NAN, 100.2], [0, 5, 5]
    )

    assert (list(series.at_us), list(series.price)) == (at, [1_000_000, 1_000_500, 1_001_000])
    assert (list(series.bid), list(series.ask)) == ([999_500, 0, 0], [0, 0, 1_002_000])
    assert (list(series.volume), series.late, series.dropped) == ([0, 5, 5], 0, ())
    assert series.ticks(0, 3) == list(series) == [series[0], series[1], series[2]] == [
        Tick(TCS, OPENING, Decimal("100.00"), Decimal("99.95"), None, 0),
        Tick(TCS, OPENING + timedelta(microseconds=1), Decimal("100.05"), None, None, 5),
        Tick(TCS, OPENING + timedelta(microseconds=2), Decimal("100.10"), None, Decimal("100.20"), 5),
    ]  # fmt: skip
    assert series.ticks(2, 2) == []
    assert series[-1] == series[2]


def test_arrays_are_read_as_lists_are():
    at = [OPENING_US, OPENING_US + 2, OPENING_US + 1]
    given = [at, [100.0, 100.05, 100.1], [99.95, NAN, 0.0], [0.0, NAN, 100.2], [7.0, 5.0, 9.0]]

    series = TickSeries.from_columns(TCS, *map(numpy.array, given))

    assert series == TickSeries.from_columns(TCS, *given)
    assert series.late == 1


def test_late_packets_count_at_the_time_they_come():
    series = TickSeries.from_ticks([tick(1), tick(3), tick(2), tick(2.5), tick(3), tick(4)])

    assert [at - OPENING_US for at in series.at_us] == [s * 1_000_000 for s in (1, 3, 3, 3, 3, 4)]
    assert series.late == 2


def test_day_volume_does_not_step_back_and_starts_anew_with_the_day():
    seconds = [0, 1, 2, 3, 86_400, 86_401]
    volumes = [100, 300, 200, 400, 50, 40]

    series = TickSeries.from_ticks(
        [tick(second, volume=volume) for second, volume in zip(seconds, volumes, strict=True)]
    )

    assert list(series.volume) == [100, 300, 300, 400, 50, 50]


def test_a_late_packet_over_midnight_belongs_to_the_new_day():
    midnight = datetime(2024, 1, 20, tzinfo=INDIA)
    times = [midnight - MINUTE, midnight, midnight - MINUTE, midnight + MINUTE]

    series = TickSeries.from_columns(TCS, times, [100] * 4, volume=[900, 1, 901, 2])

    assert list(series.volume) == [900, 1, 901, 901]


def test_repeated_rows_stay():
    series = TickSeries.from_ticks([tick(1, volume=5), tick(1, volume=5), tick(2, volume=5)])

    assert len(series) == 3


def test_prices_before_the_open_and_after_the_close_can_be_cut_off():
    seconds = [-900, -1, 0, 375 * 60 - 1, 375 * 60]
    series = TickSeries.from_ticks([tick(second) for second in seconds])

    session = series.between(time(9, 15), time(15, 30))

    assert [at - OPENING_US for at in session.at_us] == [0, (375 * 60 - 1) * 1_000_000]
    assert session.days() == series.days() == [OPENING.date()]


@pytest.mark.parametrize(
    ("cells", "field", "reason"),
    [
        ((NAN, 0.0, 0.0, 0.0), "price", "price is not a number"),
        ((0.0, 0.0, 0.0, 0.0), "price", "price 0.0 is not above 0"),
        ((100.0, -1.0, 0.0, 0.0), "bid", "bid -1.0 is not above 0"),
        ((100.0, 0.0, 100.00001, 0.0), "ask", "ask 100.00001 is finer than a ten-thousandth of a rupee"),
        ((100.0, 101.0, 100.5, 0.0), "bid", "bid 101 is above ask 100.5"),
        ((100.0, 0.0, 0.0, -5.0), "volume", "volume -5.0 is not a whole number from 0 on"),
    ],
)
def test_defects(cells, field, reason):
    rows = [(100.0, 99.0, 0.0, 0.0), cells, (100.0, 99.0, 99.0, 5.0)]
    start = [OPENING_US, OPENING_US, OPENING_US]
    numbers = [list(column) for column in zip(*rows, strict=True)]

    for way in ([start, *numbers], [numpy.array(start), *map(numpy.array, numbers)]):
        with pytest.raises(BadMarketData) as caught:
            TickSeries.from_columns(TCS, *way)
        assert caught.value.details == {"row": 2, "field": field, "reason": reason}
        series = TickSeries.from_columns(TCS, *way, defects="drop")
        assert (len(series), series.dropped) == (2, (Dropped(2, reason),))


def test_ticks_of_two_instruments():
    with pytest.raises(BadMarketData, match="row 2: it is of NSE:INFY"):
        TickSeries.from_ticks([tick(0), tick(1, instrument=INFY)])


def test_equality_is_that_of_the_data():
    series = TickSeries.from_ticks([tick(0), tick(2), tick(1)])

    assert series == TickSeries.from_ticks([tick(0), tick(2), tick(2)])
    assert series != TickSeries.from_ticks([tick(0), tick(2), tick(3)])
    assert series != [*series]
    assert pickle.loads(pickle.dumps(series)) == series
    assert repr(series).startswith("<TickSeries NSE:TCS: 3 rows from 2024-01-19 09:15:00+05:30 to ")
