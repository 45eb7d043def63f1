"""What can be traded: a broker's instrument file, or a small one made for the day.

The figures of the made one are examples near those of 2026; lots and freeze quantities change by circular.
"""

import csv
import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zlib import crc32

from msgspec import Struct

from pulse_domain.account import Contract
from pulse_domain.errors import InvalidInstrument, MarketDataUnavailable
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.ports.market_data import MarketData

COLUMNS = (
    "instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike",
    "tick_size", "lot_size", "instrument_type", "segment", "exchange",
)  # fmt: skip
SEGMENT_IDS = {"NSE": 1, "NFO": 2, "CDS": 3, "BSE": 4, "BFO": 5, "MCX": 7, "INDICES": 9}
_TOKEN_MAX = 1 << 24

# Tokens that everybody who has used the API knows by heart.
_TOKENS = {
    "NSE:INFY": 1594, "NSE:SBIN": 3045, "NSE:RELIANCE": 2885, "NSE:TCS": 11536, "NSE:HDFCBANK": 1333,
    "NSE:ICICIBANK": 4963, "NSE:ITC": 1660, "NSE:TATASTEEL": 3499, "NSE:BHEL": 438, "NSE:IOC": 1624,
}  # fmt: skip
_SHARES = {
    "INFY": "INFOSYS", "SBIN": "STATE BANK OF INDIA", "RELIANCE": "RELIANCE INDUSTRIES",
    "TCS": "TATA CONSULTANCY SERV LT", "HDFCBANK": "HDFC BANK", "ICICIBANK": "ICICI BANK", "ITC": "ITC",
    "TATASTEEL": "TATA STEEL", "BHEL": "BHEL", "IOC": "INDIAN OIL CORP", "AXISBANK": "AXIS BANK",
    "KOTAKBANK": "KOTAK MAHINDRA BANK", "LT": "LARSEN & TOUBRO", "MARUTI": "MARUTI SUZUKI INDIA",
    "M&M": "MAHINDRA & MAHINDRA", "BHARTIARTL": "BHARTI AIRTEL", "WIPRO": "WIPRO", "HCLTECH": "HCL TECH",
    "HINDUNILVR": "HINDUSTAN UNILEVER", "BAJFINANCE": "BAJAJ FINANCE", "SUNPHARMA": "SUN PHARMACEUTICAL IND L",
    "TATAMOTORS": "TATA MOTORS", "ONGC": "OIL AND NATURAL GAS CORP", "NTPC": "NTPC", "YESBANK": "YES BANK",
    "IDEA": "VODAFONE IDEA", "TITAN": "TITAN COMPANY", "ASIANPAINT": "ASIAN PAINTS", "ADANIENT": "ADANI ENT",
    "NIFTYBEES": "NIP IND ETF NIFTY BEES",
}  # fmt: skip
_INDICES = {"NIFTY 50": "NIFTY", "NIFTY BANK": "BANKNIFTY", "SENSEX": "SENSEX"}
# Exchange, lot, freeze quantity, distance of strikes.
_INDEX_CONTRACTS: dict[str, tuple[Exchange, int, int, int]] = {
    "NIFTY": (Exchange.NFO, 65, 1800, 50),
    "BANKNIFTY": (Exchange.NFO, 30, 600, 100),
    "FINNIFTY": (Exchange.NFO, 60, 1800, 50),
    "MIDCPNIFTY": (Exchange.NFO, 120, 2800, 25),
    "SENSEX": (Exchange.BFO, 20, 1000, 100),
    "BANKEX": (Exchange.BFO, 30, 900, 100),
}
_STOCK_FUTURES = {"INFY": 400, "RELIANCE": 500, "SBIN": 750, "TCS": 175, "HDFCBANK": 550, "ICICIBANK": 700}
# What one lot moves by when the price moves by a rupee; the venue counts these in lots.
_LOT_VALUES = {
    "GOLD": 100, "GOLDM": 10, "GOLDPETAL": 1, "SILVER": 30, "SILVERM": 5, "CRUDEOIL": 100, "NATURALGAS": 1250,
    "COPPER": 2500, "ZINC": 5000, "LEAD": 5000, "LEADMINI": 1000, "USDINR": 1000, "EURINR": 1000,
    "GBPINR": 1000, "JPYINR": 1000,
}  # fmt: skip
_LOT_FREEZE = {"GOLD": 10, "GOLDM": 100, "SILVER": 20, "CRUDEOIL": 100, "NATURALGAS": 60, "USDINR": 10_000}
_CASH_FREEZE = 500_000
_STRIKES_EACH_WAY = 10
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class CatalogError(Exception):
    """The instrument file cannot be used; the message names it."""


class Listing(Struct, frozen=True, kw_only=True):
    """One instrument of the day.

    kind: EQ, FUT, CE or PE. `lot_size` and `freeze_quantity` are in the venue's units.
    """

    instrument: Instrument
    token: int
    exchange_token: int
    name: str = ""
    expiry: date | None = None
    strike: Decimal = Decimal(0)
    tick_size: Decimal
    lot_size: int = 1
    kind: str = "EQ"
    segment: str
    freeze_quantity: int | None = None

    @property
    def is_index(self) -> bool:
        return self.segment == "INDICES"


class LotContracts(Mapping[Instrument, Contract]):
    """The multipliers of what is traded in lots, by the beginning of the symbol."""

    def __getitem__(self, instrument: Instrument) -> Contract:
        value = _by_root(_LOT_VALUES, instrument)
        if value is None:
            raise KeyError(instrument)
        return Contract(multiplier=value)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(())  # any number of symbols

    def __len__(self) -> int:
        return 0

    def multiplier(self, instrument: Instrument) -> int:
        return _by_root(_LOT_VALUES, instrument) or 1


def _by_root(table: Mapping[str, int], instrument: Instrument) -> int | None:
    if instrument.exchange not in (Exchange.MCX, Exchange.CDS):
        return None
    return table.get(_root(instrument.symbol))


def _root(symbol: str) -> str:
    """The underlying of a contract: what comes before the year."""
    return symbol[: next((i for i, letter in enumerate(symbol) if letter.isdigit()), len(symbol))]


class Catalog:
    """The day's instruments, by symbol and by token."""

    def __init__(self, listings: Iterable[Listing]) -> None:
        self._by_instrument = {listing.instrument: listing for listing in listings}
        self._by_token = {listing.token: listing for listing in self._by_instrument.values()}
        self.contracts = LotContracts()

    def __iter__(self) -> Iterator[Listing]:
        return iter(self._by_instrument.values())

    def __len__(self) -> int:
        return len(self._by_instrument)

    def find(self, instrument: Instrument) -> Listing | None:
        return self._by_instrument.get(instrument)

    def by_name(self, text: str) -> Listing | None:
        """Find `EXCHANGE:SYMBOL` or a numeric token."""
        if text.isdigit():
            return self._by_token.get(int(text))
        exchange, _, symbol = text.partition(":")
        if exchange not in Exchange.__members__:
            return None
        return self._by_instrument.get(Instrument(Exchange(exchange), symbol))

    def by_token(self, token: int) -> Listing | None:
        return self._by_token.get(token)

    def token(self, instrument: Instrument) -> int:
        """The token, 0 for what is no longer listed."""
        listing = self._by_instrument.get(instrument)
        return 0 if listing is None else listing.token

    def tick_size(self, instrument: Instrument) -> Decimal:
        listing = self._by_instrument.get(instrument)
        return Decimal("0.05") if listing is None else listing.tick_size


def feed_name(instrument: Instrument) -> Instrument:
    """An index under the name that made-up feeds have for it."""
    name = _INDICES.get(instrument.symbol)
    return instrument if name is None else Instrument(instrument.exchange, name)


async def made_catalog(
    today: date,
    market: MarketData,
    tick_of: Callable[[Instrument], Decimal] | None = None,
    more: Iterable[Instrument] = (),
) -> Catalog:
    """Some familiar shares, indices, and contracts that expire in the coming months.

    tick_of: the feed's tick sizes, so that orders and quotes lie on one grid; else everything has 0.05.
    more: what else is listed, in single units.
    """
    ticks = tick_of or (lambda _: Decimal("0.05"))
    maker = _Maker(ticks)
    months = list(_month_ends(today, 3))
    levels = {
        root: await _level(market, _contract(terms[0], root, months[0], "FUT"))
        for root, terms in _INDEX_CONTRACTS.items()
    }
    made = [*maker.cash(), *maker.index_contracts(months, levels), *maker.other_futures(months)]
    known = {listing.instrument for listing in made}
    return Catalog([*made, *maker.others([instrument for instrument in more if instrument not in known])])


class _Maker:
    """Makes listings, with numbers that stay the same from day to day."""

    def __init__(self, tick_of: Callable[[Instrument], Decimal]) -> None:
        self._tick_of = tick_of
        self._taken: set[int] = set(_TOKENS.values())

    def cash(self) -> Iterator[Listing]:
        for symbol, name in _SHARES.items():
            for exchange in (Exchange.NSE, Exchange.BSE):
                share = Instrument(exchange, symbol)
                yield from self._list(share, exchange.value, name, freeze=_CASH_FREEZE)
        for symbol in _INDICES:
            exchange = Exchange.BSE if symbol == "SENSEX" else Exchange.NSE
            yield from self._list(Instrument(exchange, symbol), "INDICES", symbol)

    def index_contracts(self, months: list[date], levels: Mapping[str, Decimal]) -> Iterator[Listing]:
        for root, (exchange, lot, freeze, distance) in _INDEX_CONTRACTS.items():
            for expiry in months:
                future = _contract(exchange, root, expiry, "FUT")
                yield from self._list(
                    future, f"{exchange}-FUT", root, kind="FUT", expiry=expiry, lot=lot, freeze=freeze
                )
            middle = int(levels[root] / distance) * distance
            for steps in range(-_STRIKES_EACH_WAY, _STRIKES_EACH_WAY + 1):
                strike = middle + steps * distance
                for kind in ("CE", "PE") if strike > 0 else ():
                    option = _contract(exchange, root, months[0], f"{strike}{kind}")
                    yield from self._list(
                        option, f"{exchange}-OPT", root, kind=kind, expiry=months[0], strike=strike, lot=lot,
                        freeze=freeze,
                    )  # fmt: skip

    def other_futures(self, months: list[date]) -> Iterator[Listing]:
        for expiry in months:
            for root, lot in _STOCK_FUTURES.items():
                future = _contract(Exchange.NFO, root, expiry, "FUT")
                yield from self._list(
                    future, "NFO-FUT", root, kind="FUT", expiry=expiry, lot=lot, freeze=lot * 40
                )
            for root in _LOT_VALUES:
                exchange = Exchange.CDS if root.endswith("INR") else Exchange.MCX
                future = _contract(exchange, root, expiry, "FUT")
                freeze = _LOT_FREEZE.get(root)
                yield from self._list(future, f"{exchange}-FUT", root, kind="FUT", expiry=expiry, freeze=freeze)

    def others(self, instruments: Iterable[Instrument]) -> Iterator[Listing]:
        for instrument in instruments:
            kind = next((end for end in ("FUT", "CE", "PE") if instrument.symbol.endswith(end)), "EQ")
            exchange = instrument.exchange.value
            if instrument.exchange.is_cash:
                yield from self._list(instrument, exchange, instrument.symbol, freeze=_CASH_FREEZE)
            elif kind != "EQ":
                segment = f"{exchange}-{'FUT' if kind == 'FUT' else 'OPT'}"
                yield from self._list(instrument, segment, _root(instrument.symbol), kind=kind)

    def _list(
        self,
        instrument: Instrument,
        segment: str,
        name: str,
        *,
        kind: str = "EQ",
        expiry: date | None = None,
        strike: int = 0,
        lot: int = 1,
        freeze: int | None = None,
    ) -> Iterator[Listing]:
        try:
            tick = self._tick_of(feed_name(instrument))
        except MarketDataUnavailable:
            return
        number = self._number(instrument, segment)
        yield Listing(
            instrument=instrument, token=number * 256 + SEGMENT_IDS[segment.partition("-")[0]],
            exchange_token=number, name=name, expiry=expiry, strike=Decimal(strike), tick_size=tick,
            lot_size=lot, kind=kind, segment=segment, freeze_quantity=freeze,
        )  # fmt: skip

    def _number(self, instrument: Instrument, segment: str) -> int:
        if known := _TOKENS.get(str(instrument)):
            return known
        number = 100_000 + crc32(f"{segment}/{instrument}".encode()) % (_TOKEN_MAX - 200_000)
        while number in self._taken:
            number += 1
        self._taken.add(number)
        return number


def _contract(exchange: Exchange, root: str, expiry: date, rest: str) -> Instrument:
    return Instrument(exchange, f"{root}{expiry:%y}{_MONTHS[expiry.month - 1]}{rest}")


async def _level(market: MarketData, instrument: Instrument) -> Decimal:
    try:
        return (await market.quote(instrument)).last_price
    except MarketDataUnavailable:
        return Decimal(0)


def _month_ends(today: date, count: int) -> Iterator[date]:
    """The last Tuesdays of this and the following months, as index contracts expire."""
    year, month = today.year, today.month
    while count:
        following = date(year + month // 12, month % 12 + 1, 1)
        last = following - timedelta(days=1)
        expiry = last - timedelta(days=(last.weekday() - 1) % 7)
        if expiry >= today:
            yield expiry
            count -= 1
        year, month = following.year, following.month


def load_catalog(path: Path) -> Catalog:
    """Read an instrument file as the broker publishes it, gzipped or not.

    Rows of exchanges that the system does not know are left out.

    Raises:
        CatalogError: the file cannot be read, or lacks a column, or a row makes no sense.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode()
    except (OSError, UnicodeDecodeError, EOFError) as error:
        raise CatalogError(f"cannot read the instruments in {path}: {error}") from error
    reader = csv.DictReader(text.splitlines())
    if missing := set(COLUMNS) - set(reader.fieldnames or ()):
        raise CatalogError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    listings = []
    for number, row in enumerate(reader, start=2):
        if row["exchange"] not in Exchange.__members__:
            continue
        try:
            listings.append(_listing(row))
        except (ValueError, InvalidOperation, InvalidInstrument) as error:
            raise CatalogError(f"{path}, line {number}: {error}") from error
    return Catalog(listings)


def _listing(row: Mapping[str, str]) -> Listing:
    instrument = Instrument(Exchange(row["exchange"]), row["tradingsymbol"])
    root = _root(instrument.symbol)
    freeze = _CASH_FREEZE if instrument.exchange.is_cash else _LOT_FREEZE.get(root)
    if root in _INDEX_CONTRACTS:
        freeze = _INDEX_CONTRACTS[root][2]
    return Listing(
        instrument=instrument, token=int(row["instrument_token"]), exchange_token=int(row["exchange_token"]),
        name=row["name"], expiry=date.fromisoformat(row["expiry"]) if row["expiry"] else None,
        strike=Decimal(row["strike"]), tick_size=Decimal(row["tick_size"]), lot_size=int(row["lot_size"]),
        kind=row["instrument_type"], segment=row["segment"], freeze_quantity=freeze,
    )  # fmt: skip
