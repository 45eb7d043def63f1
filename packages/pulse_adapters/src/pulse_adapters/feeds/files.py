"""Read candle and tick files: CSV or CSV.GZ with a header row, prices in rupees, times with an offset.

Candles: `timestamp,open,high,low,close,volume`; the timestamp is the candle's start; rows are sorted,
each start once. Ticks: `timestamp,price` and, where present, `symbol`, `day_volume` or `volume` (units so
far that day) and the best quotes as `bid,ask` or `quote_a_price,quote_b_price`; rows are in the order of
their arrival, whatever their times say. Further columns are ignored.
"""

import csv
import gzip
import zlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple, TextIO, cast

from pulse_adapters.feeds.errors import FeedFileError
from pulse_domain.orders.model import PRICE_MAX, QUANTITY_MAX

# Prices are kept in ten-thousandths of a rupee, the finest that Indian exchanges quote: what files
# written from floats carry beyond it means nothing.
UNITS_PER_RUPEE = 10_000

_CANDLE_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
_TICK_COLUMNS = ("timestamp", "price")


class CandleRow(NamedTuple):
    start: datetime
    open: int
    high: int
    low: int
    close: int
    volume: int


class TickRow(NamedTuple):
    """bid, ask: 0 where the file does not tell it."""

    at: datetime
    symbol: str
    price: int
    bid: int
    ask: int
    volume: int


class FeedRows(NamedTuple):
    """The rows of a file, which holds candles or ticks."""

    candles: list[CandleRow]
    ticks: list[TickRow]


def read_feed_file(path: Path) -> FeedRows:
    """Read all rows; a column `price` makes it a tick file.

    Raises:
        FeedFileError: the file cannot be read, or a row cannot be played; names the row.
    """
    if path.suffix.lower() == ".parquet":
        raise FeedFileError(path, "Parquet is not played: export it as .csv or .csv.gz")
    try:
        with _open(path) as file:
            return _read(path, file)
    except FileNotFoundError as e:
        raise FeedFileError(path, "there is no such file") from e
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as e:
        raise FeedFileError(path, f"cannot be read as CSV: {e}") from e


def _open(path: Path) -> TextIO:
    # utf-8-sig: spreadsheets put a byte order mark before the header.
    if path.suffix.lower() == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _read(path: Path, file: Iterable[str]) -> FeedRows:
    reader = csv.reader(file)
    header = [name.strip().lower() for name in next(reader, [])]
    if not header:
        raise FeedFileError(path, "the file is empty")
    is_ticks = "price" in header
    for column in _TICK_COLUMNS if is_ticks else _CANDLE_COLUMNS:
        if column not in header:
            raise FeedFileError(path, f"column {column} is missing", row=1)
    rows = FeedRows([], [])
    take = _take_ticks(header, rows.ticks) if is_ticks else _take_candles(header, rows.candles)
    for cells in reader:
        if not cells:
            continue
        try:
            take(cells)
        except IndexError:
            raise FeedFileError(
                path, f"{len(cells)} cells for {len(header)} columns", reader.line_num
            ) from None
        except ValueError as e:
            raise FeedFileError(path, str(e), reader.line_num) from None
    if not (rows.candles or rows.ticks):
        raise FeedFileError(path, "there is a header and nothing more")
    return rows


def _take_candles(header: Sequence[str], rows: list[CandleRow]) -> Callable[[list[str]], None]:
    columns = [header.index(name) for name in _CANDLE_COLUMNS]

    def take(cells: list[str]) -> None:
        when, *prices, traded = [cells[column] for column in columns]
        start = _time(when)
        opened, high, low, closed = map(_price, _CANDLE_COLUMNS[1:5], prices)
        if low > high:
            raise ValueError(f"high {prices[1]} is below low {prices[2]}")
        if not (low <= opened <= high and low <= closed <= high):
            raise ValueError(f"open {prices[0]} or close {prices[3]} is outside {prices[2]} to {prices[1]}")
        if rows and start == rows[-1].start:
            raise ValueError(f"{when} is there twice")
        if rows and start < rows[-1].start:
            raise ValueError(f"{when} is earlier than the row before")
        rows.append(CandleRow(start, opened, high, low, closed, _volume(traded)))

    return take


def _take_ticks(header: Sequence[str], rows: list[TickRow]) -> Callable[[list[str]], None]:
    def column(*names: str) -> int | None:
        return next((header.index(name) for name in names if name in header), None)

    when, price_column = header.index("timestamp"), header.index("price")
    symbol, traded = column("symbol"), column("day_volume", "volume")
    bid, ask = column("bid", "quote_a_price"), column("ask", "quote_b_price")

    def take(cells: list[str]) -> None:
        price = _price("price", cells[price_column])
        # A side of the book that is empty is written 0 or left out; which of the two is which is not certain.
        first, second = (
            0 if at is None or cells[at].strip() in ("", "0", "0.0") else _price(header[at], cells[at])
            for at in (bid, ask)
        )
        if first > second > 0:
            first, second = second, first
        name = "" if symbol is None else cells[symbol].strip()
        volume = 0 if traded is None else _volume(cells[traded])
        rows.append(TickRow(_time(cells[when]), name, price, first, second, volume))

    return take


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text.strip())
    if at.tzinfo is None:
        raise ValueError(f"timestamp {text} has no UTC offset; write it like 2026-01-05T09:15:00+05:30")
    return at


def _price(name: str, text: str) -> int:
    value = _number(name, text)
    units = round(value * UNITS_PER_RUPEE) if 0 < value <= PRICE_MAX else 0
    if units == 0:
        raise ValueError(f"{name} {text} is not a price")
    return units


def _volume(text: str) -> int:
    value = _number("volume", text)
    if not 0 <= value <= QUANTITY_MAX * 1000 or value % 1:
        raise ValueError(f"volume {text} is not a number of units")
    return int(value)


def _number(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{name} {text!r} is not a number") from None
    if not value.is_finite():
        raise ValueError(f"{name} is {text.strip()}")
    return value
