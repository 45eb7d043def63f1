"""What the venue knows of orders, in words of no particular broker. Prices in rupees, quantities in the
venue's own units: shares and contract units, at MCX lots."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct, field

from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import OrderType, Product, Side, Validity

ZERO = Decimal(0)


class Status(StrEnum):
    """Where an order is; a face has its own names for these."""

    RECEIVED = "RECEIVED"
    AMO_RECEIVED = "AMO_RECEIVED"  # rests until the session opens
    VALIDATING = "VALIDATING"
    SENDING = "SENDING"
    OPEN = "OPEN"
    TRIGGER_PENDING = "TRIGGER_PENDING"
    MODIFY_VALIDATING = "MODIFY_VALIDATING"
    MODIFY_SENDING = "MODIFY_SENDING"
    MODIFIED = "MODIFIED"
    CANCEL_SENDING = "CANCEL_SENDING"
    COMPLETE = "COMPLETE"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"

    @property
    def is_final(self) -> bool:
        return self in _FINAL

    @property
    def takes_changes(self) -> bool:
        """Whether the order can be modified or cancelled."""
        return self in _RESTING


_FINAL = frozenset({Status.COMPLETE, Status.CANCELLED, Status.REJECTED})
_RESTING = frozenset({Status.OPEN, Status.TRIGGER_PENDING, Status.AMO_RECEIVED})


class Terms(Struct, frozen=True, kw_only=True, gc=False):
    """What a modification can change."""

    quantity: int
    order_type: OrderType
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    validity: Validity = Validity.DAY
    disclosed_quantity: int = 0


class Iceberg(Struct, frozen=True, kw_only=True, gc=False):
    """One leg of an order that shows itself leg by leg; the next is sent when this one has filled."""

    leg: int
    legs: int
    leg_quantity: int
    total_quantity: int

    @property
    def remaining_quantity(self) -> int:
        return self.total_quantity - min(self.leg * self.leg_quantity, self.total_quantity)


class Ask(Struct, frozen=True, kw_only=True, gc=False):
    """One order as it was asked for.

    label: the face's name of the product; `product` is what the account books it as.
    ttl_minutes: cancelled after so many minutes; 0 is never.
    cover_trigger: of a cover order: where the second leg, made when the first has filled, stops.
    rests: never meets the market (an auction, which this exchange does not hold).
    source: who placed it (an app's key).
    """

    instrument: Instrument
    side: Side
    terms: Terms
    product: Product
    label: str
    variety: str = "regular"
    ttl_minutes: int = 0
    tags: tuple[str, ...] = ()
    system_tags: tuple[str, ...] = ()
    iceberg: Iceberg | None = None
    cover_trigger: Decimal | None = None
    auction_number: str | None = None
    parent_id: str | None = None
    rests: bool = False
    source: str = ""


class Stage(StrEnum):
    """Who refuses an order after its acceptance."""

    RISK = "RISK"  # the broker's risk management: no exchange order id
    EXCHANGE = "EXCHANGE"


class Doom(Struct, frozen=True, kw_only=True, gc=False):
    """A refusal that is still to come; of a modification or cancel it leaves the order as it was."""

    stage: Stage
    message: str
    raw_message: str


class Trade(Struct, frozen=True, kw_only=True, gc=False):
    trade_id: str
    quantity: int
    price: Decimal
    at: datetime


class Snap(Struct, frozen=True, kw_only=True, gc=False):
    """An order as it stood from an instant on: a row of its history."""

    at: datetime
    status: Status
    terms: Terms
    filled: int = 0
    average_price: Decimal = ZERO
    cancelled: int = 0
    message: str | None = None
    raw_message: str | None = None
    exchange_order_id: str | None = None
    exchange_at: datetime | None = None


class Errand(StrEnum):
    """What is on its way to the exchange."""

    PLACE = "PLACE"
    CHANGE = "CHANGE"
    CANCEL = "CANCEL"


class Record(Struct, kw_only=True):
    """An order at the venue.

    snaps: its history; the last may lie in the future while a request travels.
    errand, due: what travels to the exchange, and when it is there.
    engine_base: what had filled when the order was last put into the matching engine.
    worth: what money is blocked at where the terms have no limit.
    visible_at: from when on the order book shows it.
    """

    order_id: str
    ask: Ask
    terms: Terms
    placed_at: datetime
    worth: Decimal
    visible_at: datetime
    status: Status
    snaps: list[Snap]
    steps_ms: tuple[int, int, int]
    errand: Errand | None = None
    due: datetime | None = None
    wanted: Terms | None = None
    doom: Doom | None = None
    expires_at: datetime | None = None
    exchange_order_id: str | None = None
    exchange_at: datetime | None = None
    filled: int = 0
    value: Decimal = ZERO
    trades: list[Trade] = field(default_factory=list)
    changes: int = 0
    modified: bool = False
    triggered: bool = False
    engine_base: int = 0
    child_id: str | None = None

    @property
    def average_price(self) -> Decimal:
        return self.value / self.filled if self.filled else ZERO

    @property
    def resting_status(self) -> Status:
        waits = self.terms.order_type.has_trigger and not self.triggered
        return Status.TRIGGER_PENDING if waits else Status.OPEN

    @property
    def blocked_price(self) -> Decimal:
        return self.terms.limit_price or self.terms.trigger_price or self.worth

    def view(self, now: datetime) -> Snap:
        """The latest state that has come about by now."""
        for snap in reversed(self.snaps):
            if snap.at <= now:
                return snap
        return self.snaps[0]

    def history(self, now: datetime) -> list[Snap]:
        return [snap for snap in self.snaps if snap.at <= now] or self.snaps[:1]


class Update(Struct, frozen=True, gc=False):
    """An order has changed. `partial`: it works on, with more filled or with other terms."""

    record: Record
    snap: Snap
    partial: bool = False


class Refused(Exception):
    """A no at once: nothing has been accepted, nothing has changed."""

    def __init__(self, code: "RefusalCode", message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class RefusalCode(StrEnum):
    FUNDS = "FUNDS"
    HOLDINGS = "HOLDINGS"
    FREEZE_QUANTITY = "FREEZE_QUANTITY"
    TICK_SIZE = "TICK_SIZE"
    LOT_SIZE = "LOT_SIZE"
    INVALID = "INVALID"
    UNKNOWN_INSTRUMENT = "UNKNOWN_INSTRUMENT"
    NO_PRICE = "NO_PRICE"
    MARKET_CLOSED = "MARKET_CLOSED"
    NOT_FOUND = "NOT_FOUND"
    NOT_OPEN = "NOT_OPEN"
    TOO_MANY_CHANGES = "TOO_MANY_CHANGES"
    INJECTED = "INJECTED"
