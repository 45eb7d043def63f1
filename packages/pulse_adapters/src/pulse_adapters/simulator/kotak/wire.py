"""How the API writes things: numbers as text, times of India without an offset."""

from datetime import datetime
from decimal import Decimal

from pulse_adapters.simulator.catalog import Listing
from pulse_domain.instruments import Exchange
from pulse_domain.units import INDIA

NONE = "NA"
DASHES = "--"


def day(at: datetime) -> str:
    return at.astimezone(INDIA).strftime("%d-%b-%Y")


def clock(at: datetime) -> str:
    return at.astimezone(INDIA).strftime("%H:%M:%S")


def stamp(at: datetime | None) -> str:
    return DASHES if at is None else f"{day(at)} {clock(at)}"


def slashed(at: datetime) -> str:
    return at.astimezone(INDIA).strftime("%Y/%m/%d %H:%M:%S")


def nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1000


def precision(listing: Listing) -> int:
    """Places after the point."""
    return 4 if listing.instrument.exchange is Exchange.CDS else 2


def price(value: Decimal | None, places: int = 2) -> str:
    return f"{value or 0:.{places}f}"
