"""What `pulse ticks` and `pulse candles` do: rows out of the database into a file, whole or not at all."""

import asyncio
import csv
import gzip
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO, cast

from pulse import output
from pulse.database import with_database
from pulse.errors import BadInput, CommandError
from pulse.options import ExportOptions
from pulse_adapters.postgres.candles import PostgresCandleStore
from pulse_adapters.postgres.pool import Database
from pulse_adapters.postgres.ticks import PostgresTickStore
from pulse_domain.matching import Candle, Tick
from pulse_domain.ports.tick_store import Recording
from pulse_domain.units import INDIA

Rows = Iterable[tuple[Any, ...]]
Write = Callable[[Rows], None]

# Names that the readers of backtests know.
_TICK_COLUMNS = ("timestamp", "symbol", "price", "bid", "ask", "day_volume")
_CANDLE_COLUMNS = ("timestamp", "symbol", "open", "high", "low", "close", "volume")
_VOLUMES = ("day_volume", "volume")
_DECIMALS = (18, 4)  # digits, and those after the point: a price is no finer


def run_export_ticks(dsn: str, options: ExportOptions) -> None:
    """Write ticks.

    Raises:
        CommandError: there are none, or the database or the file fails; the file is as it was before.
    """

    def find(database: Database) -> AsyncGenerator[Sequence[Tick], None]:
        return PostgresTickStore(database).ticks(options.instrument, options.starts_at, options.ends_at)

    def row(tick: Tick) -> tuple[Any, ...]:
        return tick.at, tick.instrument.symbol, tick.price, tick.bid, tick.ask, tick.volume

    _export(dsn, options, "ticks", _TICK_COLUMNS, find, row)


def run_export_candles(dsn: str, options: ExportOptions, minutes: int) -> None:
    """Write candles of so many minutes.

    Raises:
        CommandError: as `run_export_ticks`.
    """

    def find(database: Database) -> AsyncGenerator[Sequence[Candle], None]:
        store = PostgresCandleStore(database)
        return store.candles(options.instrument, minutes, options.starts_at, options.ends_at)

    def row(it: Candle) -> tuple[Any, ...]:
        return it.start, it.instrument.symbol, it.open, it.high, it.low, it.close, it.volume

    _export(dsn, options, f"candles of {minutes} min", _CANDLE_COLUMNS, find, row)


def _export(
    dsn: str,
    options: ExportOptions,
    what: str,
    columns: Sequence[str],
    find: Callable[[Database], AsyncGenerator[Sequence[Any], None]],
    row: Callable[[Any], tuple[Any, ...]],
) -> None:
    async def copy(database: Database) -> int:
        count = 0
        with _written(options.file, columns) as write:
            async with aclosing(find(database)) as runs:
                async for run in runs:
                    write(map(row, run))
                    count += len(run)
            if not count:
                raise CommandError(f"no {what} of {options.instrument} are stored in that time")
        return count

    count = asyncio.run(with_database(dsn, copy))
    if options.as_json:
        output.say_json({"instrument": str(options.instrument), "file": str(options.file), "rows": count})
    else:
        output.say(f"{count} {what} of {options.instrument} in {options.file}")


def run_recordings(dsn: str, since: datetime, *, as_json: bool) -> None:
    """Show recordings.

    Raises:
        CommandError: the database fails.
    """
    found = asyncio.run(with_database(dsn, lambda database: PostgresTickStore(database).recordings(since)))
    if as_json:
        output.say_json([_as_json(recording) for recording in found])
        return
    columns = [(name, "right" if name in ("received", "stored", "lost") else "left") for name in _SHOWN]
    table = output.plain_table(*columns)
    for recording in found:
        table.add_row(*(output.clean(str(value)) for value in _as_json(recording).values()))
    output.show(table)


_SHOWN = ("recording", "source", "started_at", "ended_at", "received", "stored", "lost")


def _as_json(recording: Recording) -> dict[str, Any]:
    shown = {name: getattr(recording, name) for name in _SHOWN}
    for name in ("started_at", "ended_at"):
        shown[name] = shown[name] and shown[name].astimezone(INDIA).isoformat(timespec="seconds")
    # It runs, or was killed: then at most a batch more is lost than shown.
    shown["ended_at"] = shown["ended_at"] or "not ended"
    return shown


@contextmanager
def _written(file: Path, columns: Sequence[str]) -> Iterator[Write]:
    """A function that writes rows into a file, which appears under its name when the block has ended well."""
    beside = file.with_name(f".{os.getpid()}-{file.name}")
    try:
        with _opened(beside, columns) as write:
            yield write
        beside.replace(file)
    except OSError as error:
        raise CommandError(f"{file}: it cannot be written: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)


def _opened(path: Path, columns: Sequence[str]) -> Any:
    return _parquet(path, columns) if path.suffix.lower() == ".parquet" else _csv(path, columns)


@contextmanager
def _csv(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    open_text = gzip.open if path.suffix.lower() == ".gz" else open
    with cast(TextIO, open_text(path, "wt", encoding="utf-8", newline="")) as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(columns)

        def write(rows: Rows) -> None:
            lines.writerows((at.astimezone(INDIA).isoformat(), *cells) for at, *cells in rows)

        yield write


@contextmanager
def _parquet(path: Path, columns: Sequence[str]) -> Iterator[Write]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise BadInput('pyarrow is not installed: pip install "pulse-domain[parquet]"; or write .csv') from None

    kinds = {
        "timestamp": pyarrow.timestamp("us", "UTC"),
        "symbol": pyarrow.string(),
        **dict.fromkeys(_VOLUMES, pyarrow.int64()),
    }
    schema = pyarrow.schema([(name, kinds.get(name, pyarrow.decimal128(*_DECIMALS))) for name in columns])
    try:
        with parquet.ParquetWriter(path, schema) as file:

            def write(rows: Rows) -> None:
                cells = [list(column) for column in zip(*rows, strict=True)]
                arrays = [
                    pyarrow.array(column, field.type) for column, field in zip(cells, schema, strict=True)
                ]
                file.write_table(pyarrow.table(arrays, schema=schema))

            yield write
    except pyarrow.ArrowException as error:
        raise CommandError(f"a row cannot be written as Parquet: {str(error).splitlines()[0]}") from error
