"""Rows of candles and ticks out of columns of any kind.

Columns are converted and checked as a whole, numpy arrays by numpy. Where that fails the rows are walked one
by one, which is slower and tells each defect by its row and field.
"""

from array import array
from collections.abc import Sequence
from itertools import islice
from operator import le, lt

from pulse_domain.backtest import arrays
from pulse_domain.backtest.columns import (
    FIRST_US,
    Check,
    Column,
    Defect,
    Ints,
    Reader,
    Rows,
    check_candle,
    check_order,
    check_tick,
)


def candle_rows(columns: Sequence[Column], readers: Sequence[Reader], *, first_only: bool) -> Rows:
    """Convert and check candles; with `first_only` no further than the first defect."""
    if arrays.are_arrays(columns):
        return arrays.candle_rows(columns, readers, first_only=first_only)
    columns = [arrays.as_list(column) for column in columns]
    ints = _converted(columns, readers)
    if ints is not None and _candles_are_sound(*ints):
        return Rows(ints, [])
    last = FIRST_US - 1

    def check(start: int, *rest: int) -> None:
        nonlocal last
        check_candle(start, *rest)
        check_order(readers[0].field, start, last)
        last = start

    return _walk(columns, readers, check, first_only)


def tick_rows(columns: Sequence[Column], readers: Sequence[Reader], *, first_only: bool) -> Rows:
    """Convert and check ticks, in any order; with `first_only` no further than the first defect."""
    if arrays.are_arrays(columns):
        return arrays.tick_rows(columns, readers, first_only=first_only)
    columns = [arrays.as_list(column) for column in columns]
    ints = _converted(columns, readers)
    if ints is not None and not any(bid > ask > 0 for bid, ask in zip(ints[2], ints[3], strict=True)):
        return Rows(ints, [])
    return _walk(columns, readers, check_tick, first_only)


def _converted(columns: Sequence[Column], readers: Sequence[Reader]) -> tuple[Ints, ...] | None:
    try:
        return tuple([reader.column(column) for reader, column in zip(readers, columns, strict=True)])
    except (Defect, TypeError, OverflowError):
        return None  # the walk tells which row and why


def _candles_are_sound(start: Ints, opened: Ints, high: Ints, low: Ints, close: Ints, volume: Ints) -> bool:
    return (
        all(map(lt, start, islice(start, 1, None)))
        and all(map(le, low, opened))
        and all(map(le, opened, high))
        and all(map(le, low, close))
        and all(map(le, close, high))
    )


def _walk(columns: Sequence[Column], readers: Sequence[Reader], check: Check, first_only: bool) -> Rows:
    kept: tuple[Ints, ...] = tuple(array("q") for _ in columns)
    defects = []
    for row, cells in enumerate(zip(*columns, strict=True), start=1):
        try:
            values = [reader.cell(cell) for reader, cell in zip(readers, cells, strict=True)]
            check(*values)
        except Defect as defect:
            defect.row = row
            defects.append(defect)
            if first_only:
                break
            continue
        for column, value in zip(kept, values, strict=True):
            column.append(value)
    return Rows(kept, defects)
