"""`pulse order watch`: an order followed to its end, as JSON, as lines, or as a table that redraws."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from pulse import output
from pulse.client import Event, Gateway
from pulse.errors import GatewayError
from pulse.views import JournalRow, Order, Slice, Slices
from pulse_adapters.clock import SystemClock

if TYPE_CHECKING:
    from rich.console import Console, Group

_PLACED = "execution_accepted"
_FRAME_LINES = 8  # heading, bar, blank, three of the table's head, caption, cursor
_ROWS_MIN = 3


class Watched:
    """What is known of an order that is being followed.

    The events say when each slice was placed; how its slices stand is the gateway's own word, read anew after
    they moved (`slices`).
    """

    def __init__(self) -> None:
        self.order: Order | None = None
        self.slices: tuple[Slice, ...] = ()
        self.notice = ""
        self.has_moved = False
        self._placed: dict[tuple[int, int], datetime] = {}

    def take(self, event: Event) -> None:
        self.notice = ""
        if event.seq is None:
            self.order = msgspec.convert(event.data, Order)
            return
        self.has_moved = True
        row = msgspec.convert(event.data, JournalRow)
        if row.event.get("kind") == _PLACED:
            self._placed.setdefault((row.event["seq"], row.event["chunk"]), row.at)

    def take_slices(self, slices: Slices) -> None:
        self.slices = slices.slices
        self.has_moved = False

    def late_s(self, slice_: Slice) -> float | None:
        """Seconds from the schedule of a slice to the broker's yes to the last of its executions so far."""
        chunks = range(len(slice_.executions))
        placed = [at for chunk in chunks if (at := self._placed.get((slice_.seq, chunk)))]
        return (max(placed) - slice_.scheduled_at).total_seconds() if placed else None

    def next_due(self) -> datetime | None:
        """When the next slice is to be placed."""
        return min((s.scheduled_at for s in self.slices if s.stage == "SCHEDULED"), default=None)


def watch_json(gateway: Gateway, order_id: str) -> Order:
    """Write every journal row, and last the order, as lines of JSON."""
    last = None
    for event in gateway.events(order_id, on_cut=_say_cut):
        if event.seq is not None:
            output.say_json(event.data)
        elif event.is_last:
            last = event.data
    final = last or gateway.order(order_id)
    output.say_json(final)
    return msgspec.convert(final, Order)


def watch_lines(gateway: Gateway, order_id: str) -> Order:
    """Write every journal row as a line, and last a summary."""
    watched = Watched()
    for event in gateway.events(order_id, on_cut=_say_cut):
        watched.take(event)
        if event.seq is not None:
            output.say(output.journal_line(msgspec.convert(event.data, JournalRow)))
    return _end(gateway, order_id, watched)


def watch_table(gateway: Gateway, order_id: str) -> Order:
    """Draw the slices and how much is filled until the order is done; leave the whole table and a summary."""
    from rich.live import Live

    watched, console = Watched(), output.console()

    def on_cut(error: GatewayError) -> None:
        watched.notice = "the connection is lost, trying again"

    def draw() -> "Group":
        return screen(watched, console, SystemClock().now())

    with Live(console=console, get_renderable=draw, transient=True):
        for event in gateway.events(order_id, on_cut=on_cut):
            watched.take(event)
            if event.seq is None and watched.has_moved:
                _read_slices(gateway, order_id, watched)
    watched.take_slices(msgspec.convert(gateway.slices(order_id), Slices))
    if watched.slices:
        output.show(output.slices_table(watched.slices, watched.late_s))
    return _end(gateway, order_id, watched)


def screen(watched: Watched, console: "Console", now: datetime) -> "Group":
    """Lay out what fits on a screen: the order, its bar, and the slices around those that are next."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    order = watched.order
    if order is None:
        return Group(Text(watched.notice or "waiting for the order"))
    total, filled = order.quantities.total, order.quantities.filled
    rows = window(watched.slices, max(_ROWS_MIN, console.height - _FRAME_LINES))
    hidden = len(watched.slices) - len(rows)
    notes = [
        watched.notice,
        f"{hidden} more slices" if hidden else "",
        _countdown(watched.next_due(), now),
        "cancel asked" if order.cancel_requested_at and not order.done else "",
    ]
    return Group(
        Text(f"{order.order_id}  {order.side} {total} {output.clean(order.instrument)}  {order.state}"),
        Columns(
            [
                ProgressBar(total=total, completed=min(filled, total), width=40),
                Text(f"{filled}/{total} at {output.price(order.average_price)}"),
            ]
        ),
        Text(),
        *([output.slices_table(rows, watched.late_s)] if rows else []),
        Text("; ".join(filter(None, notes)), style="dim"),
    )


def window(slices: tuple[Slice, ...], rows: int) -> tuple[Slice, ...]:
    """Take as many slices as there are rows, so that the first unfinished one is seen with some before it."""
    first = next((i for i, s in enumerate(slices) if s.outcome is None), len(slices))
    start = max(0, min(first - rows // 3, len(slices) - rows))
    return slices[start : start + rows]


def _countdown(due: datetime | None, now: datetime) -> str:
    if due is None or due <= now:
        return ""
    minutes, seconds = divmod(int((due - now).total_seconds()), 60)
    return f"next slice in {minutes}:{seconds:02d}"


def _read_slices(gateway: Gateway, order_id: str, watched: Watched) -> None:
    try:
        watched.take_slices(msgspec.convert(gateway.slices(order_id), Slices))
    except GatewayError as error:
        if not error.is_temporary:
            raise
        # The next event asks again; the stream itself finds out whether the gateway is gone.


def _end(gateway: Gateway, order_id: str, watched: Watched) -> Order:
    order = watched.order
    if order is None or not order.done:  # an order that was done before: its stream is empty
        order = msgspec.convert(gateway.order(order_id), Order)
    output.say(output.summary(order))
    return order


def _say_cut(error: GatewayError) -> None:
    output.complain(f"the connection is lost, trying again ({error})")


Watch = Callable[[Gateway, str], Order]


def way_to_watch(*, as_json: bool) -> Watch:
    if as_json:
        return watch_json
    return watch_table if output.is_screen() else watch_lines
