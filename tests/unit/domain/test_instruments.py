"""What the symbol of a contract tells of its end."""

from datetime import date

import pytest

from pulse_domain.instruments import Instrument


@pytest.mark.parametrize(
    ("text", "last_day"),
    [
        ("NFO:NIFTY26MAYFUT", date(2026, 5, 31)),
        ("NFO:NIFTY26FEB24000CE", date(2026, 2, 28)),
        ("NFO:NIFTY28FEB24000PE", date(2028, 2, 29)),
        ("NFO:360ONE26DEC1050.5CE", date(2026, 12, 31)),
        ("NFO:M&M26JANFUT", date(2026, 1, 31)),
        ("MCX:GOLDM26FEBFUT", date(2026, 2, 28)),
        ("NFO:NIFTY2651224000CE", date(2026, 5, 12)),
        ("BFO:SENSEX26O0181000PE", date(2026, 10, 1)),
        ("NFO:NIFTY26D3124000PE", date(2026, 12, 31)),
        ("NFO:NIFTY26N3124000PE", None),  # there is no such day
        ("NFO:NIFTY", None),
        ("MCX:GOLDM", None),
        ("NSE:RELIANCE", None),
        ("NSE:ABC26MAYFUT", None),  # a share, whatever it is called
    ],
)
def test_a_contract_ends_with_the_day_or_the_month_of_its_symbol(text: str, last_day: date | None) -> None:
    instrument = Instrument.parse(text)

    assert instrument.last_day == last_day
    if last_day is None:
        assert not instrument.has_expired(date.max)
    else:
        assert not instrument.has_expired(last_day)
        assert instrument.has_expired(date.fromordinal(last_day.toordinal() + 1))
