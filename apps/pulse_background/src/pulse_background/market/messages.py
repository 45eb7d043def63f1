"""What a runner tells a strategy's seat, and what it hears from there. The seat may be in a process of its own,
so all of it can be written down."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct

from pulse_domain.candles import ClosedCandle
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.matching import Tick
from pulse_domain.orders.model import OrderRequest, Product
from pulse_domain.strategy import OrderUpdate

# --- what is true outside of the strategy


class Held(Struct, frozen=True, kw_only=True):
    """A position. cost: in rupees, below zero when short. blocked: rupees that it ties up."""

    instrument: Instrument
    product: Product
    quantity: int
    cost: Decimal
    blocked: Decimal


class Money(Struct, frozen=True, kw_only=True):
    """settled: the capital and the results of what was closed, in rupees, whatever is tied up of it.
    version: grows with every change; what is older than what is known tells nothing.
    """

    settled: Decimal
    version: int = 0
    held: tuple[Held, ...] = ()


class KnownOrder(Struct, frozen=True, kw_only=True):
    """An order of the strategy, as far as the strategy was told.

    seq: the row of its journal up to which it was told.
    price: what a unit is counted with while it works; None where nobody knew one.
    """

    update: OrderUpdate
    product: Product
    seq: int = 0
    price: Decimal | None = None


class SeatMemory(Struct, frozen=True, kw_only=True):
    """What a seat needs to go on: the strategy's own words, and what it was told and has asked for.

    candles: the start of the last candle, by instrument.
    asked: how many orders each event of the latest instant has asked for, by the name of the event.
    """

    strategy: Mapping[str, Any]
    orders: tuple[KnownOrder, ...] = ()
    candles: Mapping[str, datetime] = {}
    asked_at: datetime | None = None
    asked: Mapping[str, int] = {}


# --- to a seat


class Make(Struct, frozen=True, kw_only=True, tag="make"):
    """Make the strategy. capital: rupees that its money begins with."""

    name: str
    version: int
    kind: str
    instruments: tuple[Instrument, ...]
    parameters: Mapping[str, Any]


class Begin(Struct, frozen=True, kw_only=True, tag="begin"):
    """Begin its life, or go on from a memory.

    orders: as they stand now, those of the memory among them.
    past: candles that closed before its first.
    """

    at: datetime
    money: Money
    terms: tuple[tuple[Instrument, InstrumentTerms], ...]
    memory: SeatMemory | None = None
    orders: tuple[KnownOrder, ...] = ()
    past: tuple[ClosedCandle, ...] = ()


class Candles(Struct, frozen=True, tag="candles"):
    closed: tuple[ClosedCandle, ...]


class Ticks(Struct, frozen=True, tag="ticks"):
    ticks: tuple[Tick, ...]


class Told(Struct, frozen=True, kw_only=True, tag="told"):
    """One of its orders has changed; `seq` as in `KnownOrder`, `money` as it is after that."""

    update: OrderUpdate
    seq: int
    money: Money | None = None


class Prepared(Struct, frozen=True, kw_only=True, tag="prepared"):
    """A new day's terms, or money that was changed by others."""

    terms: tuple[tuple[Instrument, InstrumentTerms], ...] | None = None
    money: Money | None = None


class Remember(Struct, frozen=True, tag="remember"):
    """Tell what you know."""


Message = Make | Begin | Candles | Ticks | Told | Prepared | Remember

# --- from a seat


class Made(Struct, frozen=True, kw_only=True, tag="made"):
    """What the strategy listens to. past_candles: how many it wants to see of each instrument."""

    candle_minutes: int
    hears_candles: bool
    hears_ticks: bool
    past_candles: int


class Asked(Struct, frozen=True, kw_only=True, tag="asked"):
    """An order, and the instant of the event that it answers."""

    at: datetime
    order_unique_key: str
    request: OrderRequest


class CancelAsked(Struct, frozen=True, kw_only=True, tag="cancel_asked"):
    order_unique_key: str


class Remembered(Struct, frozen=True, kw_only=True, tag="remembered"):
    at: datetime
    memory: SeatMemory


class Failed(Struct, frozen=True, kw_only=True, tag="failed"):
    """The strategy raised; nothing more comes of it."""

    text: str


class Done(Struct, frozen=True, tag="done"):
    """All that was handed over is worked on."""


Answer = Made | Asked | CancelAsked | Remembered | Failed | Done
