"""The money side of the venue: the domain's account, and what brokers tell beside it."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from msgspec import Struct, to_builtins

from pulse_adapters.simulator.charges import SCHEDULE
from pulse_adapters.simulator.values import ZERO, RefusalCode, Refused
from pulse_domain.account import (
    Account,
    AccountOrder,
    AccountSettings,
    Contract,
    Funds,
    Holding,
    Margin,
    Position,
)
from pulse_domain.charges import Segment
from pulse_domain.errors import AccountError, InsufficientFunds, InsufficientHoldings, InvalidInstrument
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Filled
from pulse_domain.orders.model import Product, Side

# Round fractions of the contract value near what brokers ask. For a written option it is a multiple of the
# premium, as there is no risk model behind it.
_INTRADAY = Margin(long=Decimal("0.2"), short=Decimal("0.2"))
_FUTURE = Margin(long=Decimal("0.15"), short=Decimal("0.15"))
_OPTION = Margin(long=Decimal(1), short=Decimal(10))
MARGINS = {
    (Product.MIS, Segment.INTRADAY): _INTRADAY,
    (Product.MIS, Segment.FUTURES): _FUTURE,
    (Product.NRML, Segment.FUTURES): _FUTURE,
    (Product.MIS, Segment.OPTIONS): _OPTION,
    (Product.NRML, Segment.OPTIONS): _OPTION,
}


def margin_needed(product: Product, segment: Segment, side: Side, value: Decimal) -> Decimal:
    """What an order blocks; value: of its contract, multiplier included."""
    if product is Product.CNC:
        return value
    margin = MARGINS.get((product, segment), Margin())
    return value * (margin.long if side is Side.BUY or margin.short is None else margin.short)


class Tally(Struct, kw_only=True):
    """What was traded of an instrument under one product label; values without the contract's multiplier."""

    product: Product
    overnight_quantity: int = 0
    overnight_price: Decimal = ZERO
    buy_quantity: int = 0
    buy_value: Decimal = ZERO
    sell_quantity: int = 0
    sell_value: Decimal = ZERO

    @property
    def quantity(self) -> int:
        return self.overnight_quantity + self.buy_quantity - self.sell_quantity

    def trade(self, side: Side, quantity: int, value: Decimal) -> None:
        if side is Side.BUY:
            self.buy_quantity += quantity
            self.buy_value += value
        else:
            self.sell_quantity += quantity
            self.sell_value += value


class Held(Struct, frozen=True, kw_only=True):
    """Shares held at the start of the day. `t1_quantity` were bought the day before."""

    quantity: int
    average_price: Decimal
    t1_quantity: int = 0


Key = tuple[Instrument, str]


class Money:
    """One owner's account, with every trade booked in it and told by product label and day."""

    def __init__(self, contracts: Mapping[Instrument, Contract]) -> None:
        self._account = Account(AccountSettings(margins=MARGINS, contracts=contracts, charges=SCHEDULE))
        self._last_own_order = 0
        self.tallies: dict[Key, Tally] = {}
        self.held: dict[Instrument, Held] = {}
        self.opening_balance = ZERO

    def open(self, capital: Decimal, holdings: Iterable[Holding]) -> None:
        holdings = tuple(holdings)
        self._account.open(capital, holdings)
        self.held = {h.instrument: Held(quantity=h.quantity, average_price=h.average_price) for h in holdings}
        self.opening_balance = self._account.cash

    @property
    def funds(self) -> Funds:
        return self._account.funds

    @property
    def realised(self) -> Decimal:
        return self._account.realised

    def position(self, instrument: Instrument, product: Product) -> Position:
        return self._account.position(instrument, product)

    def block(
        self, order_id: str, instrument: Instrument, side: Side, quantity: int, product: Product, price: Decimal
    ) -> None:
        """Set money or shares aside for an order.

        Raises:
            Refused: there are not enough, or the product is not for the instrument.
        """
        order = AccountOrder(
            order_id=order_id, instrument=instrument, side=side, quantity=quantity, product=product, price=price
        )
        try:
            self._account.block(order)
        except (AccountError, InvalidInstrument) as error:
            raise refusal(error) from error

    def change(self, order_id: str, *, quantity: int, price: Decimal) -> None:
        """Raises Refused where there is not enough."""
        try:
            self._account.change(order_id, quantity=quantity, price=price)
        except AccountError as error:
            raise refusal(error) from error

    def release(self, order_id: str) -> None:
        self._account.release(order_id)

    def fill(
        self, order_id: str, key: Key, product: Product, side: Side, quantity: int, price: Decimal, at: datetime
    ) -> None:
        self._account.apply_fill(Filled(order_id=order_id, quantity=quantity, price=price, at=at))
        self.tally(key, product).trade(side, quantity, price * quantity)

    def tally(self, key: Key, product: Product) -> Tally:
        tally = self.tallies.get(key)
        if tally is None:
            tally = self.tallies[key] = Tally(product=product)
        return tally

    def convert(
        self,
        instrument: Instrument,
        side: Side,
        quantity: int,
        old: tuple[str, Product],
        new: tuple[str, Product],
        at: datetime,
    ) -> None:
        """Move a part of a position to another product, at what it cost and free of charge.

        Raises:
            Refused: there is no such position, or not the money for the new product. The account may keep a
                trace of it, so that the journal has to hold refused conversions too.
        """
        (old_label, old_product), (new_label, new_product) = old, new
        tally = self.tallies.get((instrument, old_label))
        sign = 1 if side is Side.BUY else -1
        if tally is None or tally.quantity * sign < quantity:
            raise Refused(RefusalCode.INVALID, "There is no such position of that quantity to convert.")
        price = self._account.position(instrument, old_product).average_price.quantize(Decimal("0.0001"))
        if old_product is not new_product:
            before = self._account.charges
            closing = self._own_order(instrument, _other(side), quantity, old_product, price)
            try:
                opening = self._own_order(instrument, side, quantity, new_product, price)
            except Refused:
                self._account.release(closing)
                raise
            for order_id in (closing, opening):
                self._book(order_id, quantity, price, at)
            self._account.charge(before - self._account.charges)
        # As if it had been traded under the new product from the start: today's trades first.
        traded = min(quantity, tally.buy_quantity if side is Side.BUY else tally.sell_quantity)
        tally.trade(side, -traded, -price * traded)
        carried = quantity - traded
        tally.overnight_quantity -= sign * carried
        self.tally((instrument, new_label), new_product).trade(side, quantity, price * quantity)

    def roll(self, marks: Mapping[Instrument, Decimal], at: datetime) -> None:
        """Begin a day: intraday positions are squared off at the marks, delivery becomes holdings, the rest is
        carried."""
        carried: dict[Key, Tally] = {}
        bought: dict[Instrument, int] = {}
        for (instrument, label), tally in self.tallies.items():
            quantity = tally.quantity
            if tally.product is Product.CNC:
                bought[instrument] = bought.get(instrument, 0) + max(0, quantity)
            elif not quantity:
                continue
            elif tally.product is Product.MIS:
                side = Side.SELL if quantity > 0 else Side.BUY
                price = marks.get(instrument) or self._account.position(instrument, Product.MIS).average_price
                price = price.quantize(Decimal("0.0001"))
                order_id = self._own_order(instrument, side, abs(quantity), Product.MIS, price)
                self._book(order_id, abs(quantity), price, at)
            else:
                average = self._account.position(instrument, tally.product).average_price
                carried[instrument, label] = Tally(
                    product=tally.product, overnight_quantity=quantity, overnight_price=average
                )
        held: dict[Instrument, Held] = {}
        for position in self._account.positions():
            if position.product is Product.CNC and position.quantity > 0:
                held[position.instrument] = Held(
                    quantity=position.quantity,
                    average_price=position.average_price,
                    t1_quantity=min(bought.get(position.instrument, 0), position.quantity),
                )
        self.tallies, self.held = carried, held
        self.opening_balance = self._account.cash

    def check(self) -> None:
        """Raises OutOfBalance where the account's figures do not add up."""
        self._account.check()

    def state(self) -> dict[str, Any]:
        return {
            "account": to_builtins(self._account.snapshot(), str_keys=True),
            "tallies": [[str(key[0]), key[1], to_builtins(tally)] for key, tally in self.tallies.items()],
            "held": {str(instrument): to_builtins(held) for instrument, held in self.held.items()},
        }

    def _own_order(
        self, instrument: Instrument, side: Side, quantity: int, product: Product, price: Decimal
    ) -> str:
        order_id = f"own-{self._last_own_order + 1}"
        self.block(order_id, instrument, side, quantity, product, price)
        self._last_own_order += 1
        return order_id

    def _book(self, order_id: str, quantity: int, price: Decimal, at: datetime) -> None:
        self._account.apply_fill(Filled(order_id=order_id, quantity=quantity, price=price, at=at))


def refusal(error: AccountError | InvalidInstrument) -> Refused:
    match error:
        case InsufficientFunds(required=required, available=available):
            text = (
                f"Insufficient funds. Required margin is {required:.2f} "
                f"but available margin is {available:.2f}."
            )
            return Refused(RefusalCode.FUNDS, text)
        case InsufficientHoldings(required=required, available=available):
            text = f"Insufficient stock holding. Required quantity is {required} but {available} is available."
            return Refused(RefusalCode.HOLDINGS, text)
        case _:
            return Refused(RefusalCode.INVALID, error.message)


def _other(side: Side) -> Side:
    return Side.SELL if side is Side.BUY else Side.BUY
