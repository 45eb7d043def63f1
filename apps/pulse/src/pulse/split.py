"""`pulse split`: preview a schedule. Nothing is sent, and nothing has to run."""

import csv
import gzip
import re
import secrets
import zlib
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Annotated

import typer

from pulse import output
from pulse.errors import BadInput
from pulse.orders import AsJson
from pulse.request import MINUTES_MAX, QUANTITY_MAX, SPLITS_MAX
from pulse.views import Json
from pulse_domain.errors import CannotSplit
from pulse_domain.splitting import (
    INDIA,
    Schedule,
    ScheduledSlice,
    Twap,
    VolumeCurve,
    Vwap,
    Weighted,
    Window,
    schedule_slices,
)

_matches_weight = re.compile(r"[0-9]{1,12}(\.[0-9]{1,12})?").fullmatch
_matches_volume = re.compile(r"[0-9]{1,15}(\.0+)?").fullmatch
_ANY_DAY = datetime(2024, 1, 1, tzinfo=INDIA)  # without --start only offsets are shown


class Kind(StrEnum):
    TWAP = "twap"
    VWAP = "vwap"
    WEIGHTS = "weights"


def split(
    quantity: Annotated[int, typer.Option(min=1, max=QUANTITY_MAX, help="Units, a multiple of the lot.")],
    minutes: Annotated[int, typer.Option(min=1, max=MINUTES_MAX, help="The length of the window.")],
    splits: Annotated[
        int | None, typer.Option(min=1, max=SPLITS_MAX, help="Into so many slices; with weights, one for each.")
    ] = None,
    lot: Annotated[int, typer.Option(min=1, max=QUANTITY_MAX, help="Units of a lot.")] = 1,
    freeze: Annotated[
        int | None, typer.Option(min=1, help="The most that one order may have, in units.")
    ] = None,
    schedule: Annotated[
        Kind | None,
        typer.Option(case_sensitive=False, help="twap where neither --curve nor --weights is given."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="W,W,...", help="Of the slices, in order, such as 1,2,3.")
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Volume history for vwap: candles (timestamp,open,high,low,close,volume) or time,volume.",
        ),
    ] = None,
    randomize: Annotated[
        bool, typer.Option("--randomize/--no-randomize", help="Vary what the schedule leaves to chance.")
    ] = True,
    seed: Annotated[int | None, typer.Option(help="Of the random source; else one is drawn and shown.")] = None,
    start: Annotated[
        str | None, typer.Option(metavar="INSTANT", help="Such as 2026-01-05T09:15:00+05:30.")
    ] = None,
    session: Annotated[
        list[str] | None,
        typer.Option(metavar="START/END", help="Open time, as two instants; may be given several times."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Preview a schedule: slices, their times and the orders they are sent as. Nothing is sent."""
    if not randomize:
        if seed is not None:
            raise BadInput("--seed goes with a randomised schedule, not with --no-randomize")
    elif seed is None:
        seed = secrets.randbits(32)
    try:
        kind = _kind(schedule, weights, curve)
        planner, begins = _schedule(kind, splits, weights, curve)
        window = _window(start, minutes, session, begins)
        slices = schedule_slices(
            planner,
            quantity,
            window,
            lot_size=lot,
            freeze_quantity=freeze,
            rng=None if seed is None else Random(seed),  # noqa: S311
        )
    except CannotSplit as error:
        raise BadInput(str(error)) from None
    except OverflowError:
        raise BadInput("--start and its window are beyond the calendar") from None
    dated = start is not None
    if as_json:
        output.say_json(
            {
                "schedule": kind,
                "total_quantity": quantity,
                "lot_size": lot,
                "freeze_quantity": freeze,
                "starts_at": window.start if dated else None,
                "ends_at": window.end if dated else None,
                "duration_minutes": minutes,
                "seed": seed,
                "slices": [_row(it, quantity, dated) for it in slices],
            }
        )
        return
    output.show(output.schedule_table(slices, quantity, dated=dated))
    output.say("")
    output.say(output.sparkline([it.quantity for it in slices]))
    output.say(_summary(slices, quantity, minutes, lot, seed, None if dated else begins))


def _row(it: ScheduledSlice, total: int, dated: bool) -> Json:
    return {
        "seq": it.seq,
        "offset_us": it.offset_us,
        "scheduled_at": it.at if dated else None,
        "quantity": it.quantity,
        "chunks": it.chunks,
        "cumulative_quantity": it.cumulative_quantity,
        "cumulative_percent": output.percent(it.cumulative_quantity, total),
    }


def _summary(
    slices: tuple[ScheduledSlice, ...],
    quantity: int,
    minutes: int,
    lot: int,
    seed: int | None,
    begins: timedelta | None,
) -> str:
    sent = sum(len(it.chunks) for it in slices)
    said = [f"{quantity} in {_count(len(slices), 'slice')}", _count(sent, "order"), f"over {minutes} min"]
    if lot > 1:
        said.append(f"lot {lot}")
    if begins is not None:
        said.append(f"from {(_ANY_DAY + begins).time()}, where the curve begins")
    said.append("not randomised" if seed is None else f"seed {seed}")
    return ", ".join(said)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _kind(kind: Kind | None, weights: str | None, curve: Path | None) -> Kind:
    if kind is None:
        kind = Kind.WEIGHTS if weights is not None else Kind.VWAP if curve else Kind.TWAP
    if weights is not None and kind is not Kind.WEIGHTS:
        raise BadInput(f"--weights does not go with --schedule {kind}")
    if curve is not None and kind is not Kind.VWAP:
        raise BadInput(f"--curve does not go with --schedule {kind}")
    return kind


def _schedule(
    kind: Kind, splits: int | None, weights: str | None, curve: Path | None
) -> tuple[Schedule, timedelta | None]:
    """Give the schedule and, for a curve, the time of day at which it begins.

    Raises:
        BadInput: an option is missing, or a file or weight cannot be read.
        CannotSplit: weights or volumes that make no schedule.
    """
    if kind is Kind.WEIGHTS:
        if weights is None:
            raise BadInput("--schedule weights needs --weights, such as 1,2,3")
        given = _weights(weights)
        if splits not in (None, len(given)):
            raise BadInput(f"--splits is {splits}, but there are {_count(len(given), 'weight')}")
        return Weighted(given), None
    if splits is None:
        raise BadInput(f"--schedule {kind} needs --splits")
    if kind is Kind.TWAP:
        return Twap(splits), None
    if curve is None:
        raise BadInput("--schedule vwap needs --curve, a file of candles or of time,volume")
    history = _curve(curve)
    return Vwap(splits, history), timedelta(microseconds=history.buckets[0][0])


def _weights(text: str) -> tuple[Decimal, ...]:
    given = [weight.strip() for weight in text.split(",")]
    if not all(_matches_weight(weight) for weight in given):
        raise BadInput("--weights must be numbers above 0, separated by commas, such as 1,2,3")
    if len(given) > SPLITS_MAX:
        raise BadInput(f"--weights must be at most {SPLITS_MAX}")
    return tuple(Decimal(weight) for weight in given)


def _window(start: str | None, minutes: int, sessions: list[str] | None, begins: timedelta | None) -> Window:
    if start is not None:
        starts_at = instant("--start", start)
    elif sessions:
        raise BadInput("--session needs --start")
    else:
        starts_at = _ANY_DAY + (begins or timedelta())
    return Window(
        starts_at,
        starts_at + timedelta(minutes=minutes),
        [_session(text) for text in sessions] if sessions else None,
    )


def _session(text: str) -> tuple[datetime, datetime]:
    start, slash, end = text.partition("/")
    if not slash:
        raise BadInput("--session must be two instants with / between them")
    return instant("--session", start), instant("--session", end)


def instant(option: str, text: str) -> datetime:
    """Read an instant that an option was given.

    Raises:
        BadInput: it is none, or lacks the offset.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option} must be ISO 8601, such as 2026-01-05T09:15:00+05:30") from None
    if at.utcoffset() is None:
        raise BadInput(f"{option} needs an offset from UTC at its end, such as +05:30")
    return at


# --- volume history ----------------------------------------------------------------------------


def _curve(path: Path) -> VolumeCurve:
    rows = _read(path)
    header = [name.strip().lower() for name in next(rows, [])]
    if "time" in header and "volume" in header:
        when, traded = header.index("time"), header.index("volume")
        return VolumeCurve.from_pairs(
            [_pair(path, row, cells, when, traded) for row, cells in enumerate(rows, start=2) if cells]
        )
    from pulse_adapters.feeds.errors import FeedFileError
    from pulse_adapters.feeds.files import read_feed_file

    try:
        candles = read_feed_file(path).candles
    except FeedFileError as error:
        raise BadInput(str(error)) from None
    if not candles:
        raise BadInput(f"{path}: holds ticks; a curve is made from candles or from time,volume")
    return VolumeCurve.from_candles(candles)


def _read(path: Path) -> Iterator[list[str]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield from csv.reader(file)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: cannot be read as CSV: {error}") from None


def _pair(path: Path, row: int, cells: list[str], when: int, traded: int) -> tuple[int, int]:
    try:
        at, volume = time.fromisoformat(cells[when].strip()), cells[traded].strip()
    except (IndexError, ValueError):
        raise BadInput(f"{path}: row {row} does not begin with a time, such as 09:15,12000") from None
    if at.tzinfo is not None:
        raise BadInput(f"{path}: row {row} has a time of day with an offset; times are Indian time")
    if _matches_volume(volume) is None:
        raise BadInput(f"{path}: row {row} has the volume {volume!r}, which is not a number of units")
    since_midnight = datetime.combine(_ANY_DAY.date(), at) - datetime.combine(_ANY_DAY.date(), time())
    return since_midnight // timedelta.resolution, int(Decimal(volume))
