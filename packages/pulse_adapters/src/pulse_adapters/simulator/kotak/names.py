"""What the broker calls things: segments, trading symbols, tokens, order numbers."""

import re
from collections.abc import Iterable
from datetime import datetime

from pulse_adapters.simulator.catalog import Listing
from pulse_domain.instruments import Exchange
from pulse_domain.orders.model import Side
from pulse_domain.units import INDIA

SEGMENTS = {
    Exchange.NSE: "nse_cm",
    Exchange.BSE: "bse_cm",
    Exchange.NFO: "nse_fo",
    Exchange.BFO: "bse_fo",
    Exchange.MCX: "mcx_fo",
    Exchange.CDS: "cde_fo",
}
# Orders in currencies are not taken.
ORDER_SEGMENTS = frozenset(SEGMENTS.values()) - {"cde_fo"}
SIDES = {"B": Side.BUY, "S": Side.SELL}
SIDE_CODES = {side: code for code, side in SIDES.items()}

_SHARE = "EQ"
_BSE_GROUP = "A"
_INDEX_TOKENS = {"NIFTY 50": "Nifty 50", "NIFTY BANK": "Nifty Bank"}
# Beside the share itself, symbols tell the series: SGBMAY29-GB.
_of_series = re.compile(r"(.+)-([A-Z0-9]{2})").fullmatch
_ORDERS_A_DAY = 10**9


def first_number(at: datetime) -> int:
    """The first order number of a day: YYMMDD and nine digits."""
    return int(f"{at.astimezone(INDIA):%y%m%d}") * _ORDERS_A_DAY + 1


def segment(listing: Listing) -> str:
    return SEGMENTS[listing.instrument.exchange]


def token(listing: Listing) -> str:
    """What quotes and feeds name it by: a number, but of an index its name."""
    symbol = listing.instrument.symbol
    return _INDEX_TOKENS.get(symbol, symbol) if listing.is_index else str(listing.exchange_token)


def neo_symbol(listing: Listing) -> str:
    """Both, as quotes, candles and feeds are asked for: nse_cm|1333."""
    return f"{segment(listing)}|{token(listing)}"


def series(listing: Listing) -> str:
    """`EQ` for a share, the group at BSE; a contract has none."""
    if listing.is_index:
        return ""
    exchange = listing.instrument.exchange
    if exchange is Exchange.NSE:
        found = _of_series(listing.instrument.symbol)
        return found[2] if found else _SHARE
    return _BSE_GROUP if exchange is Exchange.BSE else "XX"


def plain_name(listing: Listing) -> str:
    """The name without series; of a contract that of its underlying."""
    symbol = listing.instrument.symbol
    if listing.instrument.exchange is Exchange.NSE and not listing.is_index:
        found = _of_series(symbol)
        return found[1] if found else symbol
    return symbol if listing.instrument.exchange.is_cash else listing.name


def trading_symbol(listing: Listing) -> str:
    """What orders name it by: RELIANCE-EQ."""
    if listing.is_index or not listing.instrument.exchange.is_cash:
        return listing.instrument.symbol
    return f"{plain_name(listing)}-{series(listing)}"


class Scrips:
    """Finds listings by the broker's names."""

    def __init__(self, listings: Iterable[Listing]) -> None:
        listings = tuple(listings)
        self._by_symbol = {(segment(each), trading_symbol(each)): each for each in listings}
        self._by_token = {(segment(each), token(each)): each for each in listings}

    def by_symbol(self, segment: str, symbol: str) -> Listing | None:
        return self._by_symbol.get((segment, symbol))

    def by_token(self, segment: str, token: str) -> Listing | None:
        return self._by_token.get((segment, token))

    def by_neosymbol(self, text: str) -> Listing | None:
        """Find `nse_cm|1333`."""
        segment, _, token = text.partition("|")
        return self.by_token(segment, token)

    def of_underlying(self, segment_name: str, name: str) -> list[Listing]:
        """The contracts of an underlying, by expiry and strike."""
        found = [
            each
            for (where, _), each in self._by_symbol.items()
            if where == segment_name and each.name == name and each.expiry is not None
        ]
        return sorted(found, key=lambda each: (each.expiry, each.strike, each.kind))
