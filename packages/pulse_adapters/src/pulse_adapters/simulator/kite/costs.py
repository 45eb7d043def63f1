"""What orders would block and cost: margins, baskets, the virtual contract note."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pulse_adapters.simulator.charges import SCHEDULE
from pulse_adapters.simulator.desk import Desk
from pulse_adapters.simulator.kite.errors import bad_input
from pulse_adapters.simulator.kite.forms import ProductLabel
from pulse_adapters.simulator.kite.wire import (
    BasketMargin,
    Charges,
    ContractNoteRow,
    Gst,
    OrderMargin,
    number,
)
from pulse_adapters.simulator.money import margin_needed
from pulse_adapters.simulator.values import ZERO
from pulse_domain.charges import Segment, charges_on, segment_of
from pulse_domain.instruments import Exchange, Instrument
from pulse_domain.orders.model import PRICE_MAX, Product, Side

_UNROUNDED = replace(SCHEDULE, quantum=None)
# Of what a future blocks, the part that brokers call exposure.
_EXPOSURE = Decimal("0.25")


class _Leg(Struct, frozen=True, kw_only=True):
    """An order that is asked about."""

    instrument: Instrument
    side: Side
    label: ProductLabel
    variety: str
    order_type: str
    quantity: int
    price: Decimal

    @property
    def segment(self) -> Segment:
        return segment_of(self.instrument, self.label.booked_as)


class Costs:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def margins(self, orders: Any) -> list[OrderMargin]:
        """Raises KiteError or Refused for what is no list of orders."""
        return [self._margin(leg) for leg in await self._legs(orders, "price")]

    async def basket(self, orders: Any) -> BasketMargin:
        """`final` counts what sides of one instrument take from each other."""
        legs = await self._legs(orders, "price")
        each = [self._margin(leg) for leg in legs]
        nets: dict[tuple[Instrument, ProductLabel], int] = {}
        for leg in legs:
            sign = 1 if leg.side is Side.BUY else -1
            key = (leg.instrument, leg.label)
            nets[key] = nets.get(key, 0) + sign * leg.quantity
        left = []
        for (instrument, label), quantity in nets.items():
            if quantity:
                leg = next(leg for leg in legs if (leg.instrument, leg.label) == (instrument, label))
                side = Side.BUY if quantity > 0 else Side.SELL
                left.append(self._margin(replace(leg, side=side, quantity=abs(quantity))))
        total = Charges(
            transaction_tax=sum(margin.charges.transaction_tax for margin in each),
            brokerage=sum(margin.charges.brokerage for margin in each),
            exchange_turnover_charge=sum(margin.charges.exchange_turnover_charge for margin in each),
            sebi_turnover_charge=sum(margin.charges.sebi_turnover_charge for margin in each),
            total=sum(margin.charges.total for margin in each),
        )
        return BasketMargin(initial=_total(each), final=_total(left), orders=each, charges=total)

    async def contract_note(self, orders: Any) -> list[ContractNoteRow]:
        """Raises KiteError or Refused for what is no list of orders."""
        return [
            ContractNoteRow(
                transaction_type=leg.side,
                tradingsymbol=leg.instrument.symbol,
                exchange=leg.instrument.exchange,
                variety=leg.variety,
                product=leg.label,
                order_type=leg.order_type,
                quantity=leg.quantity,
                price=number(leg.price),
                charges=self._charges(leg),
            )
            for leg in await self._legs(orders, "average_price")
        ]

    async def _legs(self, orders: Any, price_field: str) -> list[_Leg]:
        if not isinstance(orders, list) or not all(isinstance(order, dict) for order in orders):
            raise bad_input("The body should be a JSON array of orders.")
        return [await self._leg(order, price_field) for order in orders]

    async def _leg(self, order: Mapping[str, Any], price_field: str) -> _Leg:
        try:
            exchange = Exchange(order["exchange"])
            instrument = Instrument(exchange, str(order["tradingsymbol"]))
            quantity = int(order["quantity"])
            price = Decimal(str(order.get(price_field) or 0))
            label = ProductLabel(order["product"])
            is_equity = label.booked_as is Product.CNC
            if quantity < 1 or not 0 <= price < PRICE_MAX or (is_equity and not exchange.is_cash):
                raise ValueError
            self._desk.listing(instrument)
            return _Leg(
                instrument=instrument, side=Side(order["transaction_type"]),
                label=label, variety=str(order.get("variety", "regular")),
                order_type=str(order.get("order_type", "MARKET")), quantity=quantity,
                price=price or await self._desk.prices.last_price(instrument),
            )  # fmt: skip
        except KeyError as error:
            raise bad_input(f"Missing or empty field `{error.args[0]}`") from error
        except (ValueError, TypeError, InvalidOperation) as error:
            raise bad_input("An order has an invalid field.") from error

    def _value(self, leg: _Leg) -> Decimal:
        return leg.price * leg.quantity * self._desk.catalog.contracts.multiplier(leg.instrument)

    def _margin(self, leg: _Leg) -> OrderMargin:
        value, segment = self._value(leg), leg.segment
        needed = margin_needed(leg.label.booked_as, segment, leg.side, value)
        span = exposure = premium = var = ZERO
        match segment:
            case Segment.OPTIONS if leg.side is Side.BUY:
                premium = needed
            case Segment.OPTIONS | Segment.FUTURES:
                exposure = needed * _EXPOSURE
                span = needed - exposure
            case _:
                var = needed
        return OrderMargin(
            type="commodity" if leg.instrument.exchange is Exchange.MCX else "equity",
            tradingsymbol=leg.instrument.symbol, exchange=leg.instrument.exchange, span=number(span),
            exposure=number(exposure), option_premium=number(premium), var=number(var),
            leverage=number(value / needed) if needed and var else 1, charges=self._charges(leg),
            total=number(needed),
        )  # fmt: skip

    def _charges(self, leg: _Leg) -> Charges:
        charged = charges_on(
            self._value(leg), instrument=leg.instrument, segment=leg.segment, side=leg.side,
            trade_date=self._today(), schedule=_UNROUNDED,
        )  # fmt: skip
        return Charges(
            transaction_tax=number(charged.stt),
            transaction_tax_type="ctt" if leg.instrument.exchange is Exchange.MCX else "stt",
            exchange_turnover_charge=number(charged.exchange_fee + charged.investor_protection),
            sebi_turnover_charge=number(charged.sebi_fee),
            brokerage=number(charged.brokerage),
            stamp_duty=number(charged.stamp_duty),
            gst=Gst(igst=number(charged.gst), total=number(charged.gst)),
            total=number(charged.total),
        )

    def _today(self) -> date:
        return self._desk.venue.day


def _total(margins: list[OrderMargin]) -> OrderMargin:
    return OrderMargin(
        span=sum(margin.span for margin in margins),
        exposure=sum(margin.exposure for margin in margins),
        option_premium=sum(margin.option_premium for margin in margins),
        var=sum(margin.var for margin in margins),
        total=sum(margin.total for margin in margins),
    )
