from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.errors import CannotSplit
from pulse_domain.splitting import VolumeCurve, Vwap, Weight
from tests.unit.splitting import make
from tests.unit.splitting.make import HOUR_US, MINUTE_US

NINE_FIFTEEN_US = 9 * HOUR_US + 15 * MINUTE_US


class Bar(NamedTuple):
    start: datetime
    volume: Weight


def bars(*volumes: Weight, begins: str = "09:15", day: int = 5, minutes: int = 1) -> list[Bar]:
    return [
        Bar(make.at(begins, day) + place * timedelta(minutes=minutes), volume)
        for place, volume in enumerate(volumes)
    ]


def shares(curve: VolumeCurve) -> list[tuple[int, int]]:
    """(minute after 09:15, volume)"""
    return [((offset - NINE_FIFTEEN_US) // MINUTE_US, volume) for offset, volume in curve.buckets]


def test_candles_of_all_days_are_added_up_by_time_of_day() -> None:
    curve = VolumeCurve.from_candles([*bars(100, 200, 300, day=5), *bars(300, 200, 500, day=6)])

    assert curve.bucket_us == MINUTE_US
    assert shares(curve) == [(0, 1), (1, 1), (2, 2)]


def test_a_missing_day_changes_nothing_where_days_are_alike() -> None:
    month = [bars(5, 3, 1, 2, day=day) for day in range(1, 29)]

    whole = VolumeCurve.from_candles([bar for day in month for bar in day])
    gapped = VolumeCurve.from_candles([bar for day in month[:9] + month[17:] for bar in day])

    assert whole == gapped


def test_candles_may_come_in_any_order_and_any_zone() -> None:
    candles = [*bars(1, 2, 3, 4, day=5), *bars(4, 3, 2, 1, day=6)]

    elsewhere = [Bar(bar.start.astimezone(UTC), bar.volume) for bar in reversed(candles)]

    assert VolumeCurve.from_candles(elsewhere) == VolumeCurve.from_candles(candles)


def test_buckets_are_as_long_as_the_candles_despite_stray_rows() -> None:
    stray = Bar(make.at("09:16:07"), 70)

    curve = VolumeCurve.from_candles([*bars(100, 200, 300, 400), stray])

    assert shares(curve) == [(0, 10), (1, 27), (2, 30), (3, 40)]


def test_buckets_of_candles_of_half_an_hour_begin_with_the_session() -> None:
    curve = VolumeCurve.from_candles(bars(600, 300, 300, minutes=30))

    assert shares(curve) == [(0, 2), (30, 1), (60, 1)]


def test_candles_can_be_put_into_longer_buckets_but_not_into_shorter_ones() -> None:
    assert shares(VolumeCurve.from_candles(bars(*range(1, 11)), bucket_us=5 * MINUTE_US)) == [(0, 3), (5, 8)]
    with pytest.raises(CannotSplit) as refused:
        VolumeCurve.from_candles(bars(1, 2, 3, minutes=5), bucket_us=MINUTE_US)
    assert refused.value.details == {"candle_us": 5 * MINUTE_US}


def test_a_session_at_another_time_of_day_does_not_count_in_the_window() -> None:
    evening = bars(9000, 9000, 9000, begins="18:15", day=8)

    with_it = VolumeCurve.from_candles([*bars(100, 200, 300), *evening])

    parts = Vwap(3, with_it).parts(600, make.window("09:15", "09:18"))
    assert [part.quantity for part in parts] == [100, 200, 300]


def test_a_halt_in_one_of_two_days_halves_its_buckets() -> None:
    halted = VolumeCurve.from_candles([*bars(100, 100, 100), *bars(100, 0, 100, day=6)])

    assert shares(halted) == [(0, 2), (1, 1), (2, 2)]


@given(st.lists(make.volumes, min_size=2, max_size=50).filter(any), st.integers(1, 10**9))
def test_a_curve_keeps_the_ratio_of_the_volumes_and_no_empty_bucket(volumes: list[int], factor: int) -> None:
    curve = VolumeCurve.from_candles(bars(*volumes))
    kept = [volume for volume in volumes if volume]

    assert curve == VolumeCurve.from_candles(bars(*[volume * factor for volume in volumes]))
    assert len(curve.buckets) == len(kept)
    assert all(volume * kept[0] == curve.buckets[0][1] * it for (_, volume), it in zip(curve.buckets, kept))  # noqa: B905
    assert all(a < b for (a, _), (b, _) in pairwise(curve.buckets))


def test_whole_volumes_may_be_floats_or_decimals() -> None:
    assert shares(VolumeCurve.from_candles(bars(100.0, Decimal("200.0")))) == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    "volume", [-1, float("nan"), float("inf"), 1.5, Decimal("NaN"), Decimal("-1"), None, "many"]
)
def test_a_volume_that_makes_no_sense_is_refused_with_its_row(volume) -> None:
    with pytest.raises(CannotSplit) as candle:
        VolumeCurve.from_candles(bars(100, 100, volume))
    with pytest.raises(CannotSplit) as pair:
        VolumeCurve.from_pairs([(0, 100), (MINUTE_US, volume)])

    assert candle.value.details == {"row": 3}
    assert pair.value.details == {"row": 2}


def test_a_candle_that_is_there_twice_is_refused_with_its_row() -> None:
    with pytest.raises(CannotSplit, match="twice") as refused:
        VolumeCurve.from_candles([*bars(100, 200), *bars(100)])

    assert refused.value.details == {"row": 3}


def test_a_naive_candle_is_refused_with_its_row() -> None:
    naive = Bar(datetime(2026, 1, 5, 9, 16), 100)

    with pytest.raises(CannotSplit, match="offset from UTC") as refused:
        VolumeCurve.from_candles([*bars(100), naive])

    assert refused.value.details == {"row": 2}


@pytest.mark.parametrize("candles", [[], bars(0, 0, 0), bars(100)])
def test_a_history_that_makes_no_curve_is_refused(candles: list[Bar]) -> None:
    with pytest.raises(CannotSplit):
        VolumeCurve.from_candles(candles)


def test_one_bucket_is_a_curve_where_its_length_is_given() -> None:
    one = VolumeCurve.from_candles(bars(100), bucket_us=15 * MINUTE_US)

    assert [part.quantity for part in Vwap(3, one).parts(9, make.window("09:00", "10:00"))] == [3, 3, 3]


@pytest.mark.parametrize("offset", [-1, 24 * HOUR_US])
def test_pairs_are_times_of_a_day(offset: int) -> None:
    with pytest.raises(CannotSplit) as refused:
        VolumeCurve.from_pairs([(0, 1), (offset, 1)])

    assert refused.value.details == {"row": 2}


@pytest.mark.parametrize(
    ("bucket_us", "buckets"),
    [(0, ((0, 1),)), (10, ()), (10, ((0, 0),)), (10, ((0, 1), (5, 1))), (10, ((20, 1), (0, 1)))],
)
def test_a_curve_by_hand_must_make_sense(bucket_us: int, buckets: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(CannotSplit):
        VolumeCurve(bucket_us=bucket_us, buckets=buckets)
