"""Kotak's scrip master: one CSV per segment, in a folder of the day.

Traps, all of them met in real files: header names end in blanks or a semicolon, differently by file; ticks and
strikes are in paise (by `lPrecision`), strikes in exponent form; -1 means none; in nse_fo and cde_fo files the
expiry counts from 1980-01-01, in bse_fo and mcx_fo ones it is Unix time; a company has many cash rows, of which
series EQ is the share; the test symbols of the exchange are among them; a freeze quantity of 99999999 is none,
and whether it is the limit or the quantity that trips it differs by file.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from pulse_adapters.instruments.dump import (
    BadRow,
    DumpError,
    RowError,
    Skipped,
    check_expiry,
    decimal_of,
    plain,
    positive_lot,
    positive_tick,
    whole_of,
)
from pulse_domain.errors import InvalidInstrument
from pulse_domain.instruments import Exchange, Instrument, Listing, ListingKind
from pulse_domain.units import INDIA

SEGMENTS = {
    "nse_cm": Exchange.NSE,
    "bse_cm": Exchange.BSE,
    "nse_fo": Exchange.NFO,
    "bse_fo": Exchange.BFO,
    "mcx_fo": Exchange.MCX,
    "cde_fo": Exchange.CDS,
}
COLUMNS = (
    "pSymbol",
    "pGroup",
    "pExchSeg",
    "pSymbolName",
    "pTrdSymbol",
    "pOptionType",
    "dTickSize",
    "lLotSize",
    "lExpiryDate",
    "lPrecision",
    "dStrikePrice",
    "lFreezeQty",
)
_ISIN = "pISIN"
_CLOSING_AUCTION = "CASEligible"  # in newer files
_FROM_1980 = frozenset({"nse_fo", "cde_fo"})
_SECONDS_TO_UNIX = 315_513_000  # from 1980-01-01 00:00 in India
_NO_FREEZE = 99_999_999
_PRECISION_MAX = 7


def read_kotak(lines: Iterable[str]) -> Iterator[tuple[int, Listing | BadRow | Skipped]]:
    """Read a file's lines, each row with its line number.

    Raises:
        DumpError: it has not the columns of a scrip master.
    """
    reader = csv.reader(lines)
    header = [name.strip("\ufeff ;") for name in next(reader, [])]
    if missing := [name for name in COLUMNS if name not in header]:
        raise DumpError(f"this is no Kotak scrip master: column {missing[0]} is missing")
    places = {name: header.index(name) for name in (*COLUMNS, _ISIN, _CLOSING_AUCTION) if name in header}
    for row in reader:
        if not row:
            continue
        line = reader.line_num
        if len(row) != len(header):
            yield line, BadRow(line, "", f"{len(row)} columns instead of {len(header)}")
            continue
        values = {name: row[place].strip() for name, place in places.items()}
        try:
            yield line, _listing(values)
        except (RowError, InvalidInstrument) as error:
            yield line, BadRow(line, values["pTrdSymbol"], str(error))


def _listing(row: Mapping[str, str]) -> Listing | Skipped:
    segment = row["pExchSeg"]
    exchange = SEGMENTS.get(segment)
    if exchange is None:
        return Skipped(f"segment {segment} is not traded here")
    if exchange.is_cash and (row["pGroup"] == "" or row.get(_ISIN) == ""):
        return Skipped("index: has a value, cannot be traded")
    if not exchange.is_cash and row["pOptionType"] == "":
        return Skipped("underlying: listed among the contracts, cannot be traded")
    if "NSETEST" in row["pTrdSymbol"]:
        return Skipped("test symbol of the exchange")
    precision = whole_of("lPrecision", row["lPrecision"])
    if not 0 <= precision <= _PRECISION_MAX:
        raise RowError(f"lPrecision is out of range: {precision}")
    kind = _kind(exchange, row["pOptionType"])
    instrument = Instrument.parse(f"{exchange}:{_symbol(exchange, row)}")
    expiry = None
    if kind is not ListingKind.SHARE:
        expiry = _expiry(segment, row["lExpiryDate"])
        check_expiry(row["pTrdSymbol"], row["pSymbolName"], expiry)
    lot_size = positive_lot(whole_of("lLotSize", row["lLotSize"]))
    return Listing(
        token=f"{segment}|{row['pSymbol']}",
        instrument=instrument,
        broker_symbol=row["pTrdSymbol"],
        name=row["pSymbolName"],
        kind=kind,
        tick_size=positive_tick(decimal_of("dTickSize", row["dTickSize"]).scaleb(-precision)),
        lot_size=lot_size,
        expiry=expiry,
        strike=_strike(row["dStrikePrice"], precision) if kind.is_option else None,
        freeze_quantity=_freeze_quantity(row["lFreezeQty"], lot_size),
        closing_auction=_yes_or_no(row.get(_CLOSING_AUCTION, "")) if exchange.is_cash else None,
    )


def _symbol(exchange: Exchange, row: Mapping[str, str]) -> str:
    """The symbol as we and Kite write it: RELIANCE for RELIANCE-EQ, other series with theirs.

    BSE has groups instead of series, which are no part of a symbol. No file of it was at hand: this is how
    others read it.
    """
    if exchange is Exchange.BSE or (exchange is Exchange.NSE and row["pGroup"] == "EQ"):
        return row["pSymbolName"]
    return row["pTrdSymbol"]


def _kind(exchange: Exchange, option_type: str) -> ListingKind:
    if exchange.is_cash:
        return ListingKind.SHARE
    if option_type in ("CE", "PE"):
        return ListingKind(option_type)
    if option_type == "XX":
        return ListingKind.FUTURE
    raise RowError(f"unknown option type {option_type!r}")


def _expiry(segment: str, text: str) -> date:
    seconds = whole_of("lExpiryDate", text)
    if seconds <= 0:
        raise RowError(f"a contract without an expiry: {text}")
    if segment in _FROM_1980:
        seconds += _SECONDS_TO_UNIX
    # Only the day counts: the file's two expiry columns differ by half an hour.
    return datetime.fromtimestamp(seconds, UTC).astimezone(INDIA).date()


def _strike(text: str, precision: int) -> Decimal:
    strike = decimal_of("dStrikePrice", text)
    if strike <= 0:
        raise RowError(f"strike {text} of an option")
    return plain(strike.scaleb(-precision))


def _freeze_quantity(text: str, lot_size: int) -> int | None:
    quantity = whole_of("lFreezeQty", text)
    if quantity <= 0 or quantity >= _NO_FREEZE:
        return None
    if quantity < lot_size:
        raise RowError(f"freeze quantity {quantity} is below one lot of {lot_size}")
    return quantity


def _yes_or_no(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())
