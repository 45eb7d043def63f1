"""Kite's instrument file: `GET /instruments` or `/instruments/{exchange}`, CSV, made once a day.

Traps: index rows have tick and lot 0; ticks and lots differ by row and day; tokens of expired contracts are
used again. Quantities count units but for MCX, where they count lots. There is no freeze quantity in it, and
nothing on the closing auction: a share has derivatives where the NFO file has contracts of its name.
"""

import csv
from collections.abc import Iterable, Iterator
from datetime import date
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

COLUMNS = (
    "instrument_token",
    "exchange_token",
    "tradingsymbol",
    "name",
    "last_price",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
    "exchange",
)
# Where the token is made of the exchange's token and a number of the segment; others are not documented.
_COMPOSED = frozenset({Exchange.NSE, Exchange.NFO})
_TOKEN_MAX = 2**32 - 1  # unsigned on the ticker's wire


def read_kite(lines: Iterable[str]) -> Iterator[tuple[int, Listing | BadRow | Skipped]]:
    """Read a file's lines, each row with its line number.

    Raises:
        DumpError: it has not the columns of an instrument file.
    """
    reader = csv.reader(lines)
    header = [name.strip().lstrip("\ufeff") for name in next(reader, [])]
    if missing := [name for name in COLUMNS if name not in header]:
        raise DumpError(f"this is no Kite instrument file: column {missing[0]} is missing")
    places = tuple(header.index(name) for name in COLUMNS)
    for row in reader:
        if not row:
            continue
        line = reader.line_num
        if len(row) != len(header):
            yield line, BadRow(line, "", f"{len(row)} columns instead of {len(header)}")
            continue
        values = [row[place] for place in places]
        try:
            yield line, _listing(values)
        except (RowError, InvalidInstrument) as error:
            yield line, BadRow(line, values[2], str(error))


def _listing(values: list[str]) -> Listing | Skipped:
    token, exchange_token, symbol, name, _, expiry_text, strike, tick, lot, kind_text, segment, at = values
    if segment == "INDICES":
        return Skipped("index: has a value, cannot be traded")
    if at not in Exchange.__members__:
        return Skipped(f"exchange {at} is not traded here")
    exchange = Exchange(at)
    instrument = Instrument.parse(f"{exchange}:{symbol}")
    number = whole_of("token", token, _TOKEN_MAX)
    if exchange in _COMPOSED and number >> 8 != whole_of("exchange_token", exchange_token):
        raise RowError(f"token {token} does not go with exchange token {exchange_token}")
    try:
        kind = ListingKind(kind_text)
    except ValueError:
        raise RowError(f"unknown instrument type {kind_text!r}") from None
    lot_size = positive_lot(whole_of("lot_size", lot))
    tick_size = positive_tick(decimal_of("tick_size", tick))
    expiry = None
    if kind is not ListingKind.SHARE:
        expiry = _date(expiry_text)
        check_expiry(symbol, name, expiry)
    return Listing(
        token=token,
        instrument=instrument,
        broker_symbol=symbol,
        name=name,
        kind=kind,
        tick_size=tick_size,
        lot_size=lot_size,
        expiry=expiry,
        strike=_strike(strike) if kind.is_option else None,
        units_per_broker_quantity=lot_size if exchange is Exchange.MCX else 1,
    )


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RowError(f"expiry is not a date: {text!r}") from None


def _strike(text: str) -> Decimal:
    strike = decimal_of("strike", text)
    if strike <= 0:
        raise RowError(f"strike {text} of an option")
    return plain(strike)
