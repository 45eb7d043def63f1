"""What the journal holds: everything that ever went into the venue, chance, time and prices included, so
that the same entries always make the same venue."""

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from msgspec import Struct, msgpack

from pulse_adapters.simulator.values import Ask, Doom, Terms
from pulse_domain.account import Holding
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.orders.model import Product, Side

NO_STEPS = (0, 0, 0)


class _Entry(Struct, frozen=True, kw_only=True, tag=True, array_like=True, gc=False):
    at: datetime


class Opened(_Entry, frozen=True):
    """The account is opened; always the first entry.

    participation: the largest share of a tick's volume that orders fill; None fills in full.
    """

    capital: Decimal
    holdings: tuple[Holding, ...] = ()
    participation: Decimal | None = None


class Placed(_Entry, frozen=True):
    """An order is accepted. `steps_ms` are the delays until validation, sending, and the exchange.

    hidden_ms: how long the order book does not show it.
    """

    ask: Ask
    worth: Decimal
    steps_ms: tuple[int, int, int] = NO_STEPS
    hidden_ms: int = 0
    doom: Doom | None = None


class Arrived(_Entry, frozen=True):
    """What an order has under way is at the exchange and meets this price."""

    order_id: str
    tick: Tick | None = None


class ChangeAsked(_Entry, frozen=True):
    order_id: str
    terms: Terms
    steps_ms: tuple[int, int, int] = NO_STEPS
    doom: Doom | None = None


class CancelAsked(_Entry, frozen=True):
    order_id: str
    steps_ms: tuple[int, int, int] = NO_STEPS
    doom: Doom | None = None


class Expired(_Entry, frozen=True):
    """An order's time to live is over."""

    order_id: str


class Ticked(_Entry, frozen=True):
    tick: Tick


class SessionChanged(_Entry, frozen=True):
    is_open: bool


class Rolled(_Entry, frozen=True):
    """A new trading day begins. `marks`: what intraday positions are squared off at."""

    marks: tuple[tuple[Instrument, Decimal], ...] = ()


class Converted(_Entry, frozen=True):
    """A position moves to another product."""

    instrument: Instrument
    side: Side
    quantity: int
    old: tuple[str, Product]
    new: tuple[str, Product]


Entry = (
    Opened
    | Placed
    | Arrived
    | ChangeAsked
    | CancelAsked
    | Expired
    | Ticked
    | SessionChanged
    | Rolled
    | Converted
)


class Codec:
    """Entries as bytes and back."""

    _encoder: ClassVar = msgpack.Encoder()
    _decoder: ClassVar = msgpack.Decoder(Entry)

    @classmethod
    def encode(cls, entry: Entry) -> bytes:
        return cls._encoder.encode(entry)

    @classmethod
    def decode(cls, body: bytes) -> Entry:
        entry: Entry = cls._decoder.decode(body)
        return entry
