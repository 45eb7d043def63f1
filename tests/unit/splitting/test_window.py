from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.errors import CannotSplit
from pulse_domain.splitting import Twap, VolumeCurve, Vwap, Weighted, Window
from tests.unit.splitting import make
from tests.unit.splitting.make import HOUR_US, MINUTE_US

NEW_YORK = ZoneInfo("America/New_York")


def test_a_window_without_sessions_is_open_from_start_to_end() -> None:
    open_time = make.window().open_time()

    assert open_time.spans == ((0, HOUR_US),)
    assert len(open_time) == HOUR_US + 1


def test_the_end_of_a_session_is_not_open_any_more_and_that_of_the_window_is() -> None:
    assert make.window("15:00", "15:30", ("09:15", "15:30")).open_time().spans == ((0, 30 * MINUTE_US - 1),)
    assert make.window("15:00", "15:29", ("09:15", "15:30")).open_time().spans == ((0, 29 * MINUTE_US),)


def test_a_window_that_begins_before_the_session_begins_with_it() -> None:
    early = make.window("09:00", "09:45", ("09:15", "15:30"))

    assert make.clocks(Twap(4).parts(40, early), early) == ["09:15:00", "09:25:00", "09:35:00", "09:45:00"]


@pytest.mark.parametrize(
    "sessions",
    [
        [("10:00", "11:00"), ("09:15", "09:30")],
        [("09:15", "09:30"), ("09:15", "09:30"), ("10:00", "11:00")],
        [("10:00", "10:30"), ("09:00", "09:30"), ("09:20", "09:25"), ("10:20", "11:00")],
        [("09:15", "09:20"), ("09:20", "09:30"), ("10:00", "11:00"), ("13:00", "14:00")],
    ],
)
def test_sessions_may_come_in_any_order_and_overlap(sessions: list[tuple[str, str]]) -> None:
    messy = make.window("09:15", "10:15", *sessions)
    tidy = make.window("09:15", "10:15", ("09:15", "09:30"), ("10:00", "11:00"))

    assert len(messy.open_time()) == len(tidy.open_time())
    assert Twap(9).parts(90, messy) == Twap(9).parts(90, tidy)


@given(make.windows(), st.data())
def test_open_time_is_every_instant_of_the_window_in_a_session_once(of: Window, data: st.DataObject) -> None:
    open_time = of.open_time()

    instant = data.draw(st.integers(0, len(open_time) - 1))
    offset = open_time.offset_us(instant)
    assert 0 <= offset <= of.duration_us
    assert any(first <= offset <= last for first, last in open_time.spans)
    assert instant == 0 or open_time.offset_us(instant - 1) < offset

    anywhere = data.draw(st.integers(0, of.duration_us))
    in_session = of.sessions is None or any(start <= of.at(anywhere) < end for start, end in of.sessions)
    assert in_session is any(first <= anywhere <= last for first, last in open_time.spans)


@pytest.mark.parametrize(
    "schedule", [Twap(2), Weighted([1, 2]), Weighted([1, 2], [0, 1]), Vwap(2, make.curve(1, 1, begins="16:00"))]
)
@pytest.mark.parametrize("sessions", [[], [("09:15", "15:30")], [("09:15", "16:00"), ("17:01", "18:00")]])
def test_a_window_without_open_time_cannot_be_split(schedule, sessions: list[tuple[str, str]]) -> None:
    closed = Window(make.at("16:00"), make.at("17:00"), [(make.at(a), make.at(b)) for a, b in sessions])

    with pytest.raises(CannotSplit) as refused:
        schedule.parts(10, closed)

    assert refused.value.details == {"start": closed.start, "end": closed.end}


def test_a_window_must_not_end_before_it_starts() -> None:
    with pytest.raises(CannotSplit):
        make.window("10:15", "09:15")


@pytest.mark.parametrize("naive", ["start", "end", "session start", "session end"])
def test_times_without_an_offset_from_utc_are_refused(naive: str) -> None:
    times = {
        "start": make.at("09:15"), "end": make.at("10:15"),
        "session start": make.at("09:15"), "session end": make.at("15:30"),
    }  # fmt: skip
    times[naive] = times[naive].replace(tzinfo=None)

    with pytest.raises(CannotSplit, match="offset from UTC"):
        Window(times["start"], times["end"], [(times["session start"], times["session end"])])


def test_a_session_must_end_after_it_starts() -> None:
    with pytest.raises(CannotSplit) as refused:
        make.window("09:15", "10:15", ("09:15", "15:30"), ("15:30", "15:30"))

    assert refused.value.details == {"row": 2}


def test_a_window_across_a_change_of_the_clocks_has_its_real_length() -> None:
    # On 8 March 2026 the clocks of New York went from 02:00 to 03:00.
    night = Window(datetime(2026, 3, 8, 1, tzinfo=NEW_YORK), datetime(2026, 3, 8, 4, tzinfo=NEW_YORK))

    assert night.duration_us == 2 * HOUR_US
    assert [night.at(part.offset_us).hour for part in Twap(3).parts(3, night)] == [1, 3, 4]


@pytest.mark.parametrize("day", [8, 9])
def test_a_curve_across_a_change_of_the_clocks_stays_in_order(day: int) -> None:
    halves = VolumeCurve.from_pairs([(half * 30 * MINUTE_US, 100) for half in range(48)], zone=NEW_YORK)
    night = Window(datetime(2026, 3, 8, 1, tzinfo=NEW_YORK), datetime(2026, 3, day, 4, tzinfo=NEW_YORK))

    offsets = [part.offset_us for part in Vwap(30, halves).parts(300, night)]

    assert offsets == sorted(set(offsets))
    assert offsets[-1] <= night.duration_us


def test_instants_have_the_offset_from_utc_of_the_start() -> None:
    instant = make.window().at(MINUTE_US)

    assert instant.utcoffset() == timedelta(hours=5, minutes=30)
    assert instant == make.at("09:16")
