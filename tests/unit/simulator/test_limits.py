"""Requests are counted by calendar seconds and minutes of the server's clock."""

from contextlib import suppress
from datetime import datetime, timedelta

import pytest

from pulse_adapters.simulator.kite.limits import Bucket, kite_limits
from pulse_adapters.simulator.limits import Limits, TooMany
from tests.unit.simulator.make import START


class Now:
    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        return self.at

    def later(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def taken(limits: Limits, bucket: Bucket, times: int) -> int:
    """How many of so many requests are taken."""
    count = 0
    for _ in range(times):
        with suppress(TooMany):
            limits.take(bucket)
            count += 1
    return count


def test_one_too_many_is_refused() -> None:
    limits = kite_limits(Now())
    limits.take(Bucket.QUOTE)

    with pytest.raises(TooMany, match="Too many requests"):
        limits.take(Bucket.QUOTE)


@pytest.mark.parametrize(
    ("bucket", "most"),
    [(Bucket.ORDER, 10), (Bucket.OTHER, 10), (Bucket.HISTORICAL, 3), (Bucket.QUOTE, 1), (Bucket.FREE, 50)],
)
def test_each_kind_has_its_rate(bucket: Bucket, most: int) -> None:
    assert taken(kite_limits(Now()), bucket, 50) == most


def test_a_calendar_second_is_no_sliding_window() -> None:
    now = Now()
    limits = kite_limits(now)
    now.later(0.95)
    late = taken(limits, Bucket.ORDER, 12)
    now.later(0.06)

    # Twenty within a tenth of a second, for they fall into two seconds.
    assert (late, taken(limits, Bucket.ORDER, 12)) == (10, 10)


def test_the_minute_has_a_limit_of_its_own() -> None:
    now = Now()
    limits = kite_limits(now)
    count = 0
    for _ in range(50):
        count += taken(limits, Bucket.ORDER, 9)
        now.later(1)

    assert count == 400
    now.later(15)
    assert taken(limits, Bucket.ORDER, 9) == 9


def test_the_day_has_a_cap_that_ends_with_it() -> None:
    now = Now()
    limits = kite_limits(now)
    limits.take_of_day(5000)
    with pytest.raises(TooMany, match="Maximum allowed order requests exceeded"):
        limits.take_of_day()
    now.later(86_400)

    limits.take_of_day()


def test_without_limits_only_a_closed_second_refuses() -> None:
    now = Now()
    limits = kite_limits(now, is_on=False)
    before = taken(limits, Bucket.ORDER, 100)
    limits.close_second()
    closed = taken(limits, Bucket.ORDER, 5)
    others = taken(limits, Bucket.OTHER, 5)
    now.later(1)

    assert (before, closed, others, taken(limits, Bucket.ORDER, 5)) == (100, 0, 5, 5)
