"""Market data from files: CSV, gzipped CSV and Parquet.

Candles: `timestamp,open,high,low,close` and, if there is one, `volume`; the timestamp is when the candle
starts. Ticks: `timestamp,price` and, if there are any, `symbol`, `volume` or `day_volume` (units traded on
that day so far), and the best quotes as `bid,ask` or `quote_a_price,quote_b_price`; rows in the order of
their arrival. Prices are rupees. Case does not matter in names, and further columns are ignored.

Times are written `2026-01-05T09:15:00+05:30`; without an offset the `zone` they are in must be said. What is a
defect and what is not tells `pulse_domain.backtest.series`.

A row counts from 1, the first below the header, empty lines aside; a line is one of the file.
"""

import csv
import gzip
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta, tzinfo
from itertools import compress, islice
from operator import itemgetter
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TextIO, cast

from pulse_domain.backtest.arrays import chosen
from pulse_domain.backtest.columns import (
    NO_TIME,
    Column,
    Defect,
    Instants,
    Prices,
    Quotes,
    Reader,
    Rows,
    Volumes,
)
from pulse_domain.backtest.frames import CANDLE_TIMES, TICK_TIMES, numpy_is_there, plain
from pulse_domain.backtest.rows import candle_rows, tick_rows
from pulse_domain.backtest.series import CandleSeries, Defects, TickSeries
from pulse_domain.backtest.texts import TextInstants, TextQuotes, TextVolumes, text_prices
from pulse_domain.errors import BadMarketData, MissingExtra
from pulse_domain.instruments import Instrument

_PARQUET = ".parquet"
_PANDAS_INDEX = "__index_level_0__"  # where pandas writes an index that has no name
_SYMBOLS_SHOWN = 10
_BLOCK = 4096
_KNOWN = {
    *CANDLE_TIMES, *TICK_TIMES, _PANDAS_INDEX, "open", "high", "low", "close", "volume", "day_volume", "symbol",
    "price", "bid", "ask", "quote_a_price", "quote_b_price",
}  # fmt: skip


def read_candles(
    path: str | PathLike[str],
    instrument: Instrument,
    *,
    zone: tzinfo | None = None,
    interval: timedelta | None = None,
    defects: Defects = "raise",
) -> CandleSeries:
    """Read the candles of one instrument from a .csv, .csv.gz or .parquet file.

    zone: of times without an offset; those that have one keep it.
    interval: how long a candle is; by default the commonest distance of starts.

    Raises:
        BadMarketData: the file cannot be read, a column is missing, a row has a defect, or nothing is left;
            `details` carry the path and, where it is a row, its number, line and field.
        MissingExtra: the file is Parquet and pyarrow is not installed.
    """
    with _table_of(path) as table:
        start = table.name(*CANDLE_TIMES, _PANDAS_INDEX)
        prices = [table.name(name) for name in ("open", "high", "low", "close")]
        volume = table.name("volume", needed=False)
        readers: list[Reader]
        if table.is_text:
            readers = [TextInstants(start, zone), *text_prices(prices), TextVolumes(volume)]
        else:
            readers = [Instants(start, zone), *map(Prices, prices), Volumes(volume)]
        rows = candle_rows(table.cells(start, *prices, volume), readers, first_only=defects == "raise")
        return CandleSeries.from_rows(instrument, table.told(rows), interval=interval, defects=defects)


def read_ticks(
    path: str | PathLike[str],
    instrument: Instrument,
    *,
    symbol: str | None = None,
    zone: tzinfo | None = None,
    defects: Defects = "raise",
) -> TickSeries:
    """Read the ticks of one instrument from a .csv, .csv.gz or .parquet file.

    symbol: whose rows to take, as the file spells it. By default those of the instrument's symbol, or all
        where the file has one symbol only or does not name it.
    zone: of times without an offset; those that have one keep it.

    Raises:
        BadMarketData: as `read_candles`; the file has several symbols and none is the one wanted.
        MissingExtra: the file is Parquet and pyarrow is not installed.
    """
    with _table_of(path) as table:
        at, price = table.name(*TICK_TIMES, _PANDAS_INDEX), table.name("price")
        bid = table.name("bid", "quote_a_price", needed=False)
        ask = table.name("ask", "quote_b_price", needed=False)
        volume = table.name("day_volume", "volume", needed=False)
        table = table.of_symbol(symbol, instrument)
        readers: list[Reader]
        if table.is_text:
            readers = [
                TextInstants(at, zone), *text_prices([price]), TextQuotes(bid), TextQuotes(ask),
                TextVolumes(volume),
            ]  # fmt: skip
        else:
            readers = [Instants(at, zone), Prices(price), Quotes(bid), Quotes(ask), Volumes(volume)]
        rows = tick_rows(table.cells(at, price, bid, ask, volume), readers, first_only=defects == "raise")
        return TickSeries.from_rows(instrument, table.told(rows), defects=defects)


class _Table(NamedTuple):
    """The columns of a file by their names in lower case.

    numbers: the row of the file that each cell stands in.
    defects: the rows that have more or fewer cells than there are columns.
    """

    columns: dict[str, Column]
    numbers: Sequence[int]
    defects: list[Defect]
    is_text: bool

    def name(self, *names: str, needed: bool = True) -> str:
        """The first of the names that a column has; the empty one where none has and none is needed."""
        for name in names:
            if name in self.columns:
                return name
        if needed:
            name = "timestamp" if "timestamp" in names else names[0]
            raise BadMarketData(f"column {name} is missing", field=name)
        return ""

    def cells(self, *names: str) -> list[Column]:
        rows = len(self.numbers)
        absent: Column = ["0"] * rows if self.is_text else array("q", bytes(8 * rows))
        return [self.columns[name] if name else absent for name in names]

    def of_symbol(self, symbol: str | None, instrument: Instrument) -> "_Table":
        if "symbol" not in self.columns:
            if symbol is not None:
                raise BadMarketData("column symbol is missing", field="symbol")
            return self
        symbols = [str(cell).strip() for cell in self.columns["symbol"]]
        present = sorted(set(symbols))
        if symbol is None and len(present) == 1:
            return self
        wanted = instrument.symbol if symbol is None else symbol
        if wanted not in present:
            shown = ", ".join(present[:_SYMBOLS_SHOWN]) + (", ..." if len(present) > _SYMBOLS_SHOWN else "")
            raise BadMarketData(f"no row is of {wanted}; say the symbol, one of {shown}", field="symbol")
        mine = [cell == wanted for cell in symbols]
        columns = {name: chosen(column, mine) for name, column in self.columns.items()}
        return self._replace(columns=columns, numbers=list(compress(self.numbers, mine)))

    def told(self, rows: Rows) -> Rows:
        """The same, each defect with the row of the file."""
        for defect in rows.defects:
            defect.row = self.numbers[defect.row - 1]
        return Rows(rows.columns, sorted([*rows.defects, *self.defects], key=lambda defect: defect.row))


def _table(path: Path) -> _Table:
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return _from_csv(path)
    if path.suffix.lower() == _PARQUET:
        return _from_parquet(path)
    raise BadMarketData("the name ends in none of .csv, .csv.gz and .parquet")


def _from_csv(path: Path) -> _Table:
    with _open(path) as file:
        reader = csv.reader(file)
        header = [name.strip().lower() for name in next(reader, [])]
        if not header:
            raise BadMarketData("the file is empty")
        wanted, width = _wanted(header), len(header)
        columns: dict[str, list[str]] = {name: [] for _, name in wanted}
        rows, defects = 0, []
        # Block by block: a list of cells for each row of a long file would be most of what it takes.
        while block := list(islice(reader, _BLOCK)):
            filled = [cells for cells in block if cells]
            good = [cells for cells in filled if len(cells) == width]
            if len(good) < len(filled):
                defects += [
                    Defect("row", f"{len(cells)} cells for {width} columns", row)
                    for row, cells in enumerate(filled, start=rows + 1)
                    if len(cells) != width
                ]
            for i, name in wanted:
                columns[name] += map(itemgetter(i), good)
            rows += len(filled)
    if not rows:
        raise BadMarketData("there is a header and nothing more")
    uneven = {defect.row for defect in defects}
    numbers = [row for row in range(1, rows + 1) if row not in uneven] if uneven else range(1, rows + 1)
    return _Table({**columns}, numbers, defects, is_text=True)


def _open(path: Path) -> TextIO:
    # utf-8-sig: spreadsheets put a byte order mark before the header.
    if path.suffix.lower() == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _wanted(header: Sequence[str]) -> list[tuple[int, str]]:
    """The columns that mean something, with their places."""
    for name in _KNOWN:
        if header.count(name) > 1:
            raise BadMarketData(f"column {name} is there twice", field=name)
    return [(i, name) for i, name in enumerate(header) if name in _KNOWN]


def _from_parquet(path: Path) -> _Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("pyarrow", "parquet") from None
    try:
        with parquet.ParquetFile(path) as file:
            labels = file.schema_arrow.names
            wanted = _wanted([label.lower() for label in labels])
            table = file.read(columns=[labels[i] for i, _ in wanted])
        columns = {name: _of_arrow(pyarrow, table.column(labels[i])) for i, name in wanted}
    except pyarrow.ArrowException as e:
        raise BadMarketData(f"it cannot be read as Parquet: {str(e).splitlines()[0]}") from e
    if not table.num_rows:
        raise BadMarketData("there are columns and no rows")
    return _Table(columns, range(1, table.num_rows + 1), [], is_text=False)


def _of_arrow(pyarrow: Any, column: Any) -> Column:
    kind = column.type
    if pyarrow.types.is_timestamp(kind):
        column = column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
        if kind.tz is not None:
            column = column.cast(pyarrow.int64()).fill_null(NO_TIME)
    return plain(column.to_numpy() if numpy_is_there() else column.to_pylist())


@contextmanager
def _table_of(name: str | PathLike[str]) -> Iterator[_Table]:
    """Read a file; what is wrong with it is told by its path, and by the line where it is a row."""
    path = Path(name)
    try:
        yield _table(path)
    except BadMarketData as e:
        details, told = {**e.details, "path": str(path)}, f"{path}: {e.message}"
        if (row := details.get("row")) is not None:
            told = f"{path} row {row}: {details['reason']}"
            if path.suffix.lower() != _PARQUET:
                details["line"] = line = _line(path, row)
                told = f"{path} line {line} (row {row}): {details['reason']}"
        raise BadMarketData(told, **details) from e.__cause__
    except FileNotFoundError as e:
        raise BadMarketData(f"{path}: there is no such file", path=str(path)) from e
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as e:
        raise BadMarketData(f"{path}: it cannot be read: {e}", path=str(path)) from e


def _line(path: Path, row: int) -> int:
    with _open(path) as file:
        reader = csv.reader(file)
        rows = (reader.line_num for cells in reader if cells)
        return next(islice(rows, row, None))  # the header is one of them
