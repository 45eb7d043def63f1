"""The rules of the account once more, in fractions of a rupee and as plainly as can be: the ledger's oracle.

It keeps the working orders one by one and works out every figure from the beginning each time it is asked.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import Any

Place = Any


class Refused(Exception):
    """`args` begin with what was missing: funds, holdings or margin."""


@dataclass
class Terms:
    multiplier: int
    long: Fraction
    short: Fraction | None
    delivery: bool


@dataclass
class Position:
    quantity: int = 0
    cost: Fraction = Fraction(0)
    realised: Fraction = Fraction(0)


@dataclass
class Order:
    place: Place
    sign: int
    units: int
    price: Fraction


@dataclass
class Reference:
    capital: Fraction
    terms: dict[Place, Terms]
    positions: dict[Place, Position] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.positions = {place: Position() for place in self.terms}

    def margin(self, place: Place, sign: int) -> Fraction:
        margin = self.terms[place].long if sign > 0 else self.terms[place].short
        if margin is None:
            raise Refused("margin")
        return margin

    def for_orders(self, place: Place, sign: int) -> Fraction:
        orders = [order for order in self.orders if (order.place, order.sign) == (place, sign)]
        units = sum(order.units for order in orders)
        value = sum((order.units * order.price for order in orders), Fraction(0)) * self.terms[place].multiplier
        closing = max(0, -sign * self.positions[place].quantity)
        if units <= closing:
            return Fraction(0)
        margin = self.margin(place, sign)
        needs = value * Fraction(units - closing, units) * margin
        return needs if margin == 1 and not closing else paise_up(needs)

    def in_position(self, place: Place) -> Fraction:
        position = self.positions[place]
        margin = self.margin(place, 1 if position.quantity >= 0 else -1)
        cost = abs(position.cost)
        return cost if margin == 1 else paise_up(cost * margin)

    def cash(self) -> Fraction:
        blocked = sum(
            self.for_orders(place, 1) + self.for_orders(place, -1) + self.in_position(place)
            for place in self.terms
        )
        return self.capital + sum(position.realised for position in self.positions.values()) - blocked

    def block(self, order: Order) -> None:
        before = self.cash()
        self.orders.append(order)
        try:
            on_sale = sum(o.units for o in self.orders if (o.place, o.sign) == (order.place, -1))
            if self.terms[order.place].delivery and order.sign < 0:
                held = self.positions[order.place].quantity
                if on_sale > held:
                    raise Refused("holdings", order.units, order.units - on_sale + held)
            after = self.cash()
            if after < before and after < 0:
                raise Refused("funds", before - after, before)
        except Refused:
            self.orders.pop()
            raise

    def release(self, order: Order) -> None:
        self.orders.remove(order)

    def fill(self, order: Order, units: int, price: Fraction) -> Fraction:
        order.units -= units
        if not order.units:
            self.orders.remove(order)
        position, multiplier = self.positions[order.place], self.terms[order.place].multiplier
        opens = max(0, units - max(0, -order.sign * position.quantity))
        closes = units - opens
        closed_cost = position.cost if closes else Fraction(0)
        if 0 < closes < abs(position.quantity):
            closed_cost = paise_half_up(position.cost * closes / abs(position.quantity))
        result = -order.sign * closes * price * multiplier - closed_cost
        position.cost += order.sign * opens * price * multiplier - closed_cost
        position.quantity += order.sign * units
        position.realised += result
        return result


def paise_up(amount: Fraction) -> Fraction:
    return Fraction(ceil(amount * 100), 100)


def paise_half_up(amount: Fraction) -> Fraction:
    paise = Fraction(floor(abs(amount) * 100 + Fraction(1, 2)), 100)
    return paise if amount >= 0 else -paise
