"""What an account is told and what it tells. Money in rupees, quantities in units."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from msgspec import Struct, field

from pulse_domain.charges import NO_CHARGES, NOTHING, ChargesBreakdown, ChargesSchedule, Segment
from pulse_domain.errors import AccountError, InsufficientFunds, InsufficientHoldings
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Product, Side

ZERO = Decimal(0)
ONE = Decimal(1)


class AccountOrder(Struct, frozen=True, kw_only=True):
    """An order as the account sees it.

    price: what money is blocked at: the limit, or for an order without one the price it would meet.
    """

    order_id: str
    instrument: Instrument
    side: Side
    quantity: int
    product: Product
    price: Decimal


class Holding(Struct, frozen=True, kw_only=True):
    """Shares owned before the account begins; what they cost is part of its capital."""

    instrument: Instrument
    quantity: int
    average_price: Decimal


class Margin(Struct, frozen=True, kw_only=True):
    """The fraction of its value that a position blocks; no short one means that selling short is refused."""

    long: Decimal = ONE
    short: Decimal | None = ONE

    def __post_init__(self) -> None:
        for name, fraction in (("long", self.long), ("short", self.short)):
            if fraction is not None and (not fraction.is_finite() or fraction < 0):
                raise AccountError(f"the {name} margin must be a fraction of 0 or above", field=name)


class Contract(Struct, frozen=True, kw_only=True):
    """What an instrument's symbol does not say.

    multiplier: a position of one unit moves by this many rupees when the price moves by one.
    segment: for derivatives whose symbol does not end in FUT, CE or PE.
    """

    multiplier: int = 1
    segment: Segment | None = None

    def __post_init__(self) -> None:
        if self.multiplier < 1:
            raise AccountError("the multiplier must be 1 or above", field="multiplier")


def refusal_code(error: AccountError) -> str:
    """What an order that the account refuses has as its reason."""
    if isinstance(error, InsufficientFunds):
        return "INSUFFICIENT_FUNDS"
    if isinstance(error, InsufficientHoldings):
        return "INSUFFICIENT_HOLDINGS"
    return str(error.details.get("code", "REFUSED"))


def _full_value() -> dict[tuple[Product, Segment], Margin]:
    # A written option risks more than its premium: what to block for it must be said.
    return {
        (product, segment): Margin(short=None) if segment is Segment.OPTIONS else Margin()
        for product in (Product.MIS, Product.NRML)
        for segment in (Segment.INTRADAY, Segment.FUTURES, Segment.OPTIONS)
    }


class AccountSettings(Struct, frozen=True, kw_only=True):
    """How an account works.

    margins: by product and segment; those not named block the full value. CNC always does.
    contracts: for instruments that have a multiplier, or a symbol that does not tell the segment.
    charges: booked with every fill.
    """

    margins: Mapping[tuple[Product, Segment], Margin] = field(default_factory=dict)
    contracts: Mapping[Instrument, Contract] = field(default_factory=dict)
    charges: ChargesSchedule = NO_CHARGES

    def margin_of(self, product: Product, segment: Segment) -> Margin:
        if product is Product.CNC:
            return Margin(short=None)
        return self.margins.get((product, segment)) or _FULL_VALUE[product, segment]


class Funds(Struct, frozen=True, kw_only=True):
    """Every rupee: cash + blocked = capital + realised - charges.

    capital: the money and the cost of the holdings that the account was opened with.
    holdings_cost: the latter part.
    cash: free for new orders. Charges, losses and fills beyond the blocked price are booked whatever they
        are: it may fall below zero, and then nothing more can be blocked.
    blocked_in_positions: for delivery what the shares cost, else the margin.
    bought, sold: the value of all fills.
    other_charges: the part of the charges that belongs to no order.
    """

    capital: Decimal = ZERO
    holdings_cost: Decimal = ZERO
    cash: Decimal = ZERO
    blocked_for_orders: Decimal = ZERO
    blocked_in_positions: Decimal = ZERO
    realised: Decimal = ZERO
    charges: Decimal = ZERO
    other_charges: Decimal = ZERO
    bought: Decimal = ZERO
    sold: Decimal = ZERO

    @property
    def blocked(self) -> Decimal:
        return self.blocked_for_orders + self.blocked_in_positions


class OrderEntry(Struct, frozen=True, kw_only=True):
    """An order and what became of it.

    trade_date, turnover, day_charges: of its latest day of trading; `charges` of all its days.
    """

    order: AccountOrder
    filled: int = 0
    working: bool = True
    trade_date: date | None = None
    turnover: Decimal = ZERO
    day_charges: ChargesBreakdown = NOTHING
    charges: Decimal = ZERO

    @property
    def remaining(self) -> int:
        """What still works."""
        return self.order.quantity - self.filled if self.working else 0


class Position(Struct, frozen=True, kw_only=True):
    """What is held of an instrument under one product; `quantity` and `cost` are negative when short.

    average_price: what the open quantity was traded at, volume weighted and not rounded; 0 when flat.
    realised: the result of what was closed, before charges.
    unrealised: against the latest mark; 0 before the first.
    """

    instrument: Instrument
    product: Product
    quantity: int
    average_price: Decimal
    cost: Decimal
    realised: Decimal
    unrealised: Decimal
    blocked: Decimal


class AccountSnapshot(Struct, frozen=True, kw_only=True):
    """Everything at one moment: accounts that went through the same have equal ones."""

    funds: Funds
    orders: tuple[OrderEntry, ...]
    positions: tuple[Position, ...]


_FULL_VALUE = _full_value()
