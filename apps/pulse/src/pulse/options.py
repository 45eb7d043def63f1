"""What a command hands to the code behind it."""

from collections.abc import Mapping
from datetime import datetime, time, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Literal

from msgspec import Struct

from pulse.wished_strategies import WishedStrategy
from pulse_domain.instruments import Instrument


class UpOptions(Struct, frozen=True, kw_only=True):
    """The options of `pulse up`, checked.

    feed: what the virtual exchange trades on, such as `synthetic` or `replay:FILE`.
    feed_speed: market seconds per second, above 0.
    port: 0 takes a free one.
    state_dir: absolute; it may not exist yet.
    log_level: DEBUG, INFO, WARNING, ERROR or CRITICAL.
    strategies: those that are to run.
    """

    feed: str = "synthetic"
    feed_speed: float = 1.0
    port: int = 8000
    host: str = "127.0.0.1"
    state_dir: Path
    log_level: str = "WARNING"
    strategies: tuple[WishedStrategy, ...] = ()


class ClusterOptions(Struct, frozen=True, kw_only=True):
    """The options of `pulse up --cluster`, checked; those of the same name mean the same as in `UpOptions`.

    workers: how many processes of them.
    seed: of the exchange's delays; one is drawn and shown where there is none.
    """

    feed: str = "synthetic"
    feed_speed: float = 1.0
    port: int = 8000
    host: str = "127.0.0.1"
    state_dir: Path
    log_level: str = "WARNING"
    workers: int = 2
    seed: int | None = None
    strategies: tuple[WishedStrategy, ...] = ()


class ExportOptions(Struct, frozen=True, kw_only=True):
    """What of an instrument goes into which file; from the first instant up to but without the second."""

    instrument: Instrument
    file: Path
    starts_at: datetime
    ends_at: datetime
    as_json: bool = False


class DataFile(Struct, frozen=True, kw_only=True):
    """A file of prices; the text of its instrument where it was named with the file."""

    path: Path
    instrument: str | None = None


class BacktestOptions(Struct, frozen=True, kw_only=True):
    """The options of `pulse backtest run`, each readable by itself.

    file: of the user; or `kind`, the name of a shipped strategy. One of both.
    strategy: the name of a class; else the file has one.
    parameters: of the strategy, as typed.
    instrument: of the one data file that does not name its own.
    starts_at, ends_at: the data from the first up to but without the second.
    zone: of times in files that carry no offset.
    slippage_ticks, slippage_bps: one of both at most.
    report, fills: files to be written.
    """

    file: Path | None = None
    kind: str | None = None
    strategy: str | None = None
    parameters: Mapping[str, str] = {}
    candles: tuple[DataFile, ...] = ()
    ticks: tuple[DataFile, ...] = ()
    instrument: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    zone: tzinfo | None = None
    defects: Literal["raise", "drop"] = "raise"
    capital: Decimal | None = None
    seed: int = 0
    charges: Literal["none", "zerodha"] = "none"
    participation: Decimal | None = None
    slippage_ticks: int | None = None
    slippage_bps: Decimal | None = None
    square_off_at: time | None = None
    lot_size: int = 1
    tick_size: Decimal = Decimal("0.05")
    freeze_quantity: int | None = None
    report: Path | None = None
    fills: Path | None = None
    as_json: bool = False
    show_traceback: bool = False
