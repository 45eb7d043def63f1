"""Figures, instants and what happened, in words. What comes from outside goes through `text`."""

from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from html import escape

from pulse_domain.orders import events as ev
from pulse_domain.orders.slices import Slice

NOTHING = "—"
_MINUS = "\u2212"
_SECOND = timedelta(seconds=1)
_MINUTE = timedelta(minutes=1)
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)

Number = int | float | Decimal


def text(value: object) -> str:
    """As HTML that shows just this."""
    return escape(str(value))


def hover_text(value: object) -> str:
    """The same in the hover labels of plotly, which know tags, but no entities for quotes."""
    return escape(str(value), quote=False)


def number(value: Number | None, places: int = 0, *, signed: bool = False) -> str:
    """With separators of thousands; a dash where there is none."""
    if value is None:
        return NOTHING
    told = f"{value:,.{places}f}"
    if told.startswith("-"):
        # What rounds to nothing has no sign.
        return _MINUS + told[1:] if told.strip("-0.,") else told[1:]
    return f"+{told}" if signed and told.strip("0.,") else told


def money(value: Decimal | None) -> str:
    """Rupees and paise."""
    if value is None:
        return NOTHING
    told = number(value, 2)
    return f"{_MINUS}₹{told[1:]}" if told.startswith(_MINUS) else f"₹{told}"


def price(value: Decimal | None) -> str:
    """With two decimals, or four where it needs them."""
    if value is None:
        return NOTHING
    return number(value, 2 if value == round(value, 2) else 4)


def percent(fraction: Decimal | None, places: int = 2, *, signed: bool = False) -> str:
    return NOTHING if fraction is None else number(fraction * 100, places, signed=signed) + "%"


def count(amount: int, one: str, many: str = "") -> str:
    """`3 orders`, `1 order`."""
    return f"{number(amount)} {one if amount == 1 else many or one + 's'}"


def clock(at: datetime) -> str:
    """The time of day, to the millisecond where it has a fraction."""
    return at.strftime("%H:%M:%S") + (f".{at.microsecond // 1000:03}" if at.microsecond else "")


def moment(at: datetime) -> str:
    return f"{at.date().isoformat()} {clock(at)}"


def later(at: datetime, before: datetime) -> str:
    """The time of day, with the date where it is another than before."""
    return clock(at) if at.date() == before.date() else moment(at)


def span(length: timedelta | None) -> str:
    """`1 d 4 h`, `54 min`, `2.5 s`."""
    if length is None:
        return NOTHING
    if length < timedelta():
        return _MINUS + span(-length)
    for unit, name, part, part_name in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if length >= unit:
            whole, rest = divmod(length, unit)
            return f"{whole} {name} {rest // part} {part_name}" if rest >= part else f"{whole} {name}"
    if length >= _MINUTE:
        whole, rest = divmod(length, _MINUTE)
        return f"{whole} min {rest // _SECOND} s" if rest >= _SECOND else f"{whole} min"
    seconds = length / _SECOND
    return f"{seconds:.{1 if seconds >= 10 else 3}f}".rstrip("0").rstrip(".") + " s"


def label(name: StrEnum | None) -> str:
    """A state or outcome as one reads it."""
    return NOTHING if name is None else name.value.lower().replace("_", " ")


def told(entry: ev.JournalEntry, slices: tuple[Slice, ...]) -> str:
    """What an entry of a journal says, as HTML."""
    event = entry.event
    if isinstance(event, ev.ExecutionEvent):
        return f"{_which(event, slices)}: {_of_execution(event, entry.at)}"
    match event:
        case ev.OrderAccepted():
            wanted = f"{event.side.lower()} {number(event.total_quantity)} {text(event.instrument)}"
            return f"accepted: {wanted}"
        case ev.SplitClaimed():
            return "taken up to be split"
        case ev.SplitSaved():
            return f"split into {count(len(event.slices), 'slice')}"
        case ev.CancelRequested():
            return "its cancellation was asked for"
        case _:
            return _by_kind(event)


def _which(event: ev.ExecutionEvent, slices: tuple[Slice, ...]) -> str:
    parts = len(slices[event.seq - 1].executions)
    part = f", part {event.chunk + 1} of {parts}" if parts > 1 else ""
    return f"slice {event.seq}{part}"


def _of_execution(event: ev.ExecutionEvent, at: datetime) -> str:
    match event:
        case ev.ExecutionClaimed():
            return "due, taken up to be sent"
        case ev.ExecutionAccepted():
            return f"sent, at the exchange as {text(event.broker_order_id)}"
        case ev.ExecutionResting():
            return "waits for its trigger" if event.trigger_pending else "triggered"
        case ev.ExecutionFilled(fill=fill):
            traded = f"{number(fill.quantity)} filled at {price(fill.price)}, trade {text(fill.trade_id)}"
            return traded if fill.at == at else f"{traded} of {later(fill.at, at)}"
        case ev.ExecutionRejected():
            return f"refused, {text(event.reason_code)}" + (f": {text(event.message)}" if event.message else "")
        case ev.ExecutionCancelRequested():
            return "its cancellation was asked for"
        case ev.ExecutionCancelled():
            return "cancelled" + (f", {text(event.reason)}" if event.reason else "")
        case ev.ExecutionExpired():
            return "expired at the end of the day"
        case ev.ExecutionWithdrawn():
            return "withdrawn before it was sent"
        case ev.ExecutionLapsed():
            return "never sent: the prices had ended"
        case _:
            return _by_kind(event)


def _by_kind(event: object) -> str:
    return text(type(event).__struct_config__.tag).replace("_", " ")  # type: ignore[attr-defined]
