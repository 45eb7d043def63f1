"""The trading days of the markets, as data. Times are Indian.

Sources of the EQUITY weekday holidays: pandas_market_calendars 5.5.0 (NSE) and exchange_calendars 4.13.2
(XBOM), read on 2026-11-20, where both agree; 2026 also by the exchange's list in the reference documents.
They disagree on the Muhurat evenings of 2017, 2018, 2021, 2022, 2024 and 2025 alone, which are special days
here. Neither has a weekend session.

To prolong it: add the year's holidays with the circular's number, move `covered_to`, run the tests. Until a
release has it, MARKET_CALENDAR adds to it (doc/guides/market_rules.md).
"""

from collections.abc import Iterable
from datetime import date, time

from pulse_domain.market.calendar import SpecialDay, TradingDays

_HOLIDAY = "trading holiday"

_EQUITY_HOLIDAYS = {
    2016: "01-26 03-07 03-24 03-25 04-14 04-15 04-19 07-06 08-15 09-05 09-13 10-11 10-12 10-31 11-14",
    2017: "01-26 02-24 03-13 04-04 04-14 05-01 06-26 08-15 08-25 10-02 10-20 12-25",
    2018: "01-26 02-13 03-02 03-29 03-30 05-01 08-15 08-22 09-13 09-20 10-02 10-18 11-08 11-23 12-25",
    2019: "03-04 03-21 04-17 04-19 04-29 05-01 06-05 08-12 08-15 09-02 09-10 10-02 10-08 10-21 10-28"
          " 11-12 12-25",
    2020: "02-21 03-10 04-02 04-06 04-10 04-14 05-01 05-25 10-02 11-16 11-30 12-25",
    2021: "01-26 03-11 03-29 04-02 04-14 04-21 05-13 07-21 08-19 09-10 10-15 11-05 11-19",
    2022: "01-26 03-01 03-18 04-14 04-15 05-03 08-09 08-15 08-31 10-05 10-26 11-08",
    2023: "01-26 03-07 03-30 04-04 04-07 04-14 05-01 06-29 08-15 09-19 10-02 10-24 11-14 11-27 12-25",
    2024: "01-22 01-26 03-08 03-25 03-29 04-11 04-17 05-01 05-20 06-17 07-17 08-15 10-02 11-15 11-20 12-25",
    2025: "02-26 03-14 03-31 04-10 04-14 04-18 05-01 08-15 08-27 10-02 10-22 11-05 12-25",
    2026: "01-15 01-26 03-03 03-26 03-31 04-03 04-14 05-01 05-28 06-26 09-14 10-02 10-20 11-10 11-24 12-25",
}  # fmt: skip


def _dates(by_year: dict[int, str]) -> Iterable[date]:
    for year, days in by_year.items():
        yield from (date.fromisoformat(f"{year}-{day}") for day in days.split())


def _muhurat(begins: str | None = None, ends: str = "") -> SpecialDay:
    # Days whose hour the sources did not agree on, or did not give, are unknown until somebody says it.
    hours = None if begins is None else ((time.fromisoformat(begins), time.fromisoformat(ends)),)
    return SpecialDay(note="Diwali Muhurat trading", hours=hours)


_BUDGET = SpecialDay(note="budget day, full session", usual_hours=True)
# A drill of the disaster recovery site: 45 minutes on the primary one, an hour on the other. For 2024-05-18
# some press reports have 11:45-12:40 for the second session; the exchange's table has 11:30-12:30.
_DRILL = SpecialDay(
    note="disaster recovery drill, two short sessions",
    hours=((time(9, 15), time(10, 0)), (time(11, 30), time(12, 30))),
)

_EQUITY_SPECIAL = {
    date(2016, 10, 30): _muhurat(),
    date(2017, 10, 19): _muhurat(),
    date(2018, 11, 7): _muhurat("17:30", "18:30"),  # press, 2018-11-06
    date(2019, 10, 27): _muhurat(),
    # Confirmed by candles of the day as well: 09:15 to 15:30.
    date(2020, 2, 1): _BUDGET,
    date(2020, 11, 14): _muhurat(),
    date(2021, 11, 4): _muhurat("18:15", "19:15"),  # press, 2021-11-04
    date(2022, 10, 24): _muhurat("18:15", "19:15"),  # press, 2022-10-21
    date(2023, 11, 12): _muhurat("18:15", "19:15"),  # a broker's announcement
    # Planned as a drill; became a full day when 2024-01-22 was made a holiday. Confirmed by candles.
    date(2024, 1, 20): SpecialDay(note="full session in place of 2024-01-22", usual_hours=True),
    date(2024, 3, 2): _DRILL,
    date(2024, 5, 18): _DRILL,
    date(2024, 11, 1): _muhurat("18:00", "19:00"),  # press on the exchanges' circulars of 2024-10-19
    date(2025, 2, 1): _BUDGET,
    date(2025, 10, 21): _muhurat("13:45", "14:45"),  # press on the exchange's circular of 2025-09-22
    date(2026, 2, 1): _BUDGET,
    date(2026, 11, 8): _muhurat(),
}

# NSE and BSE, shares and their derivatives.
EQUITY = TradingDays(
    market="EQUITY",
    covered_from=date(2016, 1, 1),
    covered_to=date(2026, 12, 31),
    holidays=dict.fromkeys(_dates(_EQUITY_HOLIDAYS), _HOLIDAY),
    special=_EQUITY_SPECIAL,
)

# MCX. No list of its own was at hand. It trades on the weekdays on which shares trade; on their holidays it is
# shut, or opens for the evening only, and on Diwali for an hour: unknown until an operator says which.
COMMODITY = TradingDays(
    market="COMMODITY",
    covered_from=EQUITY.covered_from,
    covered_to=EQUITY.covered_to,
    uncertain=dict.fromkeys(
        (*EQUITY.holidays, *EQUITY.special), "the morning or the whole day may be a holiday at MCX"
    ),
)

# Currency derivatives have bank holidays of their own, and no list of them was at hand: nothing is covered.
CURRENCY = TradingDays(market="CURRENCY", covered_from=date(2016, 1, 1), covered_to=date(2015, 12, 31))

CALENDARS = (EQUITY, COMMODITY, CURRENCY)
