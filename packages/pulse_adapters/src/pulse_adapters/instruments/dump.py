"""What comes out of a vendor's instrument file, row by row: a listing, a row that is not for us, or a bad one.

A bad row is left out and reported with its line, so that one broken row does not cost the other forty
thousand. Rows that are right and cannot be traded (indices, test symbols) are counted by their reason.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation

from msgspec import Struct

from pulse_domain.instruments import MONTHS, WEEKLY_MONTHS, Exchange, Listing

# Quantities are stored as four-byte integers.
_INT_MAX = 2**31 - 1


class DumpError(Exception):
    """The file as a whole cannot be used; the text says why."""


class RowError(Exception):
    """A row that cannot be read; the text is its reason."""


class BadRow(Struct, frozen=True):
    line: int
    symbol: str
    reason: str


class Skipped(Struct, frozen=True):
    """A row that is right and not for us."""

    reason: str


class Dump(Struct, frozen=True, kw_only=True):
    """rows: without the header."""

    rows: int
    listings: tuple[Listing, ...]
    bad: tuple[BadRow, ...]
    skipped: Mapping[str, int]

    @property
    def exchanges(self) -> frozenset[Exchange]:
        return frozenset(listing.instrument.exchange for listing in self.listings)


def collect(rows: Iterable[tuple[int, Listing | BadRow | Skipped]]) -> Dump:
    """Gather a file's rows. The second row of a token or symbol is a bad one."""
    listings: list[Listing] = []
    bad: list[BadRow] = []
    skipped: Counter[str] = Counter()
    tokens: dict[str, int] = {}
    symbols: dict[object, int] = {}
    count = 0
    for line, row in rows:
        count += 1
        if isinstance(row, Skipped):
            skipped[row.reason] += 1
        elif isinstance(row, BadRow):
            bad.append(row)
        elif row.token in tokens:
            bad.append(
                BadRow(line, row.broker_symbol, f"token {row.token} is also in line {tokens[row.token]}")
            )
        elif row.instrument in symbols:
            bad.append(BadRow(line, row.broker_symbol, f"the symbol is also in line {symbols[row.instrument]}"))
        else:
            tokens[row.token] = symbols[row.instrument] = line
            listings.append(row)
    return Dump(rows=count, listings=tuple(listings), bad=tuple(bad), skipped=dict(skipped))


def merged(dumps: Sequence[Dump]) -> Dump:
    """Several files of one vendor as one."""
    skipped: Counter[str] = Counter()
    for dump in dumps:
        skipped.update(dump.skipped)
    return Dump(
        rows=sum(dump.rows for dump in dumps),
        listings=tuple(listing for dump in dumps for listing in dump.listings),
        bad=tuple(bad for dump in dumps for bad in dump.bad),
        skipped=dict(skipped),
    )


# --- fields


def decimal_of(field: str, text: str) -> Decimal:
    """A number in any notation, `2.1e+06` included."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise RowError(f"{field} is not a number: {text!r}") from None
    if not number.is_finite() or abs(number) > 10**12:
        raise RowError(f"{field} is out of range: {text!r}")
    return number


def whole_of(field: str, text: str, most: int = _INT_MAX) -> int:
    number = decimal_of(field, text)
    if number != int(number) or abs(number) > most:
        raise RowError(f"{field} is not a whole number: {text!r}")
    return int(number)


def plain(number: Decimal) -> Decimal:
    """The same number written the same way, however the file writes it: 21000 for 2.1E+4, 0.1 for 0.10."""
    short = number.normalize()
    return short.quantize(Decimal(1)) if int(short.as_tuple().exponent) > 0 else short


def positive_tick(number: Decimal) -> Decimal:
    if number <= 0:
        raise RowError(f"tick size {number}: nothing can be traded on it")
    return plain(number)


def positive_lot(number: int) -> int:
    if number < 1:
        raise RowError(f"lot size {number}: nothing can be traded in it")
    return number


# --- contract symbols

_MONTHLY = re.compile(rf"(\d\d)({'|'.join(MONTHS)})")
_WEEKLY = re.compile(rf"(\d\d)([{WEEKLY_MONTHS}])(\d\d)")


def check_expiry(symbol: str, name: str, expiry: date) -> None:
    """Check a contract's date against its symbol: `NIFTY26MAY…` has the month, `NIFTY26512…` the day.

    Symbols that are written otherwise are left alone.

    Raises:
        RowError: they differ.
    """
    if not symbol.startswith(name):
        return
    rest = symbol[len(name) :]
    if monthly := _MONTHLY.match(rest):
        good = (int(monthly[1]), MONTHS.index(monthly[2]) + 1) == (expiry.year % 100, expiry.month)
    elif weekly := _WEEKLY.match(rest):
        month = WEEKLY_MONTHS.index(weekly[2]) + 1
        good = (int(weekly[1]), month, int(weekly[3])) == (expiry.year % 100, expiry.month, expiry.day)
    else:
        return
    if not good:
        raise RowError(f"expiry {expiry} is not that of the symbol")
