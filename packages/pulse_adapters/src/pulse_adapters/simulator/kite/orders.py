"""Placing, changing and cancelling: the broker's own rules, checked before the venue sees an order."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from random import Random

from msgspec import Struct

from pulse_adapters.simulator.catalog import Listing
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.faults import Strike
from pulse_adapters.simulator.kite import protection
from pulse_adapters.simulator.kite.errors import KiteError, bad_input, from_refusal
from pulse_adapters.simulator.kite.forms import (
    VARIETIES,
    Lifetime,
    OrderForm,
    ProductLabel,
    choice,
    price,
    read_order,
    whole,
)
from pulse_adapters.simulator.kite.forms import protection as read_protection
from pulse_adapters.simulator.kite.wire import Autosliced, ChildError, OrderId, RefusedChild
from pulse_adapters.simulator.limits import Limits
from pulse_adapters.simulator.protection import worst_price
from pulse_adapters.simulator.values import Ask, Iceberg, Record, Refused, Status, Terms
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.orders.model import OrderType, Side

_LEGS_MAX = 50
_SLICES_MAX = 1000
_NO_PROTECTION = (
    "Market orders without market protection are not allowed via API. "
    "Set market protection or use a limit order."
)


class _Priced(Struct, frozen=True):
    """The order type and prices that go to the exchange, and the tags that tell of it."""

    order_type: OrderType
    limit_price: Decimal | None
    trigger_price: Decimal | None
    system_tags: tuple[str, ...] = ()


class OrderEntry:
    """The order side of the API for one user."""

    def __init__(self, desk: Desk, limits: Limits, rng: Random) -> None:
        self._desk = desk
        self._limits = limits
        self._rng = rng

    async def place(
        self, variety: str, form: Mapping[str, str], source: str, strike: Strike
    ) -> OrderId | Autosliced:
        """Accept an order.

        Raises:
            KiteError, Refused: a definite no.
        """
        if variety not in VARIETIES:
            raise bad_input("Invalid `variety`.")
        order = read_order(form)
        _check(order, variety)
        listing = self._desk.listing(Instrument(order.exchange, order.symbol))
        priced = await self._priced(
            order.order_type, order.side, listing, order.protection, order.price, order.trigger_price
        )
        if order.autoslice:
            return await self._slice(order, variety, listing, priced, source, strike)
        self._limits.take_of_day(max(1, order.iceberg_legs if variety == "iceberg" else 1))
        record = await self._desk.place_struck(_ask(order, variety, listing, priced, source), strike)
        return OrderId(record.order_id)

    async def modify(self, variety: str, order_id: str, form: Mapping[str, str], strike: Strike) -> OrderId:
        """Send a modification on its way.

        Raises:
            KiteError, Refused: a definite no.
        """
        record = self._found(variety, order_id, form)
        old = record.terms
        order_type = choice(form, "order_type", OrderType, old.order_type)
        given = read_protection(form)
        percent = given or protection.percent_of(record.ask.system_tags) or Decimal(0)
        listing = self._desk.listing(record.ask.instrument)
        trigger = price(form, "trigger_price") or old.trigger_price
        if record.ask.parent_id is not None:
            priced = _Priced(old.order_type, None, trigger)  # a cover order's second leg is the broker's own
        else:
            limit = price(form, "price") or old.limit_price
            priced = await self._priced(order_type, record.ask.side, listing, percent, limit, trigger)
        terms = Terms(
            quantity=whole(form, "quantity", least=1, default=old.quantity),
            order_type=priced.order_type,
            limit_price=priced.limit_price,
            trigger_price=priced.trigger_price,
            validity=choice(form, "validity", Lifetime).validity if form.get("validity") else old.validity,
            disclosed_quantity=whole(form, "disclosed_quantity", default=old.disclosed_quantity),
        )
        await self._desk.change(order_id, terms, doom=strike.doom)
        return OrderId(order_id)

    async def cancel(self, variety: str, order_id: str, form: Mapping[str, str], strike: Strike) -> OrderId:
        """Send a cancellation on its way; the second leg of a cover order is exited at the market.

        Raises:
            KiteError, Refused: a definite no.
        """
        record = self._found(variety, order_id, form)
        if record.ask.parent_id is not None:
            terms = Terms(quantity=record.terms.quantity, order_type=OrderType.MARKET)
            await self._desk.change(order_id, terms, doom=strike.doom)
        else:
            await self._desk.cancel(order_id, doom=strike.doom)
        return OrderId(order_id)

    def _found(self, variety: str, order_id: str, form: Mapping[str, str]) -> Record:
        record = self._desk.find(order_id)
        if record is None:
            raise KiteError(400, "OrderException", f"Order {order_id} does not exist.")
        released = record.ask.variety == "amo" and record.status is not Status.AMO_RECEIVED
        # Once it has been sent, an after-market order is a regular one, though the book still says amo.
        if variety != ("regular" if released else record.ask.variety):
            raise KiteError(400, "OrderException", f"Order {order_id} does not exist in this variety.")
        if record.ask.parent_id is not None and form.get("parent_order_id") != record.ask.parent_id:
            raise bad_input("Missing or wrong `parent_order_id`.")
        return record

    async def _slice(
        self,
        order: OrderForm,
        variety: str,
        listing: Listing,
        priced: _Priced,
        source: str,
        strike: Strike,
    ) -> Autosliced:
        """Several orders in place of one that is above the freeze quantity; each for itself may fail."""
        largest = (listing.freeze_quantity or order.quantity) // listing.lot_size * listing.lot_size
        if order.quantity <= largest:
            least = largest + listing.lot_size
            raise bad_input(f"Quantity should be greater than or equal to {least} for order slicing")
        if order.quantity > _SLICES_MAX * largest:
            raise bad_input(f"Quantity cannot be above {_SLICES_MAX * largest} for order slicing")
        sizes = [largest] * (order.quantity // largest)
        if rest := order.quantity % largest:
            sizes.append(rest)
        self._limits.take_of_day(len(sizes))
        parent_id = self._parent_id()
        tags = (*priced.system_tags, "autoslice", f"autoslice:{parent_id}")
        children: list[OrderId | RefusedChild] = []
        for size in sizes:
            ask = _ask(order, variety, listing, priced, source, quantity=size, system_tags=tags)
            try:
                record = await self._desk.place_struck(ask, strike)
            except Refused as no:
                error = from_refusal(no)
                children.append(RefusedChild(ChildError(error.status, error.error_type, error.message)))
            else:
                children.append(OrderId(record.order_id))
        return Autosliced(parent_id, children)

    def _parent_id(self) -> str:
        """An id that is no order's: of the millisecond before, which the venue numbers from zero."""
        before = self._desk.clock.now() - timedelta(milliseconds=1)
        return str(self._desk.venue.first_id(before) + self._rng.randrange(1 << 20, 1 << 22))

    async def _priced(
        self,
        order_type: OrderType,
        side: Side,
        listing: Listing,
        percent: Decimal,
        limit: Decimal | None,
        trigger: Decimal | None,
    ) -> _Priced:
        """Turn what takes any price into what takes a protected one."""
        if order_type.has_limit and limit is None:
            raise bad_input("Missing or empty field `price`")
        if order_type.has_trigger and trigger is None:
            raise bad_input("Missing or empty field `trigger_price`")
        if order_type.has_limit:
            return _Priced(order_type, limit, trigger if order_type.has_trigger else None)
        if not percent:
            raise bad_input(_NO_PROTECTION)
        if order_type.has_trigger:
            around = trigger
        else:
            around = await self._desk.prices.last_price(listing.instrument)
        if not around:
            raise KiteError(500, "GeneralException", f"There is no price for {listing.instrument.symbol}.")
        percent = protection.band(percent, around, is_option=listing.kind in ("CE", "PE"))
        worst = worst_price(around, side, around * percent / 100, listing.tick_size)
        if order_type.has_trigger:
            return _Priced(OrderType.SL, worst, trigger, protection.tags(percent))
        return _Priced(OrderType.LIMIT, worst, None, protection.tags(percent))


def _check(order: OrderForm, variety: str) -> None:
    """The rules that need nothing but the order itself."""
    cash = order.exchange.is_cash
    if order.product is ProductLabel.CO:
        raise bad_input("Invalid `product`.")
    if order.product in (ProductLabel.CNC, ProductLabel.MTF) and not cash:
        raise bad_input(f"{order.product} orders are allowed for equity only. Use NRML or MIS.")
    if order.product is ProductLabel.NRML and cash:
        raise bad_input("NRML orders are not allowed for equity. Use CNC or MIS.")
    if order.lifetime is Lifetime.TTL and not order.ttl_minutes:
        raise bad_input("Missing or empty field `validity_ttl`")
    if order.lifetime is Lifetime.IOC and order.exchange is Exchange.MCX:
        raise bad_input("IOC orders are not allowed for this exchange.")
    if order.disclosed_quantity > order.quantity:
        raise bad_input("Disclosed quantity cannot be above the quantity.")
    if variety == "co" and (order.trigger_price is None or order.product is not ProductLabel.MIS):
        raise bad_input("Cover orders need the product MIS and a `trigger_price`.")
    if variety == "co" and order.order_type.has_trigger:
        raise bad_input("Cover orders are LIMIT or MARKET.")
    if variety == "auction" and (order.auction_number is None or order.order_type is not OrderType.LIMIT):
        raise bad_input("Auction orders are LIMIT and need an `auction_number`.")
    if variety == "iceberg":
        legs, quantity = order.iceberg_legs, order.iceberg_quantity
        if not 2 <= legs <= _LEGS_MAX:
            raise bad_input(f"`iceberg_legs` should be between 2 and {_LEGS_MAX}.")
        if not quantity or not (legs - 1) * quantity < order.quantity <= legs * quantity:
            raise bad_input("`iceberg_quantity` does not divide the quantity into that many legs.")


def _ask(
    order: OrderForm,
    variety: str,
    listing: Listing,
    priced: _Priced,
    source: str,
    *,
    quantity: int | None = None,
    system_tags: tuple[str, ...] | None = None,
) -> Ask:
    iceberg = None
    if variety == "iceberg":
        iceberg = Iceberg(
            leg=1, legs=order.iceberg_legs, leg_quantity=order.iceberg_quantity, total_quantity=order.quantity
        )
        quantity = order.iceberg_quantity
    is_cover = variety == "co"
    label = ProductLabel.CO if is_cover else order.product
    return Ask(
        instrument=listing.instrument,
        side=order.side,
        terms=Terms(
            quantity=order.quantity if quantity is None else quantity,
            order_type=priced.order_type,
            limit_price=priced.limit_price,
            trigger_price=None if is_cover else priced.trigger_price,
            validity=order.lifetime.validity,
            disclosed_quantity=order.disclosed_quantity,
        ),
        product=label.booked_as,
        label=label,
        variety=variety,
        ttl_minutes=order.ttl_minutes if order.lifetime is Lifetime.TTL else 0,
        tags=() if order.tag is None else (order.tag,),
        system_tags=priced.system_tags if system_tags is None else system_tags,
        iceberg=iceberg,
        cover_trigger=order.trigger_price if is_cover else None,
        auction_number=order.auction_number if variety == "auction" else None,
        rests=variety == "auction",
        source=source,
    )
