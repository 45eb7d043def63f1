"""Columns and frames of pandas and polars as plain columns: numpy arrays or lists.

Neither is ever imported: they are known by the module of their type. polars does without numpy, only slower.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pulse_domain.backtest.arrays import is_array
from pulse_domain.backtest.columns import NO_TIME, Column
from pulse_domain.errors import BadMarketData

# What the columns of times are called, where nobody says; pandas frames may have them as their index.
CANDLE_TIMES = ("start", "timestamp", "datetime", "date", "time")
TICK_TIMES = ("at", "timestamp", "datetime", "time")

Series = Any
Frame = Any


def plain(column: Any) -> Column:
    """The cells of a column; times with an offset as microseconds since the epoch."""
    match type(column).__module__.partition(".")[0]:
        case "pandas":
            return _of_pandas(column)
        case "polars":
            return _of_polars(column)
    if is_array(column) or (isinstance(column, Sequence) and not isinstance(column, str | bytes)):
        cells: Column = column
        return cells
    return list(column)


def candle_columns(frame: Frame, names: Mapping[str, str]) -> list[Any]:
    """start, open, high, low, close and volume; None for a volume that is not there."""
    look = _Look(frame, names)
    prices = [look.column(field) for field in ("open", "high", "low", "close")]
    return [look.times("start", CANDLE_TIMES), *prices, look.column("volume", needed=False)]


def tick_columns(frame: Frame, names: Mapping[str, str]) -> list[Any]:
    """at, price, bid, ask and volume; None for what is not there."""
    look = _Look(frame, names)
    volume = look.column("volume", "day_volume", needed=False)
    quotes = [look.column(field, needed=False) for field in ("bid", "ask")]
    return [look.times("at", TICK_TIMES), look.column("price"), *quotes, volume]


class _Look:
    """Finds columns by name: as the caller calls it, else as it is called everywhere in any case."""

    def __init__(self, frame: Frame, names: Mapping[str, str]) -> None:
        if not hasattr(frame, "columns"):
            raise TypeError(f"a frame of pandas or polars is needed, not {type(frame).__name__}")
        self._frame = frame
        self._names = names
        self._labels = list(frame.columns)

    def column(self, *fields: str, needed: bool = True) -> Series | None:
        if (named := self._names.get(fields[0])) is not None:
            if named not in self._labels:
                raise BadMarketData(f"column {named} is missing", field=fields[0])
            return self._series(named)
        for field in fields:
            for label in self._labels:
                if str(label).lower() == field:
                    return self._series(label)
        if needed:
            raise BadMarketData(f"column {fields[0]} is missing", field=fields[0])
        return None

    def times(self, field: str, fields: Sequence[str]) -> Series:
        index = getattr(self._frame, "index", None)
        # An index of times is what the rows are about, whatever columns of times there are besides.
        if field not in self._names and getattr(getattr(index, "dtype", None), "kind", None) == "M":
            return index
        return self.column(field, *fields)

    def _series(self, label: Any) -> Series:
        if self._labels.count(label) > 1:
            raise BadMarketData(f"column {label} is there twice", field=str(label))
        return self._frame[label]


def _of_pandas(column: Series) -> Column:
    times: Series = getattr(column, "dt", column)  # an index needs no accessor
    if getattr(times, "tz", None) is not None:
        us: Column = times.tz_convert(None).to_numpy().astype("datetime64[us]").astype("int64")
        return us
    cells = column.to_numpy()
    return cells if cells.dtype.kind in "iufM" else list(column)


def _of_polars(column: Series) -> Column:
    dtype = column.dtype
    if getattr(dtype, "time_zone", None) is not None:
        column = column.dt.epoch("us").fill_null(NO_TIME)
    if not numpy_is_there():
        return list(column.to_list())
    cells: Any = column.to_numpy()
    return cells if cells.dtype.kind in "iufM" else list(column.to_list())


def numpy_is_there() -> bool:
    """Whether what can do without numpy may use it: polars and pyarrow do not ask."""
    try:
        import numpy  # noqa: F401
    except ImportError:
        return False
    return True
