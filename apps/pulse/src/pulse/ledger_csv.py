"""Rows of the ledger as CSV, which a spreadsheet may open: no text of others becomes a formula there."""

import csv
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from pulse.errors import BadInput, CommandError
from pulse.views import LedgerRow

COLUMNS = (
    "due_at", "status", "execution_status", "strategy_tag", "instrument", "side", "product", "order_type",
    "quantity", "filled_quantity", "average_price", "exchange_id", "order_id", "execution_id", "internal_id",
    "tag", "source", "reason_code", "reason",
)  # fmt: skip
# What a cell begins with that spreadsheets take for a formula; the wide forms are read as the others.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # the wide forms


def check_target(file: Path, *, force: bool) -> None:
    """Raises: BadInput: nothing can be written there, or something is there already."""
    if file.is_dir() or not file.parent.is_dir():
        raise BadInput(f"{file}: there is no such folder, or it is one itself")
    if file.exists() and not force:
        raise BadInput(f"{file} exists already: --force replaces it")


def write_csv(file: Path | None, rows: Iterable[LedgerRow]) -> int:
    """Write the rows; a file is there whole or not at all. Without one, to stdout.

    Raises:
        CommandError: the file cannot be written; one that was there is as it was.
    """
    if file is None:
        return _write(sys.stdout, rows)
    beside = file.with_name(f".{os.getpid()}-{file.name}")
    try:
        with beside.open("w", encoding="utf-8", newline="") as lines:
            count = _write(lines, rows)
        beside.replace(file)
    except OSError as error:
        raise CommandError(f"{file}: it cannot be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
    return count


def _write(lines: TextIO, rows: Iterable[LedgerRow]) -> int:
    # Only what is in the terminator is sure to be quoted: a lone \\r would end a row.
    writer = csv.writer(lines, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    count = 0
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in COLUMNS])
        count += 1
    return count


def _cell(value: Any) -> Any:
    """A text that would be a formula begins with an apostrophe; figures stay figures."""
    if not isinstance(value, str):
        return value.isoformat() if hasattr(value, "isoformat") else value
    return f"'{value}" if value.startswith(_FORMULA) else value
