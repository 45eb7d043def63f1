"""How things are written: JSON, lines and tables."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from pulse.views import JournalRow, Json, Order, Slice

if TYPE_CHECKING:  # it takes 40 ms, which JSON need not wait for
    from rich.console import Console, RenderableType
    from rich.table import Table

    from pulse_domain.splitting import ScheduledSlice

_PIPE_WIDTH = 1000  # nothing is cut or wrapped where a program reads
_CENT, _PRICE_STEP = Decimal("0.01"), Decimal("0.0001")
_BARS = "▁▂▃▄▅▆▇█"
_PROGRESS_STEP = 0.002  # what is less cannot be seen
_GOOD, _BAD = "green", "red"
_STYLES = {
    "FILLED": _GOOD,
    "PARTIALLY_FILLED": "yellow",
    "REJECTED": _BAD,
    "FAILED": _BAD,
    "UNRESOLVED": "bold red",
    "WORKING": "cyan",
    "IN_PROGRESS": "cyan",
}


def clean(text: str) -> str:
    """Put a text of others on one line, without what would steer a terminal."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


def complain(text: str) -> None:
    """Write one line to stderr."""
    print(clean(text), file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Write one line to stdout, at once."""
    print(clean(text), flush=True)


def say_json(value: Any) -> None:
    """Write one JSON document as one line to stdout, at once."""
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")  # UTF-8, whatever the locale
    sys.stdout.flush()


def is_screen() -> bool:
    """Whether stdout is a terminal that can redraw."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def console() -> "Console":
    from rich.console import Console

    # The texts of others are no markup.
    return Console(
        markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH
    )


def show(renderable: "RenderableType") -> None:
    on = console()
    with on.capture() as captured:
        on.print(renderable)
    # Printed by ourselves, so that a closed pipe is noticed in one place; without the padding.
    lines = [line.rstrip() for line in captured.get().splitlines()]
    print("\n".join(lines).strip("\n"), flush=True)


@contextmanager
def progress(label: str) -> Iterator[Callable[[float], None] | None]:
    """Show a bar on stderr meanwhile, to be told the part that is done; on anything but a terminal, None."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, shown = bar.add_task(label, total=1.0), 0.0

        def tell(part: float) -> None:
            nonlocal shown
            if part - shown >= _PROGRESS_STEP:
                shown = part
                bar.update(task, completed=part)

        yield tell


def price(value: Decimal | None) -> str:
    """Write a price in rupees with two decimals, up to four where they say more."""
    if value is None:
        return "-"
    value = value.quantize(_PRICE_STEP)
    return str(value.quantize(_CENT) if value == value.quantize(_CENT) else value.normalize())


def instant(at: datetime) -> str:
    """Write an instant in local time, with its offset."""
    return at.astimezone().isoformat(sep=" ", timespec="seconds")


def percent(part: int, whole: int) -> Decimal:
    """Give a share in percent, with two decimals; 100 only where it is the whole."""
    return (Decimal(part * 10_000 // whole) / 100).quantize(_CENT)


def sparkline(values: Sequence[int]) -> str:
    """Draw numbers above 0 as bars from 0 to the largest."""
    largest = max(values, default=0)
    return "".join(_BARS[max(1, round(len(_BARS) * value / largest)) - 1] for value in values)


def offset(us: int) -> str:
    """Write a time after a start."""
    seconds, us = divmod(us, 1_000_000)
    return f"+{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{us // 1000:03}"


def lateness(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:+.3f} s"


def journal_line(row: JournalRow) -> str:
    """Write a journal row as a line: when, its number, what, and the particulars."""
    event = dict(row.event)
    kind = event.pop("kind", "?")
    at = row.at.astimezone().isoformat(sep=" ", timespec="milliseconds")
    return " ".join([at, f"#{row.seq}", str(kind), *_particulars(event)])


def _particulars(event: Json) -> Iterable[str]:
    for name, value in event.items():
        if isinstance(value, dict):
            yield from _particulars(value)
        elif isinstance(value, list):
            yield f"{name}={len(value)}"
        elif name == "seq":
            yield f"slice={value}"
        else:
            yield f"{name}={value}"


def summary(order: Order) -> str:
    """Say in one line where an order stands."""
    q = order.quantities
    filled = f"{order.order_id} {order.state}: {q.filled} of {q.total} filled"
    if order.average_price is not None:
        filled += f" at {price(order.average_price)}"
    rest = [
        f"{n} {name}"
        for name in ("working", "unknown", "unsent", "cancelled", "failed")
        if (n := getattr(q, name))
    ]
    why = order.failure or order.order_queue_skip_reason
    return ", ".join([filled, *rest, *([why] if why else [])])


def order_table(order: Order) -> "Table":
    """Give an order's particulars as names and values."""
    split = order.split_config
    rows = {
        "order": order.order_id,
        "key": order.order_unique_key,
        "what": f"{order.side} {order.total_quantity} {order.instrument}",
        "how": " ".join(filter(None, (order.order_type, order.product, order.validity))),
        "limit": order.limit_price and price(order.limit_price),
        "trigger": order.trigger_price and price(order.trigger_price),
        "split": split
        and f"{split.num_splits} over {split.duration_minutes} min{', randomised' if split.randomize else ''}",
        "tag": order.strategy_tag,
        "created": instant(order.created_at),
        "starts": instant(order.starts_at),
        "ends": instant(order.ends_at),
        "cancel asked": order.cancel_requested_at and instant(order.cancel_requested_at),
        "paused": "until it is resumed" if order.paused else None,
        "state": summary(order).partition(" ")[2],
    }
    return particulars(rows)


def particulars(rows: Mapping[str, Any]) -> "Table":
    """Give names and values, without those that have none."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            table.add_row(name, clean(value))
    return table


def orders_table(orders: Iterable[Order]) -> "Table":
    table = plain_table(
        ("order", "left"), ("created", "left"), ("what", "left"), ("filled", "right"), ("state", "left")
    )  # fmt: skip
    created = table.columns[1]
    for column in table.columns[:4]:
        column.no_wrap = column is not created  # on a small screen its time goes below its date
    created.min_width = len("09:15+05:30")
    for order in orders:
        table.add_row(
            order.order_id,
            order.created_at.astimezone().isoformat(sep=" ", timespec="minutes"),
            clean(f"{order.side} {order.total_quantity} {order.instrument}"),
            str(order.quantities.filled),
            status(order.state),
        )
    return table


def slices_table(slices: Iterable[Slice], late_s: Callable[[Slice], float | None] | None = None) -> "Table":
    """Tabulate slices.

    late_s: how many seconds after its schedule a slice was placed; None where it was not yet.
    """
    slices = list(slices)
    dates = {slice_.scheduled_at.astimezone().date() for slice_ in slices}
    one_day = len(dates) == 1
    scheduled = f"scheduled\n{dates.pop()}" if one_day else "scheduled"
    reasons = any(slice_.reasons for slice_ in slices)
    table = plain_table(
        ("#", "right"), (scheduled, "left"), ("quantity", "right"), ("stage", "left"), ("outcome", "left"),
        ("filled", "right"), ("average", "right"),
        *([("late", "right")] if late_s else []),
        *([("reason", "left")] if reasons else []),
    )  # fmt: skip
    for slice_ in slices:
        at = instant(slice_.scheduled_at)
        table.add_row(
            str(slice_.seq),
            at.partition(" ")[2] if one_day else at,
            str(slice_.quantity),
            status(slice_.stage),
            status(slice_.outcome or "-"),
            str(slice_.filled_quantity),
            price(slice_.average_price),
            *([lateness(late_s(slice_))] if late_s else []),
            *([clean(slice_.reasons)] if reasons else []),
        )
    return table


def schedule_table(slices: Sequence["ScheduledSlice"], total: int, *, dated: bool) -> "Table":
    """Tabulate a schedule.

    dated: show instants, with the offset from UTC that they have; else the time after the start.
    """
    table = plain_table(
        ("#", "right"), ("time" if dated else "offset", "left"), ("quantity", "right"), ("orders", "left"),
        ("cumulative", "right"),
    )  # fmt: skip
    for it in slices:
        table.add_row(
            str(it.seq),
            it.at.isoformat(sep=" ", timespec="milliseconds") if dated else offset(it.offset_us),
            str(it.quantity),
            _chunks(it.chunks),
            f"{percent(it.cumulative_quantity, total)} %",
        )
    return table


def _chunks(sizes: Sequence[int]) -> str:
    # All but the last are of one size.
    full, last = sizes[:-1], sizes[-1]
    if not full:
        return str(last)
    if last == full[0]:
        return f"{len(sizes)} × {last}"
    return f"{len(full)} × {full[0]} + {last}" if len(full) > 1 else f"{full[0]} + {last}"


def plain_table(*columns: tuple[str, Any]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim"
    )
    for name, justify in columns:
        table.add_column(name, justify=justify, overflow="fold")
    return table


def status(state: str) -> Any:
    from rich.text import Text

    return Text(clean(state), style=_STYLES.get(state, ""))
