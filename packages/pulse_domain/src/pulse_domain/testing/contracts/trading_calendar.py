"""What every trading calendar promises."""

from datetime import date, datetime, time, timedelta

import pytest

from pulse_domain.errors import CalendarUnknown, InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.market import Action, DayStatus, PhaseKind
from pulse_domain.ports.trading_calendar import TradingCalendar
from pulse_domain.units import INDIA

_SHARE = Instrument.parse("NSE:TCS")
_FUTURE = Instrument.parse("NFO:NIFTY26NOVFUT")
_FRIDAY, _SATURDAY = date(2026, 11, 20), date(2026, 11, 21)


class TradingCalendarContract:
    """Subclass it and override `calendar`."""

    @pytest.fixture
    def calendar(self) -> TradingCalendar:
        pytest.fail("a subclass overrides this fixture")

    async def test_orders_can_be_placed_on_a_weekday_at_noon(self, calendar: TradingCalendar) -> None:
        for instrument in (_SHARE, _FUTURE):
            session = (await calendar.sessions(instrument)).session_at(
                datetime.combine(_FRIDAY, time(12), INDIA)
            )

            assert session is not None
            assert session.kind is PhaseKind.CONTINUOUS
            assert session.allows(Action.PLACE)

    async def test_a_weekend_is_closed(self, calendar: TradingCalendar) -> None:
        sessions = await calendar.sessions(_SHARE)

        assert sessions.status(_SATURDAY) is DayStatus.CLOSED
        assert sessions.intervals(_SATURDAY) == ()

    async def test_the_next_opening_is_open(self, calendar: TradingCalendar) -> None:
        sessions = await calendar.sessions(_FUTURE)

        opens = sessions.next_open(datetime.combine(_SATURDAY, time(12), INDIA))

        assert opens.date() == _SATURDAY + timedelta(days=2)
        assert sessions.session_at(opens) is not None

    async def test_a_day_far_ahead_is_unknown_and_never_open(self, calendar: TradingCalendar) -> None:
        sessions = await calendar.sessions(_SHARE)
        far = date(2126, 11, 20)

        assert sessions.status(far) is DayStatus.UNKNOWN
        with pytest.raises(CalendarUnknown):
            sessions.intervals(far)

    async def test_a_derivative_of_no_known_kind_is_refused(self, calendar: TradingCalendar) -> None:
        with pytest.raises(InvalidInstrument):
            await calendar.sessions(Instrument.parse("NFO:NIFTY"))
