"""Positions and their results, folded from fills: what each strategy holds, and what came of it.

The convention is that of the account: average cost. A fill that goes with the position adds its value to the
cost; one against it closes at the position's average cost, and what goes beyond zero opens a new position at
the fill's own price. Closing a part takes its share of the cost, to the paisa; closing the last takes all that
is left. So no fraction is ever lost: realised + unrealised = cash flow + what is held at its price, to the last
decimal, before charges.

Fills are taken in the order of their instants. Within one instant the order is that of their names (order,
slice, chunk, trade), so that the result does not depend on the order in which they became known.

Charges are no part of the fold: they are counted per executed order and day, over all strategies, since the
depository's fee is due once for an instrument and day, whoever sells.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal

from msgspec import Struct

from pulse_domain.charges import PAISA, ChargesSchedule, charges_on, segment_of
from pulse_domain.errors import ChargesUnknown, InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.orders.execution import Execution, trading_day
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.model import Order, Product, Side, Source

ZERO = Decimal(0)


class LedgerFill(Struct, frozen=True, kw_only=True, gc=False):
    """A fill with whose it is.

    value: rupees, price x quantity; None where nobody knows the price yet.
    provisional: the part of the broker's running total that no trade explains; `trade_id` is empty.
    """

    client_id: ClientId
    strategy_tag: str | None
    instrument: Instrument
    product: Product
    side: Side
    source: Source
    quantity: int
    value: Decimal | None
    at: datetime
    order_id: OrderId
    seq: int
    chunk: int
    trade_id: str
    provisional: bool = False

    @property
    def key(self) -> "PositionKey":
        return PositionKey(self.strategy_tag, self.instrument, self.product)

    @property
    def place(self) -> tuple[datetime, OrderId, int, int, str]:
        """What fills are sorted by."""
        return self.at, self.order_id, self.seq, self.chunk, self.trade_id

    @property
    def charged_with(self) -> "ChargeKey":
        return self.order_id, self.seq, self.chunk, trading_day(self.at)


class PositionKey(Struct, frozen=True):
    strategy_tag: str | None
    instrument: Instrument
    product: Product


class Standing(Struct, frozen=True):
    """What the fills of one position come to; amounts in rupees, before charges.

    quantity: units, below zero when short.
    cost: what the open quantity was traded at; below zero when short.
    cash: what the fills brought in, less what they paid.
    cost and cash are None from a fill on whose price nobody knows.
    """

    quantity: int = 0
    cost: Decimal | None = ZERO
    cash: Decimal | None = ZERO

    @property
    def realised(self) -> Decimal | None:
        """The result of what was closed."""
        return None if self.cash is None or self.cost is None else self.cash + self.cost

    @property
    def average_price(self) -> Decimal | None:
        """What the open quantity was traded at, per unit; None when flat, or not known."""
        return self.cost / self.quantity if self.quantity and self.cost is not None else None

    def unrealised(self, price: Decimal | None) -> Decimal | None:
        """The result of the open quantity at a price; 0 when flat, None without a price."""
        if not self.quantity:
            return None if self.cost is None else ZERO
        return None if price is None or self.cost is None else price * self.quantity - self.cost

    def after(self, side: Side, quantity: int, value: Decimal | None) -> "Standing":
        """What a fill makes of it."""
        sign = 1 if side is Side.BUY else -1
        held, signed = self.quantity, sign * quantity
        left = held + signed
        if self.cost is None or self.cash is None or value is None:
            return Standing(left, None, None)
        if held * sign >= 0:
            cost = self.cost + sign * value
        elif held * left > 0:
            cost = self.cost - (self.cost * quantity / abs(held)).quantize(PAISA, ROUND_HALF_UP)
        else:
            cost = value * left / quantity if left else ZERO
        return Standing(left, cost, self.cash - sign * value)


FLAT = Standing()

Standings = dict[PositionKey, Standing]
# An executed order, by its place, on a trading day.
ChargeKey = tuple[OrderId, int, int, date]
Charges = Mapping[ChargeKey, Decimal | None]


def fold(fills: Iterable[LedgerFill], before: Mapping[PositionKey, Standing] | None = None) -> Standings:
    """Take fills in, all of them later than those that made `before`; in whatever order they are given."""
    standings: Standings = dict(before or {})
    for fill in sorted(fills, key=lambda it: it.place):
        key = fill.key
        standings[key] = standings.get(key, FLAT).after(fill.side, fill.quantity, fill.value)
    return standings


def charges_of_fills(fills: Iterable[LedgerFill], schedule: ChargesSchedule | None) -> Charges:
    """What each executed order costs, by the day of its fills; None where it is not known.

    fills: of all strategies and clients of the account, so that what is due once is counted once.
    schedule: None where nobody has told what the broker charges.
    """
    turnovers: dict[ChargeKey, Decimal | None] = {}
    first: dict[ChargeKey, LedgerFill] = {}
    for fill in sorted(fills, key=lambda it: it.place):
        key = fill.charged_with
        first.setdefault(key, fill)
        turnover = turnovers.get(key, ZERO)
        turnovers[key] = None if turnover is None or fill.value is None else turnover + fill.value
    charges: dict[ChargeKey, Decimal | None] = {}
    sold = set[tuple[Instrument, date]]()
    for key, fill in first.items():
        delivered = fill.product is Product.CNC and fill.side is Side.SELL
        sale = (fill.instrument, key[3])
        charges[key] = _charged(fill, turnovers[key], key[3], schedule, delivered and sale not in sold)
        if delivered:
            sold.add(sale)
    return charges


def _charged(
    fill: LedgerFill,
    turnover: Decimal | None,
    day: date,
    schedule: ChargesSchedule | None,
    first_delivery_sale: bool,
) -> Decimal | None:
    if schedule is None:
        return None
    if schedule.free:
        return ZERO
    if turnover is None:
        return None
    try:
        return charges_on(
            turnover, instrument=fill.instrument, segment=segment_of(fill.instrument, fill.product),
            side=fill.side, trade_date=day, schedule=schedule, first_delivery_sale=first_delivery_sale,
        ).total  # fmt: skip
    except (ChargesUnknown, InvalidInstrument):
        return None


def fills_of(order: Order, execution: Execution, reported_at: datetime) -> list[LedgerFill]:
    """The fills of an execution, and what the broker told beyond them.

    reported_at: when the running total was told, the instant of that part.
    """
    request = order.request
    assert request.product is not None, "a stored request is normalised"

    def fill(
        quantity: int, value: Decimal | None, at: datetime, trade_id: str, provisional: bool = False
    ) -> LedgerFill:
        assert request.product is not None, "as above"
        return LedgerFill(
            client_id=order.client_id,
            strategy_tag=request.strategy_tag,
            instrument=request.instrument,
            product=request.product,
            side=request.side,
            source=order.source,
            quantity=quantity,
            value=value,
            at=at,
            order_id=order.order_id,
            seq=execution.seq,
            chunk=execution.chunk,
            trade_id=trade_id,
            provisional=provisional,
        )

    found = [fill(it.quantity, it.price * it.quantity, it.at, it.trade_id) for it in execution.fills]
    booked = sum(it.quantity for it in found)
    more = execution.provisional_quantity - booked
    if more > 0:
        # Without a price of its own it counts at that of the trades; without any nobody knows it.
        priced = bool(execution.provisional_price) or booked > 0
        known = sum((it.price * it.quantity for it in execution.fills), ZERO)
        total = known * execution.provisional_quantity / booked if booked else ZERO
        if execution.provisional_price:
            total = execution.provisional_price * execution.provisional_quantity
        found.append(fill(more, total - known if priced else None, reported_at, "", provisional=True))
    return found


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum; None as soon as one of them is not known."""
    whole = ZERO
    for amount in amounts:
        if amount is None:
            return None
        whole += amount
    return whole
