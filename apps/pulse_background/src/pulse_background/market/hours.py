"""When candles are built: in the sessions of the calendar, or around the clock where prices never end."""

from datetime import datetime, time, timedelta

from pulse_domain.candles import SessionHours
from pulse_domain.instruments import Instrument
from pulse_domain.market.sessions import indian_day
from pulse_domain.units import INDIA

_DAY = timedelta(days=1)


def around_the_clock(instrument: Instrument, at: datetime) -> SessionHours:
    """A day of India, from midnight to midnight."""
    opens = datetime.combine(indian_day(at), time(), INDIA)
    return SessionHours(opens, opens + _DAY)
