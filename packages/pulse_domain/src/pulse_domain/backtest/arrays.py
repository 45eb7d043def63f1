"""Columns that are numpy arrays, converted and checked as a whole.

numpy is never imported here: whoever hands an array in has done so. Rows that do not pass as a whole are
read cell by cell as those of lists are, so that arrays and lists are told the same.
"""

from array import array
from collections.abc import Callable, Sequence
from datetime import tzinfo
from itertools import compress, pairwise
from sys import modules
from typing import Any

from pulse_domain.backtest.columns import (
    FIRST_US,
    FLOAT_SLACK,
    GRID_SLACK,
    LAST_US,
    UNITS_MAX,
    VOLUME_MAX,
    Check,
    Column,
    Defect,
    Instants,
    Ints,
    Quotes,
    Reader,
    Rows,
    Volumes,
    check_candle,
    check_order,
    check_tick,
    local_to_us,
)
from pulse_domain.units import DAY_US, PRICE_UNITS

# The library does without numpy, and its types without numpy's.
Numpy = Any
Array = Any


def is_there() -> bool:
    """Whether somebody has imported numpy."""
    return modules.get("numpy") is not None


def is_array(column: object) -> bool:
    numpy: Numpy = modules.get("numpy")
    return numpy is not None and isinstance(column, numpy.ndarray)


def are_arrays(columns: Sequence[Column]) -> bool:
    """Whether numpy knows all columns as numbers or times; those that are absent aside."""
    given: list[Any] = [column for column in columns if not isinstance(column, array)]
    return bool(given) and all(map(_is_plain, given))


def _is_plain(column: Array) -> bool:
    # Under a mask anything may stand; as a list such an array has None there.
    return is_array(column) and column.ndim == 1 and column.dtype.kind in "iufM" and not hasattr(column, "mask")


def as_list(column: Column) -> Column:
    """The cells of an array as what reads lists knows them; other columns as they are."""
    return _as_list(column) if is_array(column) else column


def _as_list(column: Array) -> list[Any]:
    if column.dtype.kind == "M":
        return list(column.astype("datetime64[us]").tolist())  # nanoseconds would come as numbers
    if column.dtype.kind == "f":
        return list(_of_64_bits(modules["numpy"], column).tolist())
    return list(column.tolist())


def chosen(column: Column, mask: list[bool]) -> Column:
    """The cells that the mask says."""
    cells: Any = column
    rows: Column = cells[mask] if is_array(column) else list(compress(column, mask))
    return rows


def candle_rows(columns: Sequence[Column], readers: Sequence[Reader], *, first_only: bool) -> Rows:
    """Convert and check candles; with `first_only` no further than the first defect."""

    def sound(start: Array, opened: Array, high: Array, low: Array, close: Array, volume: Array) -> Array:
        good = low <= opened
        good &= opened <= high
        good &= low <= close
        good &= close <= high
        return good

    return _rows(columns, readers, sound, check_candle, first_only, ascending=True)


def tick_rows(columns: Sequence[Column], readers: Sequence[Reader], *, first_only: bool) -> Rows:
    """Convert and check ticks, in any order; with `first_only` no further than the first defect."""

    def sound(at: Array, price: Array, bid: Array, ask: Array, volume: Array) -> Array:
        return (bid <= ask) | (ask == 0)

    return _rows(columns, readers, sound, check_tick, first_only, ascending=False)


def commonest_distance(ints: Ints) -> int:
    """The commonest distance of ascending numbers, the shortest where there are several."""
    numpy: Numpy = modules["numpy"]
    distances, counts = numpy.unique(numpy.diff(numpy.frombuffer(ints, "int64")), return_counts=True)
    return int(distances[counts.argmax()])


def shortest_distance(ints: Ints) -> int:
    """The shortest distance of ascending numbers, of which there are two or more."""
    numpy: Numpy = modules["numpy"]
    return int(numpy.diff(numpy.frombuffer(ints, "int64")).min())


def _rows(
    columns: Sequence[Column],
    readers: Sequence[Reader],
    sound: Callable[..., Array],
    check: Check,
    first_only: bool,
    *,
    ascending: bool,
) -> Rows:
    numpy: Numpy = modules["numpy"]
    given = [numpy.asarray(column) for column in columns]
    ints, good = [], numpy.ones(len(given[0]), bool)
    for column, reader in zip(given, readers, strict=True):
        try:
            numbers, readable = _read(numpy, column, reader)
        except Defect as defect:
            defect.row = 1
            return Rows(tuple(array("q") for _ in columns), [defect])
        ints.append(numbers)
        good &= readable
    good &= sound(*ints)
    defects = [] if good.all() else _closely(numpy, given, readers, check, good, first_only)
    if ascending:
        defects += _behind(numpy, readers[0].field, ints[0], good, first_only)
        defects.sort(key=lambda defect: defect.row)
    kept = []
    while ints:
        # One by one, as each may be large.
        numbers = ints.pop(0)
        kept.append(array("q"))
        kept[-1].frombytes(numpy.ascontiguousarray(numbers if good.all() else numbers[good]).view("uint8"))
    return Rows(tuple(kept), defects)


def _closely(
    numpy: Numpy,
    given: Sequence[Array],
    readers: Sequence[Reader],
    check: Check,
    good: Array,
    first_only: bool,
) -> list[Defect]:
    """Tell what is wrong with the rows that are not good."""
    defects: list[Defect] = []
    rows = numpy.flatnonzero(~good)
    for i, cells in zip(rows, zip(*(_as_list(column[rows]) for column in given), strict=True), strict=True):
        try:
            values = [reader.cell(cell) for reader, cell in zip(readers, cells, strict=True)]
            check(*values)
        except Defect as defect:
            defect.row = int(i) + 1
            defects.append(defect)
            if first_only:
                break
        else:
            raise AssertionError(f"row {i + 1} is good and was taken for a bad one")
    return defects


def _behind(numpy: Numpy, field: str, start_us: Array, good: Array, first_only: bool) -> list[Defect]:
    """Tell which of the good rows do not start after all before them; these are good no longer."""
    rows = numpy.flatnonzero(good)
    start_us = start_us[rows]
    latest = numpy.maximum.accumulate(start_us)
    behind = numpy.flatnonzero(start_us[1:] <= latest[:-1]) + 1
    defects: list[Defect] = []
    for i in behind[:1] if first_only else behind:
        try:
            check_order(field, int(start_us[i]), int(latest[i - 1]))
        except Defect as defect:
            defect.row = int(rows[i]) + 1
            defects.append(defect)
    good[rows[behind]] = False
    return defects


def _read(numpy: Numpy, column: Array, reader: Reader) -> tuple[Array, Array]:
    """Convert a column; the second array says of which cells the numbers mean something."""
    if isinstance(reader, Instants):
        return _instants(numpy, column, reader)
    with numpy.errstate(invalid="ignore", over="ignore"):
        if isinstance(reader, Volumes):
            good = (column >= 0) & (column <= VOLUME_MAX)
            ints = column.astype("int64", copy=False)
            return ints, good if column.dtype.kind in "iu" else good & (ints == column)
        units, good = _units(numpy, column)
        if isinstance(reader, Quotes):
            unknown = numpy.isnan(column) | (column == 0) if column.dtype.kind == "f" else column == 0
            units[unknown] = 0
            good |= unknown
        return units, good


def _units(numpy: Numpy, column: Array) -> tuple[Array, Array]:
    if column.dtype.kind in "iu":
        return column.astype("int64") * PRICE_UNITS, (column > 0) & (column <= UNITS_MAX // PRICE_UNITS)
    scaled = _of_64_bits(numpy, column) * float(PRICE_UNITS)
    units = numpy.rint(scaled)
    good = (units > 0) & (units <= UNITS_MAX)
    slack = FLOAT_SLACK * scaled
    slack += GRID_SLACK
    scaled -= units
    good &= numpy.abs(scaled, out=scaled) <= slack
    return units.astype("int64"), good


def _of_64_bits(numpy: Numpy, column: Array) -> Array:
    if column.dtype.itemsize == 8:
        return column
    # What was meant by a shorter float is its text, not its value among those of 64 bits.
    distinct, places = numpy.unique(column, return_inverse=True)
    return numpy.array([float(str(value)) for value in distinct], "float64")[places]


def _instants(numpy: Numpy, column: Array, reader: Instants) -> tuple[Array, Array]:
    if column.dtype.kind == "f":
        reader.cell(float(column[0]))  # raises, whatever the number
    if column.dtype.kind != "M":
        return column.astype("int64", copy=False), (column >= FIRST_US) & (column < LAST_US)
    if reader.zone is None:
        reader.cell(_as_list(column[:1])[0])  # raises, whatever the time
    local_us = column.astype("datetime64[us]").astype("int64")
    readable = (local_us >= FIRST_US - DAY_US) & (local_us < LAST_US + DAY_US)
    if not readable.all():
        local_us[~readable] = FIRST_US
    ints = _to_utc(numpy, local_us, reader.zone)
    readable &= (ints >= FIRST_US) & (ints < LAST_US)
    return ints, readable


def _to_utc(numpy: Numpy, local_us: Array, zone: tzinfo | None) -> Array:
    """Convert day by day: most have one offset from end to end."""
    days = local_us // DAY_US
    edges = [0, *(numpy.flatnonzero(numpy.diff(days)) + 1).tolist(), len(days)]
    ints = local_us.copy()
    for first, end in pairwise(edges):
        midnight_us = int(days[first]) * DAY_US
        ahead_us = midnight_us - local_to_us(midnight_us, zone)
        if midnight_us + DAY_US - local_to_us(midnight_us + DAY_US, zone) == ahead_us:
            ints[first:end] -= ahead_us
        else:
            ints[first:end] = [local_to_us(us, zone) for us in local_us[first:end].tolist()]
    return ints
