"""The account: every operation is computed first and then takes effect in one statement.

A refused operation has changed nothing, and neither has one that fails halfway, for whatever reason: it
can be tried again. An account is used by one thread at a time; between coroutines it needs no lock.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

from msgspec.structs import replace

from pulse_domain.account.book import Book, Terms, Working, terms_of
from pulse_domain.account.values import (
    ZERO,
    AccountOrder,
    AccountSettings,
    AccountSnapshot,
    Funds,
    Holding,
    OrderEntry,
    Position,
)
from pulse_domain.charges import NOTHING, charges_on
from pulse_domain.errors import AccountError, InsufficientFunds, InsufficientHoldings, OutOfBalance
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Filled
from pulse_domain.orders.model import Product, Side

_INDIA = timezone(timedelta(hours=5, minutes=30))

_Key = tuple[Instrument, Product]

DEFAULT_SETTINGS = AccountSettings()


class Account:
    """Money, orders and positions of one owner, changed together.

    Opened with capital and perhaps holdings, it is told of orders (`block`, `change`, `release`), of fills
    and of prices. Holdings are delivery positions like those bought later.
    """

    def __init__(self, settings: AccountSettings = DEFAULT_SETTINGS) -> None:
        self.settings = settings
        self._opened = False
        self._funds = Funds()
        self._orders: dict[str, OrderEntry] = {}
        self._books: dict[_Key, Book] = {}
        self._marks: dict[Instrument, Decimal] = {}
        self._terms: dict[_Key, Terms] = {}  # read from the settings once

    @property
    def funds(self) -> Funds:
        return self._funds

    @property
    def cash(self) -> Decimal:
        """Free for new orders."""
        return self._funds.cash

    @property
    def blocked(self) -> Decimal:
        """For working orders and in positions."""
        return self._funds.blocked

    @property
    def realised(self) -> Decimal:
        """The result of what was closed, before charges."""
        return self._funds.realised

    @property
    def unrealised(self) -> Decimal:
        """The result of open positions at the latest marks."""
        return sum((self._unrealised(key, book) for key, book in self._books.items()), ZERO)

    @property
    def charges(self) -> Decimal:
        return self._funds.charges

    @property
    def equity(self) -> Decimal:
        """What would be left if every position were closed at its mark, free of charge."""
        return self._funds.capital + self._funds.realised - self._funds.charges + self.unrealised

    def open(self, capital: Decimal, holdings: Iterable[Holding] = ()) -> None:
        """Put in the money and the shares to begin with; an account that is open already keeps what it has.

        Raises:
            AccountError: the capital is negative, or a holding is not of shares, or is listed twice.
        """
        if self._opened:
            return
        if type(capital) is not Decimal or not capital.is_finite() or capital < 0:
            raise AccountError(f"the capital must be a decimal of 0 or above, not {capital}", field="capital")
        books: dict[_Key, Book] = {}
        for holding in holdings:
            key = (holding.instrument, Product.CNC)
            _check_amounts(holding.quantity, holding.average_price, "average_price")
            if key in books:
                raise AccountError(f"{holding.instrument} is held twice", field="holdings")
            terms = self._terms_of(key)
            bought = Book().with_trade(Side.BUY, holding.quantity, holding.average_price, terms.multiplier)
            books[key] = replace(bought.reblocked(terms), held_at_opening=holding.quantity)
        cost = sum((book.cost for book in books.values()), ZERO)
        funds = Funds(capital=capital + cost, holdings_cost=cost, cash=capital, blocked_in_positions=cost)
        self._opened, self._funds, self._books = True, funds, books

    def order(self, order_id: str) -> OrderEntry:
        """What became of an order.

        Raises:
            AccountError: the account has not heard of it.
        """
        entry = self._orders.get(order_id)
        if entry is None:
            raise AccountError(f"order {order_id} is not known to the account", field="order_id")
        return entry

    def position(self, instrument: Instrument, product: Product) -> Position:
        """The position, flat if there never was one."""
        key = (instrument, product)
        return self._position(key, self._books.get(key, _EMPTY))

    def positions(self) -> tuple[Position, ...]:
        """Those open or closed, by their first order."""
        return tuple([self._position(key, book) for key, book in self._books.items()])

    def snapshot(self) -> AccountSnapshot:
        return AccountSnapshot(
            funds=self._funds, orders=tuple(self._orders.values()), positions=self.positions()
        )

    def block(self, order: AccountOrder) -> None:
        """Set aside what a new order needs until it fills or is released.

        Raises:
            InsufficientFunds: it needs more than the cash.
            InsufficientHoldings: a delivery sale of shares that are not there, or are on sale already.
            AccountError: the order is not usable, or its id has been used.
        """
        if not self._opened:
            raise AccountError("the account has not been opened", field="capital")
        _check_amounts(order.quantity, order.price, "price")
        if order.order_id in self._orders:
            raise AccountError(f"order {order.order_id} is known to the account already", field="order_id")
        key = (order.instrument, order.product)
        terms = self._terms_of(key)
        book = self._books.get(key, _EMPTY)
        asked = book.with_working(order.side, order.quantity, order.price, terms.multiplier)
        self._block(order, order.quantity, OrderEntry(order=order), key, book, asked)

    def change(self, order_id: str, *, quantity: int | None = None, price: Decimal | None = None) -> None:
        """Give a working order another quantity, what has filled included, or another price to block at.

        Raises:
            InsufficientFunds: the changed order needs more than the cash.
            InsufficientHoldings: a delivery sale of shares that are not there, or are on sale already.
            AccountError: the order does not work, or the change is not usable.
        """
        entry = self._working(order_id)
        old = entry.order
        new = replace(
            old,
            quantity=old.quantity if quantity is None else quantity,
            price=old.price if price is None else price,
        )
        _check_amounts(new.quantity, new.price, "price")
        if new.quantity <= entry.filled:
            raise AccountError(f"{entry.filled} of order {order_id} have filled already", field="quantity")
        key = (old.instrument, old.product)
        multiplier = self._terms_of(key).multiplier
        book = self._books[key]
        without = book.with_working(old.side, -entry.remaining, old.price, multiplier)
        changed = replace(entry, order=new)
        asked = without.with_working(new.side, changed.remaining, new.price, multiplier)
        self._block(new, new.quantity - old.quantity, changed, key, book, asked)

    def release(self, order_id: str) -> None:
        """Give back what the rest of an order blocks: it was cancelled, rejected or has expired.

        An order that no longer works has nothing to give back, and nothing happens.

        Raises:
            AccountError: the account has not heard of the order.
        """
        entry = self.order(order_id)
        if not entry.working:
            return
        order = entry.order
        key = (order.instrument, order.product)
        terms, book = self._terms_of(key), self._books[key]
        rest = book.with_working(order.side, -entry.remaining, order.price, terms.multiplier).reblocked(terms)
        funds = _moved(self._funds, book, rest)
        self._commit(funds, replace(entry, working=False), key, rest)

    def apply_fill(self, fill: Filled) -> None:
        """Book a fill: order, position, charges and money change together.

        Raises:
            AccountError: the order does not work, or the fill is more than what remains of it.
            ChargesUnknown: the charges have no rates for the fill's day, exchange or segment.
        """
        entry = self._working(fill.order_id)
        _check_amounts(fill.quantity, fill.price, "price")
        if fill.at.tzinfo is None:
            raise AccountError("the time must carry a UTC offset", field="at")
        if fill.quantity > entry.remaining:
            raise AccountError(
                f"{entry.remaining} of order {fill.order_id} remain, not {fill.quantity}", field="quantity"
            )
        order = entry.order
        key = (order.instrument, order.product)
        terms, book = self._terms_of(key), self._books[key]
        traded = (
            book.with_working(order.side, -fill.quantity, order.price, terms.multiplier)
            .with_trade(order.side, fill.quantity, fill.price, terms.multiplier)
            .reblocked(terms)
        )
        value = fill.price * (fill.quantity * terms.multiplier)
        filled = entry.filled + fill.quantity
        updated = replace(entry, filled=filled, working=filled < order.quantity)
        if not self.settings.charges.free:
            updated, traded = self._charged(updated, traded, terms, value, _trade_date(fill.at))
        charges = updated.charges - entry.charges
        bought, sold = (value, ZERO) if order.side is Side.BUY else (ZERO, value)
        funds = _moved(self._funds, book, traded, charges=charges, bought=bought, sold=sold)
        self._commit(funds, updated, key, traded)

    def charge(self, amount: Decimal) -> None:
        """Book charges that belong to no order, such as a contract note's rounding; negative ones come back.

        Raises:
            AccountError: the amount is not usable.
        """
        if type(amount) is not Decimal or not amount.is_finite():
            raise AccountError(f"charges must be a decimal, not {amount}", field="amount")
        funds = self._funds
        self._funds = replace(
            funds,
            cash=funds.cash - amount,
            charges=funds.charges + amount,
            other_charges=funds.other_charges + amount,
        )

    def mark(self, prices: Mapping[Instrument, Decimal]) -> None:
        """Value open positions at these prices from now on; instruments not named keep their mark.

        Raises:
            AccountError: a price is not usable; no mark has changed.
        """
        for price in prices.values():
            _check_amounts(1, price, "price")
        self._marks.update(prices)

    def check(self) -> None:
        """Add everything up again, from orders and positions, and compare.

        Raises:
            OutOfBalance: a figure is not what its parts say; `details` carry each such pair.
        """
        funds, books = self._funds, self._books.values()
        working = {key: {side: Working() for side in Side} for key in self._books}
        units = {key: book.held_at_opening for key, book in self._books.items()}
        for entry in self._orders.values():
            order, key = entry.order, (entry.order.instrument, entry.order.product)
            side, multiplier = working[key][order.side], self._terms_of(key).multiplier
            working[key][order.side] = side.plus(entry.remaining, order.price, multiplier)
            units[key] += entry.filled if order.side is Side.BUY else -entry.filled
        rebuilt = [
            replace(
                book, quantity=units[key], buys=working[key][Side.BUY], sells=working[key][Side.SELL]
            ).reblocked(self._terms_of(key))
            for key, book in self._books.items()
        ]
        cost = sum((book.cost for book in books), ZERO)
        order_charges = sum((entry.charges for entry in self._orders.values()), ZERO)
        pairs = {
            "money": (funds.cash + funds.blocked, funds.capital + funds.realised - funds.charges),
            "trades": (funds.realised, funds.sold - funds.bought + cost - funds.holdings_cost),
            "realised": (funds.realised, sum((book.realised for book in books), ZERO)),
            "charges": (funds.charges, order_charges + funds.other_charges),
            "blocked_for_orders": (
                funds.blocked_for_orders, sum((book.blocked_for_orders for book in rebuilt), ZERO),
            ),
            "blocked_in_positions": (
                funds.blocked_in_positions, sum((book.blocked_in_position for book in rebuilt), ZERO),
            ),
        }  # fmt: skip
        wrong = {name: (str(left), str(right)) for name, (left, right) in pairs.items() if left != right}
        if wrong or rebuilt != list(books):
            raise OutOfBalance(f"the account is out of balance: {wrong or 'books'}", **wrong)

    def _block(
        self, order: AccountOrder, more_units: int, entry: OrderEntry, key: _Key, book: Book, asked: Book
    ) -> None:
        terms = self._terms_of(key)
        on_sale = asked.sells.units - book.quantity
        if order.product is Product.CNC and order.side is Side.SELL and on_sale > 0:
            raise InsufficientHoldings(more_units, more_units - on_sale)
        blocked = asked.reblocked(terms)
        required = blocked.blocked_for_orders - book.blocked_for_orders
        if required > 0 and required > self._funds.cash:
            raise InsufficientFunds(required, self._funds.cash)
        self._commit(_moved(self._funds, book, blocked), entry, key, blocked)

    def _charged(
        self, entry: OrderEntry, book: Book, terms: Terms, value: Decimal, day: date
    ) -> tuple[OrderEntry, Book]:
        """Charge an order for what it has traded today as a whole, less what it was charged already."""
        order, same_day = entry.order, entry.trade_date == day
        turnover = value + (entry.turnover if same_day else ZERO)
        before = entry.day_charges if same_day else NOTHING
        charged = charges_on(
            turnover, instrument=order.instrument, segment=terms.segment, side=order.side,
            trade_date=day, schedule=self.settings.charges,
            first_delivery_sale=book.depository_paid_on != day or before.depository_fee > 0,
        )  # fmt: skip
        if charged.depository_fee:
            book = replace(book, depository_paid_on=day)
        charges = entry.charges + charged.total - before.total
        entry = replace(entry, trade_date=day, turnover=turnover, day_charges=charged, charges=charges)
        return entry, book

    def _commit(self, funds: Funds, entry: OrderEntry, key: _Key, book: Book) -> None:
        # One statement and no calls into our own code: nothing can come between its parts.
        self._funds, self._orders[entry.order.order_id], self._books[key] = funds, entry, book

    def _working(self, order_id: str) -> OrderEntry:
        entry = self.order(order_id)
        if not entry.working:
            raise AccountError(f"order {order_id} no longer works", field="order_id")
        return entry

    def _terms_of(self, key: _Key) -> Terms:
        terms = self._terms.get(key)
        if terms is None:
            terms = self._terms[key] = terms_of(self.settings, *key)
        return terms

    def _unrealised(self, key: _Key, book: Book) -> Decimal:
        mark = self._marks.get(key[0])
        if mark is None or not book.quantity:
            return ZERO
        return mark * (book.quantity * self._terms_of(key).multiplier) - book.cost

    def _position(self, key: _Key, book: Book) -> Position:
        units = book.quantity * self._terms_of(key).multiplier
        return Position(
            instrument=key[0],
            product=key[1],
            quantity=book.quantity,
            average_price=book.cost / units if units else ZERO,
            cost=book.cost,
            realised=book.realised,
            unrealised=self._unrealised(key, book),
            blocked=book.blocked_in_position,
        )


def _moved(
    funds: Funds, old: Book, new: Book, *, charges: Decimal = ZERO, bought: Decimal = ZERO, sold: Decimal = ZERO
) -> Funds:
    """The funds after a book has changed: what is blocked less, and earned, becomes cash."""
    for_orders = new.blocked_for_orders - old.blocked_for_orders
    in_position = new.blocked_in_position - old.blocked_in_position
    realised = new.realised - old.realised
    return replace(
        funds,
        cash=funds.cash - for_orders - in_position + realised - charges,
        blocked_for_orders=funds.blocked_for_orders + for_orders,
        blocked_in_positions=funds.blocked_in_positions + in_position,
        realised=funds.realised + realised,
        charges=funds.charges + charges,
        bought=funds.bought + bought,
        sold=funds.sold + sold,
    )


def _check_amounts(quantity: int, price: Decimal, price_name: str) -> None:
    if type(quantity) is not int or quantity < 1:
        raise AccountError(f"quantity must be a positive whole number, not {quantity}", field="quantity")
    if type(price) is not Decimal or not price.is_finite() or price <= 0:
        raise AccountError(f"{price_name} must be a decimal above 0, not {price}", field=price_name)


def _trade_date(at: datetime) -> date:
    return at.astimezone(_INDIA).date()


_EMPTY = Book()
