"""Which hours an instrument keeps."""

import re
from enum import StrEnum

from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Exchange, Instrument


class TradingSegment(StrEnum):
    """Groups of instruments with sessions of their own: one end per exchange would be wrong."""

    CASH = "CASH"
    CASH_WITH_AUCTION = "CASH_WITH_AUCTION"  # shares that have derivatives: a closing auction since 2026-08-03
    FUTURES = "FUTURES"
    OPTIONS = "OPTIONS"
    CURRENCY = "CURRENCY"
    COMMODITY = "COMMODITY"
    COMMODITY_AGRI = "COMMODITY_AGRI"
    COMMODITY_AGRI_INTERNATIONAL = "COMMODITY_AGRI_INTERNATIONAL"

    __hash__ = str.__hash__


# Metals, energy and their indices trade until late. What is not named here ends with the agricultural
# contracts, at 17:00: an end that is too early costs an order, one that is too late a rejection.
# Source: MCX contract sizes in the reference documents; the internationally linked ones are not named there.
_LATE_COMMODITIES = (
    "ALUMINI", "ALUMINIUM", "COPPER", "CRUDEOIL", "CRUDEOILM", "GOLD", "GOLDGUINEA", "GOLDM", "GOLDPETAL",
    "LEAD", "LEADMINI", "NATGASMINI", "NATURALGAS", "NICKEL", "SILVER", "SILVERM", "SILVERMIC", "ZINC",
    "ZINCMINI",
)  # fmt: skip
_COMMODITY = re.compile(rf"({'|'.join(sorted(_LATE_COMMODITIES, key=len, reverse=True))})\d")


def trading_segment(instrument: Instrument, *, closing_auction: bool | None = None) -> TradingSegment:
    """The segment of an instrument.

    closing_auction: whether the share takes part in the closing auction. None, where nobody knows, counts as
        yes: its continuous session then ends at 15:15 rather than at 15:30.

    Raises:
        InvalidInstrument: a derivative's symbol ends in neither FUT, CE nor PE.
    """
    exchange, symbol = instrument.exchange, instrument.symbol
    if exchange.is_cash:
        return TradingSegment.CASH if closing_auction is False else TradingSegment.CASH_WITH_AUCTION
    if exchange is Exchange.CDS:
        return TradingSegment.CURRENCY
    if exchange is Exchange.MCX:
        return TradingSegment.COMMODITY if _COMMODITY.match(symbol) else TradingSegment.COMMODITY_AGRI
    if symbol.endswith("FUT"):
        return TradingSegment.FUTURES
    if symbol.endswith(("CE", "PE")):
        return TradingSegment.OPTIONS
    raise InvalidInstrument(f"{instrument} ends in neither FUT, CE nor PE", field="instrument")
