"""Placing, changing and cancelling: the broker's own rules, checked before the venue sees an order."""

from decimal import Decimal

from msgspec import Struct

from pulse_adapters.simulator.catalog import Listing
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.faults import Strike
from pulse_adapters.simulator.kotak.errors import NOT_OPEN, OTHER, completed, invalid, no
from pulse_adapters.simulator.kotak.forms import Fields, read_cancel, read_change, read_order
from pulse_adapters.simulator.kotak.names import ORDER_SEGMENTS, Scrips
from pulse_adapters.simulator.kotak.protection import distance
from pulse_adapters.simulator.protection import worst_price
from pulse_adapters.simulator.values import Ask, Doom, Record, RefusalCode, Refused, Stage, Status, Terms
from pulse_domain.instruments import Exchange
from pulse_domain.orders.model import OrderType, Side, Validity

_NO_SL_M = "Market order with Algo Id not allowed"
# In place of a limit price of 0 the exchange's side has put in one of its own.
_DEFAULT_PRICE = Decimal(1)


class Accepted(Struct, frozen=True):
    """The answer to an order, a change and a cancel."""

    nOrdNo: str  # the broker's spelling
    stat: str = "Ok"
    stCode: int = 200


class _Priced(Struct, frozen=True):
    """The order type and prices that go to the exchange."""

    order_type: OrderType
    limit_price: Decimal | None
    trigger_price: Decimal | None


class OrderEntry:
    """The order side of the API for one user."""

    def __init__(self, desk: Desk, scrips: Scrips) -> None:
        self._desk = desk
        self._scrips = scrips

    async def place(self, fields: Fields, strike: Strike) -> Accepted:
        """Accept an order.

        Raises:
            NeoError, Refused: a definite no.
        """
        order = read_order(fields)
        listing = self._scrips.by_symbol(order.segment, order.symbol)
        if order.segment not in ORDER_SEGMENTS or listing is None or listing.is_index:
            raise invalid("instrument/symbol")
        exchange = listing.instrument.exchange
        if not exchange.is_cash and order.product in ("CNC", "MTF"):
            raise invalid(f"product {order.product} for {order.segment}")
        if order.validity is Validity.IOC and exchange is Exchange.MCX:
            raise invalid("validity: mcx_fo takes DAY only")
        if order.disclosed_quantity > order.quantity:
            raise invalid("disclosed quantity")
        priced = await self._priced(order.order_type, order.side, listing, order.price, order.trigger_price)
        ask = Ask(
            instrument=listing.instrument,
            side=order.side,
            terms=Terms(
                quantity=order.quantity,
                order_type=priced.order_type,
                limit_price=priced.limit_price,
                trigger_price=priced.trigger_price,
                validity=order.validity,
                disclosed_quantity=order.disclosed_quantity,
            ),
            product=order.product.booked_on(exchange),
            label=order.product,
            variety="amo" if order.after_market else "regular",
            tags=() if order.tag is None else (order.tag,),
        )
        doom = None
        if order.order_type is OrderType.SL_M:
            # Accepted like any other, and refused by risk management.
            doom = Doom(stage=Stage.RISK, message=_NO_SL_M, raw_message=_NO_SL_M)
        record = await self._desk.place_struck(ask, strike, doom)
        return Accepted(record.order_id)

    async def modify(self, fields: Fields, strike: Strike) -> Accepted:
        """Send a modification on its way.

        Raises:
            NeoError, Refused: a definite no.
        """
        change = read_change(fields)
        record = self._changeable(change.order_number)
        if change.order_type is OrderType.SL_M:
            raise no(OTHER, _NO_SL_M)
        listing = self._desk.listing(record.ask.instrument)
        priced = await self._priced(
            change.order_type, record.ask.side, listing, change.price, change.trigger_price
        )
        terms = Terms(
            quantity=change.quantity,
            order_type=priced.order_type,
            limit_price=priced.limit_price,
            trigger_price=priced.trigger_price,
            validity=change.validity,
            disclosed_quantity=change.disclosed_quantity,
        )
        await self._desk.change(record.order_id, terms, doom=strike.doom)
        return Accepted(record.order_id)

    async def cancel(self, fields: Fields, strike: Strike) -> Accepted:
        """Send a cancellation on its way.

        Raises:
            NeoError, Refused: a definite no.
        """
        record = self._changeable(read_cancel(fields))
        await self._desk.cancel(record.order_id, doom=strike.doom)
        return Accepted(record.order_id)

    def _changeable(self, order_number: str) -> Record:
        record = self._desk.find(order_number)
        if record is None:
            raise no(NOT_OPEN, "Order not found")
        status = record.view(self._desk.clock.now()).status
        if status is Status.COMPLETE:
            raise completed()
        if status.is_final:
            raise no(NOT_OPEN, f"Order is {status.lower()}")
        return record

    async def _priced(
        self,
        order_type: OrderType,
        side: Side,
        listing: Listing,
        limit: Decimal | None,
        trigger: Decimal | None,
    ) -> _Priced:
        """Turn a market order into a limit order within the band around the last price."""
        if order_type.has_trigger and trigger is None:
            raise invalid("trigger price")
        if order_type.has_limit:
            tick = listing.tick_size
            limit = limit or max(tick, _DEFAULT_PRICE // tick * tick)
            return _Priced(order_type, limit, trigger if order_type.has_trigger else None)
        if order_type.has_trigger:
            return _Priced(order_type, None, trigger)
        last = await self._desk.prices.last_price(listing.instrument)
        if not last:
            raise Refused(RefusalCode.NO_PRICE, "Market order cannot be placed: there is no last price")
        room = distance(last, is_option=listing.kind in ("CE", "PE"))
        return _Priced(OrderType.LIMIT, worst_price(last, side, room, listing.tick_size), None)
