"""One instrument under one product: its position, its working orders, and what both block.

What working orders block is computed for a side as a whole, from sums: the units beyond those that close
the position, at the orders' average price. So an order that closes needs no money, two orders cannot both
count on closing the same units, and it costs the same however many orders work.
"""

from datetime import date
from decimal import ROUND_HALF_UP, ROUND_UP, Decimal

from msgspec import Struct
from msgspec.structs import replace

from pulse_domain.account.values import ONE, ZERO, AccountSettings
from pulse_domain.charges import PAISA, Segment, segment_of
from pulse_domain.errors import AccountError
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Product, Side


class Terms(Struct, frozen=True):
    """What the settings say about a book."""

    segment: Segment
    multiplier: int
    long: Decimal
    short: Decimal | None


class Working(Struct, frozen=True):
    """The sums over one side's working orders: what remains of them, and its value at their prices."""

    units: int = 0
    value: Decimal = ZERO

    def plus(self, units: int, price: Decimal, multiplier: int) -> "Working":
        return Working(self.units + units, self.value + price * (units * multiplier))


class Book(Struct, frozen=True):
    """`quantity` and `cost` are negative when short. Blocked amounts are kept up by `reblocked`."""

    quantity: int = 0
    cost: Decimal = ZERO
    realised: Decimal = ZERO
    buys: Working = Working()
    sells: Working = Working()
    blocked_for_orders: Decimal = ZERO
    blocked_in_position: Decimal = ZERO
    depository_paid_on: date | None = None
    held_at_opening: int = 0

    def with_working(self, side: Side, units: int, price: Decimal, multiplier: int) -> "Book":
        """Add units of an order; negative ones take them out."""
        if side is Side.BUY:
            return replace(self, buys=self.buys.plus(units, price, multiplier))
        return replace(self, sells=self.sells.plus(units, price, multiplier))

    def with_trade(self, side: Side, units: int, price: Decimal, multiplier: int) -> "Book":
        """Close what the position has against the trade, and open the rest at its price.

        Closing a part takes its share of the cost, rounded to the paisa; closing the last takes all that
        is left, so that no fraction of a paisa is ever lost.
        """
        sign = 1 if side is Side.BUY else -1
        held, cost = self.quantity, self.cost
        value = price * (sign * units * multiplier)
        if held * sign >= 0:
            return replace(self, quantity=held + sign * units, cost=cost + value)
        if units < abs(held):
            closed_cost = (cost * units / abs(held)).quantize(PAISA, ROUND_HALF_UP)
            closed_value = value
        else:
            closed_cost = cost
            closed_value = price * (-held * multiplier)
        return replace(
            self,
            quantity=held + sign * units,
            cost=cost - closed_cost + value - closed_value,
            realised=self.realised - closed_value - closed_cost,
        )

    def reblocked(self, terms: Terms) -> "Book":
        """Block what position and orders need.

        Raises:
            AccountError: orders would open a short position that the settings give no margin for.
        """
        quantity = self.quantity
        fraction = terms.long if quantity >= 0 else _short(terms)
        return replace(
            self,
            blocked_in_position=_part(abs(self.cost), fraction),
            blocked_for_orders=_opening(self.buys, max(0, -quantity), terms, Side.BUY)
            + _opening(self.sells, max(0, quantity), terms, Side.SELL),
        )


def terms_of(settings: AccountSettings, instrument: Instrument, product: Product) -> Terms:
    """What applies to an instrument under a product.

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
    return Terms(segment, contract.multiplier if contract else 1, margin.long, margin.short)


def _opening(working: Working, closing_units: int, terms: Terms, side: Side) -> Decimal:
    opening_units = working.units - closing_units
    if opening_units <= 0:
        return ZERO
    fraction = terms.long if side is Side.BUY else _short(terms)
    if not closing_units:
        return _part(working.value, fraction)
    return (working.value * opening_units * fraction / working.units).quantize(PAISA, ROUND_UP)


def _part(value: Decimal, fraction: Decimal) -> Decimal:
    # A full value stays as it is, even off the paisa: it is what was paid.
    return value if fraction == ONE else (value * fraction).quantize(PAISA, ROUND_UP)


def _short(terms: Terms) -> Decimal:
    if terms.short is None:
        raise AccountError(f"no margin is set for selling {terms.segment} short", field="margins")
    return terms.short
