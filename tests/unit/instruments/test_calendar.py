"""When candles are built, by instrument and day."""

from datetime import datetime

import pytest

from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_domain.candles import SessionHours
from pulse_domain.instruments import Instrument


def india(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}:00+05:30")


@pytest.mark.parametrize(
    ("instrument", "at", "hours"),
    [
        ("NSE:TCS", "2026-01-20T09:15", ("2026-01-20T09:15", "2026-01-20T15:30")),
        ("NSE:TCS", "2026-01-20T15:29", ("2026-01-20T09:15", "2026-01-20T15:30")),
        ("NSE:TCS", "2026-01-20T09:14", None),
        ("NSE:TCS", "2026-01-20T15:30", None),
        # Since the closing auction came.
        ("NSE:TCS", "2026-11-19T15:14", ("2026-11-19T09:15", "2026-11-19T15:15")),
        ("NSE:TCS", "2026-11-19T15:20", None),
        ("NFO:TCS26NOVFUT", "2026-11-19T15:20", ("2026-11-19T09:15", "2026-11-19T15:40")),
        ("NSE:TCS", "2026-01-24T10:00", None),  # a Saturday
        ("NSE:TCS", "2026-01-26T10:00", None),  # Republic Day
        ("NSE:TCS", "2031-01-20T10:00", None),  # nobody knows
        ("NFO:NONSENSE", "2026-01-20T10:00", None),
    ],
)
def test_the_session_at_an_instant(instrument: str, at: str, hours: tuple[str, str] | None) -> None:
    calendar = DatedCalendar()

    for _ in range(2):  # looked up, and then remembered
        found = calendar.hours_at(Instrument.parse(instrument), india(at))
        assert found == (None if hours is None else SessionHours(*map(india, hours)))
