"""One instrument under one product: its position, its working orders, and what both block.

What working orders block is computed for a side as a whole, from sums: the units beyond those that close
the position, at the orders' average price. So an order that closes needs no money, two orders cannot both
count on closing the same units, and it costs the same however many orders work.

Money counts ten-thousandths of a rupee, in whole numbers: the units of prices, so that a value is only a
product. Blocked amounts and closed parts are whole paise all the same, full values what was paid.
"""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from pulse_domain.account.values import ZERO, AccountSettings, Holding, Position
from pulse_domain.charges import Segment, segment_of
from pulse_domain.errors import AccountError, InvalidPrice
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Product
from pulse_domain.units import PRICE_UNITS, to_units

PAISA = PRICE_UNITS // 100

# Unrounded charges leave fractions of a unit; such amounts are decimals, of the same unit.
Amount = int | Decimal

Key = tuple[Instrument, Product]

# A margin as numerator and denominator.
Part = tuple[int, int]
FULL: Part = (1, 1)

# The sums over one side's working orders: what remains of them, its value at their prices, what it blocks.
Side = tuple[int, int, int]
# Quantity, cost, realised, blocked in position, buys, sells, the last day the depository was paid.
BookState = tuple[int, int, int, int, Side, Side, date | None]

IDLE: Side = (0, 0, 0)
_FLAT: BookState = (0, 0, 0, 0, IDLE, IDLE, None)


@dataclass(slots=True, eq=False)
class Book:
    """`quantity` and `cost` are negative when short.

    long, short: the margins; without a short one, selling short is refused.
    rank: places books by their first order; 0 before it.
    state: all that changes with orders and fills. It is replaced as a whole, so that a book is never
        half changed.
    """

    instrument: Instrument
    product: Product
    segment: Segment
    multiplier: int
    long: Part
    short: Part | None
    held_at_opening: int = 0
    rank: int = 0
    state: BookState = _FLAT

    @property
    def key(self) -> Key:
        return self.instrument, self.product

    @property
    def quantity(self) -> int:
        return self.state[0]

    @property
    def cost(self) -> int:
        return self.state[1]

    @property
    def realised(self) -> int:
        return self.state[2]

    @property
    def blocked_in_position(self) -> int:
        return self.state[3]

    @property
    def blocked_for_orders(self) -> int:
        return self.state[4][2] + self.state[5][2]

    @property
    def buys_units(self) -> int:
        return self.state[4][0]

    @property
    def buys_value(self) -> int:
        return self.state[4][1]

    @property
    def sells_units(self) -> int:
        return self.state[5][0]

    @property
    def sells_value(self) -> int:
        return self.state[5][1]

    @property
    def depository_paid_on(self) -> date | None:
        return self.state[6]

    def unrealised(self, mark: int | None) -> int:
        """The result of the open position at this price; 0 without one."""
        quantity, cost, *_ = self.state
        return mark * quantity * self.multiplier - cost if mark is not None and quantity else 0

    def position(self, mark: int | None) -> Position:
        quantity, cost, realised, in_position, *_ = self.state
        return Position(
            instrument=self.instrument,
            product=self.product,
            quantity=quantity,
            average_price=rupees(cost) / (quantity * self.multiplier) if quantity else ZERO,
            cost=rupees(cost),
            realised=rupees(realised),
            unrealised=rupees(self.unrealised(mark)),
            blocked=rupees(in_position),
        )


class Working(NamedTuple):
    """What remains of an order, and the price that it is blocked at; `sign` is +1 for buying, else -1."""

    book: Book
    sign: int
    units: int
    price: int


def book_of(settings: AccountSettings, instrument: Instrument, product: Product) -> Book:
    """The book of an instrument under a product, flat.

    Raises:
        AccountError: the product is not for the instrument's exchange.
        InvalidInstrument: neither the symbol nor the settings tell the segment.
    """
    cash = instrument.exchange.is_cash
    if product is (Product.NRML if cash else Product.CNC):
        raise AccountError(f"product {product} is not for {instrument.exchange}", field="product")
    contract = settings.contracts.get(instrument)
    segment = contract.segment if contract and contract.segment else segment_of(instrument, product)
    margin = settings.margin_of(product, segment)
    return Book(
        instrument, product, segment, contract.multiplier if contract else 1,
        _part(margin.long), None if margin.short is None else _part(margin.short),
    )  # fmt: skip


def book_of_holding(settings: AccountSettings, holding: Holding, rank: int) -> Book:
    """The book of shares that are held at the opening.

    Raises:
        AccountError: the instrument is not a share, or quantity or price is not usable.
    """
    quantity = holding.quantity
    check_quantity(quantity)
    price = counted_price(holding.average_price, "average_price")
    book = book_of(settings, holding.instrument, Product.CNC)
    cost = price * quantity * book.multiplier
    blocked = needed_in_position(book, quantity, cost)
    book.held_at_opening, book.rank = quantity, rank
    book.state = (quantity, cost, 0, blocked, IDLE, IDLE, None)
    return book


def needed(book: Book, sign: int, quantity: int, units: int, value: int) -> int:
    """What orders of one side block beside a position of this quantity, in whole paise, rounded up.

    A full value that closes nothing stays as it is, even off the paisa: it is what will be paid.

    Raises:
        AccountError: they would open a short position that the settings give no margin for.
    """
    closing = -sign * quantity
    if units <= closing or not units:
        return 0
    part = book.long if sign > 0 else book.short
    if part is None:
        raise AccountError(f"no margin is set for selling {book.segment} short", field="margins")
    if closing <= 0:
        if part is FULL:
            return value
        return -(-value * part[0] // (part[1] * PAISA)) * PAISA
    return -(-value * part[0] * (units - closing) // (part[1] * units * PAISA)) * PAISA


def needed_in_position(book: Book, quantity: int, cost: int) -> int:
    """What a position blocks: as much as orders that would open it."""
    return needed(book, 1 if quantity > 0 else -1, 0, abs(quantity), abs(cost))


def rebuilt(book: Book, buys: tuple[int, int], sells: tuple[int, int], quantity: int) -> BookState:
    """The state that follows from the orders' units and values and the position's quantity and cost."""
    _, cost, realised, _, _, _, paid_on = book.state
    return (
        quantity, cost, realised, needed_in_position(book, quantity, cost),
        (*buys, needed(book, 1, quantity, *buys)), (*sells, needed(book, -1, quantity, *sells)), paid_on,
    )  # fmt: skip


def share(cost: int, units: int, held: int) -> int:
    """The cost of some of the units held, to the paisa, half up."""
    paise = (2 * abs(cost) * units + held * PAISA) // (2 * held * PAISA)
    return paise * PAISA if cost > 0 else -paise * PAISA


def counted_price(price: Decimal, name: str) -> int:
    """Count a price.

    Raises:
        AccountError: it is no decimal above 0, or finer than a ten-thousandth of a rupee.
    """
    if type(price) is not Decimal or not price.is_finite() or price <= 0:
        raise AccountError(f"{name} must be a decimal above 0, not {price}", field=name)
    return counted(price, name)


def counted(amount: Decimal, name: str) -> int:
    """Count rupees.

    Raises:
        AccountError: they are finer than a ten-thousandth.
    """
    try:
        return to_units(amount)
    except InvalidPrice:
        raise AccountError(f"{name} must be in steps of 0.0001, not {amount}", field=name) from None


def check_quantity(quantity: int) -> None:
    if type(quantity) is not int or quantity < 1:
        raise AccountError(f"quantity must be a positive whole number, not {quantity}", field="quantity")


def exact(amount: Decimal) -> Amount:
    """Count rupees of any fineness."""
    scaled = amount * PRICE_UNITS
    whole = int(scaled)
    return whole if whole == scaled else scaled


def rupees(amount: Amount) -> Decimal:
    """What was counted, with two decimals, or as many more as it needs."""
    if isinstance(amount, Decimal):
        return amount.scaleb(-4)
    paise, rest = divmod(amount, PAISA)
    return Decimal(amount).scaleb(-4) if rest else Decimal(paise).scaleb(-2)


def plain(amount: Amount) -> Decimal:
    """Rupees as a message says them, without decimals where they are whole."""
    exactly = rupees(amount)
    whole = exactly.to_integral_value()
    return whole if whole == exactly else exactly


def _part(fraction: Decimal) -> Part:
    part = fraction.as_integer_ratio()
    return FULL if part == FULL else part
