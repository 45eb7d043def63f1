"""Instruments and the trading terms that an order keeps from its acceptance on."""

import re
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from pulse_domain.errors import InvalidInstrument

_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9&_.!-]{0,63}")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKLY_MONTHS = "123456789OND"
_OPTION = r"\d+(?:\.\d+)?(?:CE|PE)"
_MONTHLY = re.compile(rf".+?(\d\d)({'|'.join(MONTHS)})(?:FUT|{_OPTION})")
_WEEKLY = re.compile(rf"[A-Z]+(\d\d)([{WEEKLY_MONTHS}])(\d\d){_OPTION}")


class Exchange(StrEnum):
    NSE = "NSE"
    BSE = "BSE"
    NFO = "NFO"
    BFO = "BFO"
    MCX = "MCX"
    CDS = "CDS"

    __hash__ = str.__hash__  # every look-up by instrument takes it, and the enum's own is a Python function

    @property
    def is_cash(self) -> bool:
        return self is Exchange.NSE or self is Exchange.BSE


class Instrument(Struct, frozen=True, order=True, gc=False):
    """A tradable symbol at an exchange, written `EXCHANGE:SYMBOL`."""

    exchange: Exchange
    symbol: str

    @classmethod
    def parse(cls, text: str) -> "Instrument":
        """Read `EXCHANGE:SYMBOL`; the symbol in the broker's spelling, such as `NSE:M&M`.

        Raises:
            InvalidInstrument: the text has another shape or names an unknown exchange.
        """
        exchange, colon, symbol = text.partition(":")
        if not colon or _SYMBOL.fullmatch(symbol) is None:
            raise InvalidInstrument(
                "instrument must be written EXCHANGE:SYMBOL, for example NSE:RELIANCE", field="instrument"
            )
        if exchange not in Exchange.__members__:
            raise InvalidInstrument(
                f"exchange must be one of {', '.join(Exchange)}", field="instrument", allowed=list(Exchange)
            )
        return cls(Exchange(exchange), symbol)

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"

    @property
    def last_day(self) -> date | None:
        """The last day on which a contract may be traded, as far as its symbol tells; None: it does not.

        `NIFTY2651224000CE` has the day; `NIFTY26MAYFUT` has the month only: it may expire before its end.
        """
        if self.exchange.is_cash:
            return None
        if monthly := _MONTHLY.fullmatch(self.symbol):
            year, month = 2000 + int(monthly[1]), MONTHS.index(monthly[2]) + 1
            return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
        if weekly := _WEEKLY.fullmatch(self.symbol):
            try:
                return date(2000 + int(weekly[1]), WEEKLY_MONTHS.index(weekly[2]) + 1, int(weekly[3]))
            except ValueError:
                return None
        return None

    def has_expired(self, day: date) -> bool:
        """Whether its symbol tells that it is a contract of an earlier day or month."""
        return self.last_day is not None and self.last_day < day


class InstrumentTerms(Struct, frozen=True, kw_only=True):
    """What an order must respect, as known on the day of its acceptance.

    lot_size: orders are whole multiples of it, in units.
    tick_size: prices are whole multiples of it, in rupees.
    freeze_quantity: the largest quantity, in units, that one order at the exchange may have.
    units_per_broker_quantity: what one counts for in a broker's own quantity field (MCX counts lots).
    """

    lot_size: int = 1
    tick_size: Decimal = Decimal("0.05")
    freeze_quantity: int | None = None
    units_per_broker_quantity: int = 1

    def __post_init__(self) -> None:
        # Instrument files have rows of zeros (indices): nothing can be traded on such terms.
        counts = (self.lot_size, self.units_per_broker_quantity)
        if not all(type(count) is int for count in counts) or type(self.tick_size) is not Decimal:
            raise InvalidInstrument("lots of an instrument are whole numbers, and its tick size is a Decimal")
        if self.freeze_quantity is not None and (
            type(self.freeze_quantity) is not int or self.freeze_quantity < 0
        ):
            raise InvalidInstrument("the freeze quantity must be a whole number, 0 or above, or None")
        if self.lot_size < 1 or self.tick_size <= 0 or self.units_per_broker_quantity < 1:
            raise InvalidInstrument("lot size and tick size of the instrument must be above 0")


class ListingKind(StrEnum):
    SHARE = "EQ"
    FUTURE = "FUT"
    CALL = "CE"
    PUT = "PE"

    __hash__ = str.__hash__

    @property
    def is_option(self) -> bool:
        return self is ListingKind.CALL or self is ListingKind.PUT


class Listing(Struct, frozen=True, kw_only=True, gc=False):
    """An instrument as a broker's file lists it on a day.

    token: the broker's own number for it, unique at the broker; numbers of expired contracts are used again.
    broker_symbol: how the broker's order calls name it.
    name: the company or underlying.
    freeze_quantity: as printed; `pulse_domain.market.largest_order` says what it allows.
    units_per_broker_quantity: what one counts for in the broker's quantity field.
    closing_auction: whether the share takes part in it; None where the file does not say.
    """

    token: str
    instrument: Instrument
    broker_symbol: str
    name: str
    kind: ListingKind
    tick_size: Decimal
    lot_size: int
    expiry: date | None = None
    strike: Decimal | None = None
    freeze_quantity: int | None = None
    units_per_broker_quantity: int = 1
    closing_auction: bool | None = None
