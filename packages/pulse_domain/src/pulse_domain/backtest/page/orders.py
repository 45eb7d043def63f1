"""The table of orders: the figures of each, its life as a bar, and below it slices and journal in words."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from pulse_domain.backtest.page.words import (
    NOTHING,
    clock,
    count,
    label,
    later,
    moment,
    number,
    percent,
    price,
    span,
    text,
    told,
)
from pulse_domain.backtest.result import BacktestOrder
from pulse_domain.orders import events as ev
from pulse_domain.orders.model import OrderRequest
from pulse_domain.orders.slices import Slice
from pulse_domain.orders.status import OrderState

ORDERS_MAX = 500
# Lines of journals and of slices, each, over the whole page.
LINES_MAX = 25_000

_COLUMNS = (
    "Order", "Arrived", "Instrument", "Side", "Quantity", "Filled", "Average price", "State",
    "vs arrival, bps", "vs VWAP, bps", "Participation", "Lateness",
)  # fmt: skip
_WORDS = ("Order", "Arrived", "Instrument", "Side", "State")
_BAR = 1000  # how wide a bar is in its own units

ItemT = TypeVar("ItemT")


def orders_table(orders: Sequence[BacktestOrder]) -> str:
    """All of these orders: leave out those that are too many before."""
    lines = max(20, LINES_MAX // max(1, len(orders)))
    heads = "".join(
        f'<th{"" if name in _WORDS else " class=n"}><button type="button">{name}</button></th>'
        for name in _COLUMNS
    )
    bodies = "\n".join(_order(order, lines) for order in orders)
    return f'<table class="orders"><thead><tr>{heads}</tr></thead>\n{bodies}\n</table>'


def _order(order: BacktestOrder, lines: int) -> str:
    request, quality, state = order.request, order.quality, order.summary.state
    arrived = order.journal[0].at
    figures = (
        ("n", number(request.total_quantity)),
        ("n", number(quality.filled_quantity)),
        ("n", price(quality.average_price)),
        ("", f'<span class="state {state.lower()}">{label(state)}</span>'),
        ("n", number(quality.slippage_vs_arrival_bps, 2)),
        ("n", number(quality.slippage_vs_vwap_bps, 2)),
        ("n", percent(quality.participation)),
    )
    late = quality.lateness_mean
    sort_as = "" if late is None else f' data-v="{late.total_seconds():.6f}"'
    cells = "".join(f"<td class=n>{cell}</td>" if kind else f"<td>{cell}</td>" for kind, cell in figures)
    return (
        f"<tbody><tr><td><b>{text(order.order_unique_key)}</b>"
        f"<small>{_terms(request, len(order.slices))}</small></td>"
        f"<td>{moment(arrived)}</td><td>{text(request.instrument)}</td>"
        f'<td class="{request.side.lower()}">{label(request.side)}</td>{cells}'
        f"<td class=n{sort_as}>{span(late)}</td></tr>"
        f'<tr class="life"><td colspan="{len(_COLUMNS)}"><details>'
        f"<summary>{_bar(order)}{_steps(order)}</summary>"
        f'<div class="inside">{_slices(order, lines)}{_journal(order, lines)}</div></details></td></tr></tbody>'
    )


def _terms(request: OrderRequest, slices: int) -> str:
    kind = [request.order_type.value]
    if request.limit_price is not None:
        kind.append(price(request.limit_price))
    if request.trigger_price is not None:
        kind.append(f"at {price(request.trigger_price)}")
    words = [" ".join(kind), request.validity.value, count(slices, "slice")]
    if request.product is not None:
        words.insert(1, request.product.value)
    if request.strategy_tag:
        words.append(request.strategy_tag)
    return text(" · ".join(words))


# --- the life of an order --------------------------------------------------------------------------


def _steps(order: BacktestOrder) -> str:
    """Accepted, split, sent, filled: each with the first time of it."""
    steps: list[tuple[str, datetime]] = []
    seen: set[str] = set()
    slices = len(order.slices)
    for entry in order.journal:
        words = _step(entry.event, slices)
        if words is not None and words not in seen:
            seen.add(words)
            steps.append((words, entry.at))
    summary, first, last = order.summary, order.journal[0].at, order.journal[-1].at
    final = f'<span class="state {summary.state.lower()}">{label(summary.state)}</span>'
    if last > first:
        final += f" after {span(last - first)}"
    if summary.state is OrderState.FILLED and steps[-1] == ("first fill", last):
        steps.pop()
    before = first
    items: list[str] = []
    for words, at in [*steps, (final, last)]:
        items.append(f"<li>{words} <time>{later(at, before) if items else moment(at)}</time></li>")
        before = at
    return f"<ol>{''.join(items)}</ol>"


def _step(event: ev.Event, slices: int) -> str | None:
    match event:
        case ev.OrderAccepted():
            return "accepted"
        case ev.SplitSaved():
            return f"split into {count(slices, 'slice')}"
        case ev.ExecutionAccepted():
            return "first sent" if slices > 1 else "sent"
        case ev.ExecutionResting(trigger_pending=pending):
            return "waits for its trigger" if pending else "triggered"
        case ev.ExecutionFilled():
            return "first fill"
        case ev.ExecutionRejected():
            return f"refused, {text(event.reason_code)}"
        case ev.CancelRequested():
            return "cancel asked for"
        case _:
            return None


def _bar(order: BacktestOrder) -> str:
    """The time from arrival to end: waiting, then working, and how much of it was filled when."""
    journal, fills = order.journal, order.fills
    first = journal[0].at
    last = max([journal[-1].at, *(fill.at for fill in fills)])
    length = (last - first).total_seconds()

    def at(instant: datetime) -> float:
        return round((instant - first).total_seconds() / length * _BAR, 1) if length else 0.0

    sent = [at(entry.at) for entry in journal if isinstance(entry.event, ev.ExecutionAccepted)]
    parts = ""
    if sent:
        parts += f'<path class="working" d="M{sent[0]:g} 0H{_BAR}V20H{sent[0]:g}Z"/>'
    filled, corners = 0, ""
    for fill in sorted(fills, key=lambda fill: fill.at):
        filled += fill.quantity
        corners += f"H{at(fill.at):g}V{20 - 20 * filled / order.request.total_quantity:.3g}"
    if corners:
        parts += f'<path class="done" d="M0 20{corners}H{_BAR}V20Z"/>'
    due = {at(each.scheduled_at) for each in order.slices}
    ticks = "".join(f"M{x:g} 15V20" for x in sorted(due) if x <= _BAR)
    return (
        f'<svg class="bar {order.summary.state.lower()}" viewBox="0 0 {_BAR} 20" preserveAspectRatio="none" '
        f'aria-hidden="true">{parts}<path class="due" d="{ticks}"/></svg>'
    )


# --- what happened to it ---------------------------------------------------------------------------


def _slices(order: BacktestOrder, lines: int) -> str:
    sent: dict[int, datetime] = {}
    for entry in order.journal:
        if isinstance(entry.event, ev.ExecutionAccepted):
            sent.setdefault(entry.event.seq, entry.at)
    day = order.journal[0].at
    rows = [_slice(each, sent.get(each.seq), day) for each in order.slices]
    return (
        "<table><thead><tr><th class=n>Slice<th>Due<th class=n>Planned<th class=n>Filled"
        "<th class=n>Average price<th>Sent<th>Last fill<th class=n>Lateness<th>Outcome</tr></thead><tbody>"
        f"{_shortened(rows, lines, 9)}</tbody></table>"
    )


def _slice(each: Slice, sent: datetime | None, day: datetime) -> str:
    fills = [fill for execution in each.executions for fill in execution.fills]
    filled = sum(fill.quantity for fill in fills)
    value = sum(fill.quantity * fill.price for fill in fills)
    last = max((fill.at for fill in fills), default=None)
    cells = (
        ("n", str(each.seq)),
        ("", later(each.scheduled_at, day)),
        ("n", number(each.quantity)),
        ("n", number(filled)),
        ("n", price(round(value / filled, 4)) if filled and value else NOTHING),
        ("", NOTHING if sent is None else later(sent, day)),
        ("", NOTHING if last is None else later(last, day)),
        ("n", NOTHING if last is None else span(last - each.scheduled_at)),
        ("", label(each.outcome)),
    )
    return "<tr>" + "".join(f"<td class=n>{cell}" if kind else f"<td>{cell}" for kind, cell in cells) + "</tr>"


def _journal(order: BacktestOrder, lines: int) -> str:
    slices, rows = order.slices, []
    before: datetime | None = None
    for entry in order.journal:
        at = clock(entry.at) if before is not None and entry.at.date() == before.date() else moment(entry.at)
        rows.append(f"<tr><td class=n>{entry.seq}<td>{at}<td>{told(entry, slices)}</tr>")
        before = entry.at
    return (
        "<table><thead><tr><th class=n>#<th>Time<th>What happened</tr></thead><tbody>"
        f"{_shortened(rows, lines, 3)}</tbody></table>"
    )


def _shortened(rows: list[str], most: int, columns: int) -> str:
    """The rows, or the first and last of them and how many are left out between."""
    if len(rows) <= most:
        return "".join(rows)
    tail = most // 4
    head = most - tail
    left_out = f'<tr><td colspan="{columns}" class="left-out">… {number(len(rows) - most)} more …</tr>'
    return "".join([*rows[:head], left_out, *rows[-tail:]])
