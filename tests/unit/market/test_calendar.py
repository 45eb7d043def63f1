"""The days of the markets: our own table, checked against libraries and against real candles."""

import csv
import gzip
import warnings
from collections.abc import Iterator
from datetime import date, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.errors import InvalidSettings
from pulse_domain.market import CALENDARS, CalendarAdditions, DayStatus, SpecialDay, TradingDays
from pulse_domain.market.holidays import COMMODITY, CURRENCY, EQUITY

CANDLES = Path(__file__).parents[4] / "shared/data/nse-1min"


def days(first: date, last: date) -> Iterator[date]:
    while first <= last:
        yield first
        first += timedelta(days=1)


# --- our own data


@pytest.mark.parametrize(
    ("day", "status"),
    [
        (date(2026, 11, 20), DayStatus.OPEN),
        (date(2026, 11, 24), DayStatus.CLOSED),
        (date(2026, 11, 21), DayStatus.CLOSED),
        (date(2020, 2, 1), DayStatus.OPEN),
        (date(2024, 1, 20), DayStatus.OPEN),
        (date(2024, 1, 22), DayStatus.CLOSED),
        (date(2024, 3, 2), DayStatus.OPEN),
        (date(2024, 5, 18), DayStatus.OPEN),
        (date(2025, 2, 1), DayStatus.OPEN),
        (date(2026, 2, 1), DayStatus.OPEN),
        (date(2025, 10, 21), DayStatus.OPEN),
        # Muhurat, at an hour that nobody has told us: never silently open, nor closed.
        (date(2026, 11, 8), DayStatus.UNKNOWN),
        (date(2026, 12, 31), DayStatus.OPEN),
        (date(2027, 1, 1), DayStatus.UNKNOWN),
        (date(2027, 1, 2), DayStatus.UNKNOWN),
        (date(2015, 12, 31), DayStatus.UNKNOWN),
    ],
)
def test_days_of_the_equity_market(day: date, status: DayStatus) -> None:
    assert EQUITY.status(day) is status


def test_every_day_that_is_not_ordinary_says_why() -> None:
    for day in (date(2026, 11, 24), date(2026, 11, 8), date(2026, 11, 21), date(2027, 1, 1), date(2015, 1, 1)):
        assert EQUITY.reason(day)
    assert EQUITY.reason(date(2026, 11, 20)) == ""


def test_holidays_are_weekdays_inside_the_calendar() -> None:
    for calendar in CALENDARS:
        for day in calendar.holidays:
            assert calendar.covers(day), day
            assert day.weekday() < 5, day
        assert all(calendar.covers(day) for day in calendar.special)
        assert not set(calendar.special) & set(calendar.holidays)


def test_commodities_on_a_holiday_of_shares_are_unknown() -> None:
    assert COMMODITY.status(date(2026, 11, 20)) is DayStatus.OPEN
    assert COMMODITY.status(date(2026, 11, 24)) is DayStatus.UNKNOWN
    assert COMMODITY.status(date(2026, 11, 21)) is DayStatus.CLOSED


@given(st.dates())
def test_currency_is_unknown_until_somebody_adds_its_days(day: date) -> None:
    assert CURRENCY.status(day) is DayStatus.UNKNOWN


@given(st.dates(min_value=EQUITY.covered_to + timedelta(days=1)))
def test_nothing_is_known_past_the_end(day: date) -> None:
    for calendar in CALENDARS:
        assert calendar.status(day) is DayStatus.UNKNOWN


# --- against others


def library_days(name: str) -> set[date]:
    first, last = str(EQUITY.covered_from), str(EQUITY.covered_to)
    with warnings.catch_warnings():
        # Both still use what pandas 3.1 deprecates.
        warnings.simplefilter("ignore")
        import exchange_calendars
        import pandas_market_calendars

        if name == "NSE":
            found = pandas_market_calendars.get_calendar(name).valid_days(first, last)
        else:
            found = exchange_calendars.get_calendar(name, start=first, end=last).sessions
        return {moment.date() for moment in found}


@pytest.mark.parametrize("name", ["NSE", "XBOM"])
def test_weekdays_are_those_of_the_library(name: str) -> None:
    theirs = library_days(name)

    different = {
        day
        for day in days(EQUITY.covered_from, EQUITY.covered_to)
        if day.weekday() < 5 and (EQUITY.status(day) is DayStatus.OPEN) != (day in theirs)
    }

    # Muhurat evenings on a weekday: one library calls them closed, the other a full day.
    muhurat = {day for day, special in EQUITY.special.items() if "Muhurat" in special.note}
    assert different <= muhurat


def test_real_saturday_sessions_are_open() -> None:
    for day in (date(2020, 2, 1), date(2024, 1, 20), date(2024, 3, 2)):
        assert day.isoweekday() == 6
        assert EQUITY.status(day) is DayStatus.OPEN


@pytest.mark.skipif(not CANDLES.exists(), reason="the candles are not here")
def test_days_with_candles_are_open() -> None:
    for path in sorted(CANDLES.glob("*.csv.gz")):
        with gzip.open(path, "rt") as lines:
            rows = csv.reader(lines)
            next(rows)
            seen = {date.fromisoformat(row[0][:10]) for row in rows}

        assert {EQUITY.status(day) for day in seen} == {DayStatus.OPEN}, path.name
        if "INDEX" not in path.name and "5min" not in path.name:  # those lack days that others traded on
            between = {day for day in days(min(seen), max(seen)) if EQUITY.status(day) is DayStatus.OPEN}
            assert between == seen, path.name


# --- additions

NEXT_YEAR = CalendarAdditions(
    market="EQUITY",
    covered_to=date(2027, 12, 31),
    holidays=frozenset({date(2027, 1, 26)}),
    sessions={
        date(2026, 11, 8): ((time(18, 0), time(19, 0)),),
        date(2027, 1, 30): ((time(9, 15), time(12, 0)),),
    },
)


def test_an_operator_adds_a_year_and_the_hours_of_an_evening() -> None:
    calendar = EQUITY.with_additions([NEXT_YEAR])

    assert calendar.status(date(2027, 1, 26)) is DayStatus.CLOSED
    assert calendar.status(date(2027, 1, 27)) is DayStatus.OPEN
    assert calendar.status(date(2027, 1, 30)) is DayStatus.OPEN
    assert calendar.status(date(2026, 11, 8)) is DayStatus.OPEN
    assert calendar.status(date(2028, 1, 3)) is DayStatus.UNKNOWN
    assert EQUITY.status(date(2027, 1, 27)) is DayStatus.UNKNOWN


def test_additions_are_for_their_own_market() -> None:
    assert COMMODITY.with_additions([NEXT_YEAR]) == COMMODITY


def test_a_commodity_evening_and_a_holiday_become_certain() -> None:
    added = CalendarAdditions(
        market="COMMODITY",
        holidays=frozenset({date(2026, 12, 25)}),
        sessions={date(2026, 11, 24): ((time(17, 0), time(23, 55)),)},
    )

    calendar = COMMODITY.with_additions([added])

    assert calendar.status(date(2026, 12, 25)) is DayStatus.CLOSED
    assert calendar.status(date(2026, 11, 24)) is DayStatus.OPEN


def test_a_market_without_days_gets_them() -> None:
    added = CalendarAdditions(
        market="CURRENCY",
        covered_from=date(2026, 11, 1),
        covered_to=date(2026, 12, 31),
        holidays=frozenset({date(2026, 12, 25)}),
    )

    calendar = CURRENCY.with_additions([added])

    assert calendar.status(date(2026, 11, 20)) is DayStatus.OPEN
    assert calendar.status(date(2026, 10, 30)) is DayStatus.UNKNOWN


@pytest.mark.parametrize(
    "added",
    [
        CalendarAdditions(market="EQUITY", covered_to=date(2026, 6, 30)),
        CalendarAdditions(market="EQUITY", covered_to=date(2027, 12, 31)),
        CalendarAdditions(market="EQUITY", holidays=frozenset({date(2027, 1, 26)})),
        CalendarAdditions(market="EQUITY", covered_from=date(2010, 1, 1)),
        CalendarAdditions(market="EQUITY", sessions={date(2026, 11, 8): ((time(19), time(18)),)}),
    ],
    ids=["shorter", "a year without holidays", "beyond the end", "its own beginning", "ends before it begins"],
)
def test_additions_that_make_no_sense_are_refused(added: CalendarAdditions) -> None:
    with pytest.raises(InvalidSettings):
        EQUITY.with_additions([added])


def test_special_days_need_hours_that_ascend() -> None:
    with pytest.raises(InvalidSettings):
        SpecialDay(note="", hours=((time(9), time(10)), (time(10), time(11))))
    with pytest.raises(InvalidSettings):
        SpecialDay(note="", hours=((time(9), time(10)),), usual_hours=True)


@given(
    holidays=st.sets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=30),
    day=st.dates(date(2025, 1, 1), date(2027, 12, 31)),
)
def test_a_day_is_open_only_inside_the_calendar_and_off_its_holidays(holidays: set[date], day: date) -> None:
    calendar = TradingDays(
        market="X",
        covered_from=date(2026, 1, 1),
        covered_to=date(2026, 12, 31),
        holidays=dict.fromkeys(holidays, ""),
    )

    status = calendar.status(day)

    assert (status is DayStatus.UNKNOWN) == (day.year != 2026)
    assert (status is DayStatus.OPEN) == (day.year == 2026 and day.weekday() < 5 and day not in holidays)
