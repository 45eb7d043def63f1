"""The account in rupees: orders by their ids, in front of the ledger that has the rules.

Every operation asks the ledger what would be, and then puts that and what it notes of the order in place in
one statement: one that is refused, or fails halfway for whatever reason, has changed nothing and can be
tried again. An account is used by one thread at a time; between coroutines it needs no lock.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from msgspec.structs import replace

from pulse_domain.account.book import Book, Key, Working, book_of, check_quantity, counted_price, rupees
from pulse_domain.account.ledger import DEFAULT_SETTINGS, Ledger
from pulse_domain.account.tab import Tab
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
from pulse_domain.errors import AccountError
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Filled
from pulse_domain.orders.model import Product, Side
from pulse_domain.units import INDIA


@dataclass(slots=True, eq=False)
class _Entry:
    """An order as the ledger knows it; `price` in ten-thousandths of a rupee."""

    order: AccountOrder
    book: Book
    sign: int
    price: int
    tab: Tab
    filled: int = 0
    working: bool = True

    @property
    def remaining(self) -> int:
        return self.order.quantity - self.filled if self.working else 0

    def told(self) -> OrderEntry:
        tab = self.tab
        return OrderEntry(
            order=self.order,
            filled=self.filled,
            working=self.working,
            trade_date=tab.trade_date,
            turnover=tab.turnover,
            day_charges=tab.day_charges,
            charges=tab.charges,
        )


class Account:
    """Money, orders and positions of one owner, changed together.

    Opened with capital and perhaps holdings, it is told of orders (`block`, `change`, `release`), of fills
    and of prices. Holdings are delivery positions like those bought later. Prices and the capital are
    whole ten-thousandths of a rupee.
    """

    def __init__(self, settings: AccountSettings = DEFAULT_SETTINGS) -> None:
        self.settings = settings
        self._ledger = Ledger(settings)
        self._orders: dict[str, _Entry] = {}
        self._marks: dict[Instrument, int] = {}

    @property
    def funds(self) -> Funds:
        return self._ledger.funds()

    @property
    def cash(self) -> Decimal:
        """Free for new orders."""
        return rupees(self._ledger.cash)

    @property
    def blocked(self) -> Decimal:
        """For working orders and in positions."""
        return rupees(self._ledger.blocked_for_orders + self._ledger.blocked_in_positions)

    @property
    def realised(self) -> Decimal:
        """The result of what was closed, before charges."""
        return rupees(self._ledger.realised)

    @property
    def unrealised(self) -> Decimal:
        """The result of open positions at the latest marks."""
        return rupees(self._ledger.unrealised(self._marks))

    @property
    def charges(self) -> Decimal:
        return rupees(self._ledger.charges)

    @property
    def equity(self) -> Decimal:
        """What would be left if every position were closed at its mark, free of charge."""
        ledger = self._ledger
        return rupees(ledger.capital + ledger.realised - ledger.charges + ledger.unrealised(self._marks))

    def open(self, capital: Decimal, holdings: Iterable[Holding] = ()) -> None:
        """Put in the money and the shares to begin with; an account that is open already keeps what it has.

        Raises:
            AccountError: the capital is negative, or a holding is not of shares, or is listed twice; or an
                amount is finer than a ten-thousandth of a rupee.
        """
        self._ledger.open(capital, holdings)

    def order(self, order_id: str) -> OrderEntry:
        """What became of an order.

        Raises:
            AccountError: the account has not heard of it.
        """
        return self._known(order_id).told()

    def position(self, instrument: Instrument, product: Product) -> Position:
        """The position, flat if there never was one."""
        book = self._ledger.books.get((instrument, product)) or book_of(self.settings, instrument, product)
        return book.position(self._marks.get(instrument))

    def positions(self) -> tuple[Position, ...]:
        """Those open or closed, by their first order."""
        return self._ledger.positions(self._marks)

    def snapshot(self) -> AccountSnapshot:
        return AccountSnapshot(
            funds=self.funds,
            orders=tuple([entry.told() for entry in self._orders.values()]),
            positions=self.positions(),
        )

    def block(self, order: AccountOrder) -> None:
        """Set aside what a new order needs until it fills or is released.

        Raises:
            InsufficientFunds: it needs more than the cash.
            InsufficientHoldings: a delivery sale of shares that are not there, or are on sale already.
            AccountError: the order is not usable, or its id has been used.
        """
        ledger, order_id, units = self._ledger, order.order_id, order.quantity
        if not ledger.opened:
            raise AccountError("the account has not been opened", field="capital")
        check_quantity(units)
        price = counted_price(order.price, "price")
        if order_id in self._orders:
            raise AccountError(f"order {order_id} is known to the account already", field="order_id")
        book = ledger.book(order.instrument, order.product)
        sign = 1 if order.side is Side.BUY else -1
        entry = _Entry(order, book, sign, price, Tab())
        asked = ledger.after_asking(book, sign, units, price * units * book.multiplier)
        self._orders[order_id], book.rank, book.state, ledger.state = entry, *asked

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
        check_quantity(new.quantity)
        at = counted_price(new.price, "price")
        units = new.quantity - entry.filled
        if units <= 0:
            raise AccountError(f"{entry.filled} of order {order_id} have filled already", field="quantity")
        ledger, book = self._ledger, entry.book
        value = (at * units - entry.price * entry.remaining) * book.multiplier
        asked = ledger.after_asking(book, entry.sign, units - entry.remaining, value)
        book.rank, book.state, ledger.state, entry.order, entry.price = *asked, new, at

    def release(self, order_id: str) -> None:
        """Give back what the rest of an order blocks: it was cancelled, rejected or has expired.

        An order that no longer works has nothing to give back, and nothing happens.

        Raises:
            AccountError: the account has not heard of the order.
        """
        entry = self._known(order_id)
        if not entry.working:
            return
        ledger, book, rest = self._ledger, entry.book, entry.remaining
        asked = ledger.after_asking(book, entry.sign, -rest, -rest * entry.price * book.multiplier)
        book.rank, book.state, ledger.state, entry.working = *asked, False

    def apply_fill(self, fill: Filled) -> None:
        """Book a fill: order, position, charges and money change together.

        Raises:
            AccountError: the order does not work, or the fill is more than what remains of it.
            ChargesUnknown: the charges have no rates for the fill's day, exchange or segment.
        """
        entry = self._working(fill.order_id)
        check_quantity(fill.quantity)
        price = counted_price(fill.price, "price")
        if fill.at.tzinfo is None:
            raise AccountError("the time must carry a UTC offset", field="at")
        rest = entry.remaining - fill.quantity
        if rest < 0:
            raise AccountError(
                f"{entry.remaining} of order {fill.order_id} remain, not {fill.quantity}", field="quantity"
            )
        ledger, book, tab = self._ledger, entry.book, entry.tab
        day = None if ledger.free else _trade_date(fill.at)
        after = ledger.after_fill(book, entry.sign, fill.quantity, price, entry.price, tab, day)
        filled = entry.filled + fill.quantity
        book.state, ledger.state, tab.state, _, entry.filled, entry.working = *after, filled, rest > 0

    def charge(self, amount: Decimal) -> None:
        """Book charges that belong to no order, such as a contract note's rounding; negative ones come back.

        Raises:
            AccountError: the amount is not usable.
        """
        self._ledger.charge(amount)

    def mark(self, prices: Mapping[Instrument, Decimal]) -> None:
        """Value open positions at these prices from now on; instruments not named keep their mark.

        Raises:
            AccountError: a price is not usable; no mark has changed.
        """
        self._marks.update({instrument: counted_price(price, "price") for instrument, price in prices.items()})

    def check(self) -> None:
        """Add everything up again, from orders and positions, and compare.

        Raises:
            OutOfBalance: a figure is not what its parts say; `details` carry each such pair.
        """
        entries = self._orders.values()
        filled: dict[Key, int] = defaultdict(int)
        for entry in entries:
            filled[entry.book.key] += entry.sign * entry.filled
        self._ledger.check(
            [Working(entry.book, entry.sign, entry.remaining, entry.price) for entry in entries],
            filled=filled,
            order_charges=sum((entry.tab.charges for entry in entries), ZERO),
        )

    def _known(self, order_id: str) -> _Entry:
        entry = self._orders.get(order_id)
        if entry is None:
            raise AccountError(f"order {order_id} is not known to the account", field="order_id")
        return entry

    def _working(self, order_id: str) -> _Entry:
        entry = self._known(order_id)
        if not entry.working:
            raise AccountError(f"order {order_id} no longer works", field="order_id")
        return entry


def _trade_date(at: datetime) -> date:
    return at.astimezone(INDIA).date()
