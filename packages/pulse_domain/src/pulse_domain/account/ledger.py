"""The core of the account, in whole numbers: money, books, and the rules of what changes them.

Amounts count ten-thousandths of a rupee, prices too. Quantities and prices are taken as they are: whoever
uses the ledger has checked that they are above 0 and that a fill is of an order that works.

What changes is kept in tuples. An operation computes the new ones first and then puts them in place in one
statement without calls: one that is refused, or fails halfway for whatever reason, has changed nothing and
can be tried again. A ledger is used by one thread at a time; between coroutines it needs no lock.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

from pulse_domain.account.book import (
    FULL,
    IDLE,
    Amount,
    Book,
    BookState,
    Key,
    Working,
    book_of,
    book_of_holding,
    counted,
    exact,
    needed,
    needed_in_position,
    plain,
    rebuilt,
    rupees,
    share,
)
from pulse_domain.account.tab import UNUSED, Tab, TabState, with_fill
from pulse_domain.account.values import AccountSettings, Funds, Holding, Position
from pulse_domain.errors import AccountError, InsufficientFunds, InsufficientHoldings, OutOfBalance
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Product

DEFAULT_SETTINGS = AccountSettings()

# Cash, blocked for orders, blocked in positions, realised, charges, bought, sold.
State = tuple[Amount, int, int, int, Amount, int, int]


class Ledger:
    """Money and books of one owner, changed together. `sign` is +1 for buying and -1 for selling.

    free: whether the schedule charges nothing; then fills need neither tab nor day.
    cash, charges: whole like all the rest, until a charge is booked that is finer than a ten-thousandth of a
        rupee (a schedule that does not round): from then on decimals, still counting ten-thousandths.
    books: also those that no order has used yet.
    """

    __slots__ = ("books", "capital", "free", "holdings_cost", "opened", "other_charges", "settings", "state")

    def __init__(self, settings: AccountSettings = DEFAULT_SETTINGS) -> None:
        self.settings = settings
        self.free = settings.charges.free
        self.opened = False
        self.capital = 0
        self.holdings_cost = 0
        self.other_charges: Amount = 0
        self.books: dict[Key, Book] = {}
        self.state: State = (0, 0, 0, 0, 0, 0, 0)

    @property
    def cash(self) -> Amount:
        """Free for new orders."""
        return self.state[0]

    @property
    def blocked_for_orders(self) -> int:
        return self.state[1]

    @property
    def blocked_in_positions(self) -> int:
        return self.state[2]

    @property
    def realised(self) -> int:
        """The result of what was closed, before charges."""
        return self.state[3]

    @property
    def charges(self) -> Amount:
        return self.state[4]

    @property
    def bought(self) -> int:
        return self.state[5]

    @property
    def sold(self) -> int:
        return self.state[6]

    def open(self, capital: Decimal, holdings: Iterable[Holding] = ()) -> None:
        """Put in the money and the shares to begin with; a ledger that is open already keeps what it has.

        Raises:
            AccountError: the capital is negative, or a holding is not of shares, or is listed twice; or an
                amount is finer than a ten-thousandth of a rupee.
        """
        if self.opened:
            return
        if type(capital) is not Decimal or not capital.is_finite() or capital < 0:
            raise AccountError(f"the capital must be a decimal of 0 or above, not {capital}", field="capital")
        cash, cost = counted(capital, "capital"), 0
        books: dict[Key, Book] = {}
        for holding in holdings:
            book = book_of_holding(self.settings, holding, rank=len(books) + 1)
            if book.key in books:
                raise AccountError(f"{holding.instrument} is held twice", field="holdings")
            books[book.key] = book
            cost += book.cost
        whole = (True, cash + cost, cost, books, (cash, 0, cost, 0, 0, 0, 0))
        self.opened, self.capital, self.holdings_cost, self.books, self.state = whole

    def book(self, instrument: Instrument, product: Product) -> Book:
        """The one book of an instrument under a product.

        Raises:
            AccountError: the ledger has not been opened, or the product is not for the exchange.
            InvalidInstrument: neither the symbol nor the settings tell the segment.
        """
        book = self.books.get((instrument, product))
        if book is None:
            if not self.opened:
                raise AccountError("the account has not been opened", field="capital")
            book = self.books[instrument, product] = book_of(self.settings, instrument, product)
        return book

    def block(self, book: Book, sign: int, units: int, price: int) -> None:
        """Set aside what a new order needs until it fills or is released.

        Raises:
            InsufficientFunds: it needs more than the cash.
            InsufficientHoldings: a delivery sale of shares that are not there, or are on sale already.
            AccountError: it would open a short position that the settings give no margin for.
        """
        book.rank, book.state, self.state = self.after_asking(
            book, sign, units, price * units * book.multiplier
        )

    def release(self, book: Book, sign: int, units: int, price: int) -> None:
        """Give back what units that were blocked at this price need no longer."""
        book.rank, book.state, self.state = self.after_asking(
            book, sign, -units, -price * units * book.multiplier
        )

    def fill(
        self,
        book: Book,
        sign: int,
        units: int,
        price: int,
        blocked_price: int,
        tab: Tab | None,
        day: date | None,
    ) -> int:
        """Book the fill of an order whose units are blocked at `blocked_price`; return what it realised.

        tab, day: the order's own tab and the fill's trade date; None will do where the charges are free.

        Raises:
            ChargesUnknown: the charges have no rates for the day, exchange or segment.
            AccountError: the fill is charged, and tab or day are missing.
        """
        after = self.after_fill(book, sign, units, price, blocked_price, tab, day)
        if tab is None:
            book.state, self.state, _, result = after
        else:
            book.state, self.state, tab.state, result = after
        return result

    def after_asking(self, book: Book, sign: int, units: int, value: int) -> tuple[int, BookState, State]:
        """What `block` and `release` put in place: the book's rank and state, and the ledger's.

        units, value: what is asked for beyond what works already; negative when it is given back. An order
            that is changed asks for the difference.

        Raises:
            As `block`; giving back is never refused.
        """
        held, cost, realised, in_position, buys, sells, paid_on = book.state
        working, worth, before = buys if sign > 0 else sells
        working += units
        worth += value
        if sign < 0 and working > held and book.product is Product.CNC:
            raise InsufficientHoldings(units, units - working + held)
        if held == 0 and (book.long if sign > 0 else book.short) is FULL:
            still = worth
        else:
            still = needed(book, sign, held, working, worth)
        more = still - before
        cash, for_orders, in_positions, earned, charges, bought, sold = self.state
        if more > 0 and more > cash:
            raise InsufficientFunds(plain(more), plain(cash))
        if sign > 0:
            buys = (working, worth, still)
        else:
            sells = (working, worth, still)
        return (
            book.rank or 1 + max(other.rank for other in self.books.values()),
            (held, cost, realised, in_position, buys, sells, paid_on),
            (cash - more, for_orders + more, in_positions, earned, charges, bought, sold),
        )

    def after_fill(
        self,
        book: Book,
        sign: int,
        units: int,
        price: int,
        blocked_price: int,
        tab: Tab | None,
        day: date | None,
    ) -> tuple[BookState, State, TabState, int]:
        """What `fill` puts in place: the states of book, ledger and tab; and what the fill realised.

        Closes what the position has against the trade and opens the rest at its price. Closing a part takes
        its share of the cost; closing the last takes all that is left, so that no fraction is ever lost.
        """
        held, cost, realised, in_position, buys, sells, paid_on = book.state
        cash, for_orders, in_positions, earned, charges, bought, sold = self.state
        multiplier = book.multiplier
        value = price * units * multiplier

        quantity = held + sign * units
        result = 0
        if held * sign >= 0:
            cost += sign * value
        elif held * quantity > 0:
            closed_cost = share(cost, units, abs(held))
            result = -sign * value - closed_cost
            cost -= closed_cost
        else:
            result = price * held * multiplier - cost
            cost = price * quantity * multiplier
        if (book.long if quantity >= 0 else book.short) is FULL:
            blocked = cost if cost >= 0 else -cost
        else:
            blocked = needed_in_position(book, quantity, cost)

        own, other = (buys, sells) if sign > 0 else (sells, buys)
        working, worth, before = own
        if working == units:
            own, more = IDLE, -before
        else:
            working -= units
            worth -= blocked_price * units * multiplier
            still = needed(book, sign, quantity, working, worth)
            own, more = (working, worth, still), still - before
        # The other side has lost what it was to close, or gained it.
        if other[0]:
            working, worth, before = other
            still = needed(book, -sign, quantity, working, worth)
            other = (working, worth, still)
            more += still - before

        cash += result - more - blocked + in_position
        for_orders += more
        in_positions += blocked - in_position
        earned += result
        realised += result
        if sign > 0:
            bought += value
            buys, sells = own, other
        else:
            sold += value
            buys, sells = other, own
        tabbed = UNUSED
        if not self.free:
            if tab is None or day is None:
                raise AccountError("a fill that is charged needs the order's tab and the day", field="at")
            tabbed, more_charges = with_fill(tab, book, sign, value, day, self.settings.charges)
            cash -= exact(more_charges)
            charges += exact(more_charges)
            paid_on = day if tabbed[2].depository_fee else paid_on
        return (
            (quantity, cost, realised, blocked, buys, sells, paid_on),
            (cash, for_orders, in_positions, earned, charges, bought, sold),
            tabbed,
            result,
        )

    def charge(self, amount: Decimal) -> None:
        """Book charges in rupees that belong to no order; negative ones come back.

        Raises:
            AccountError: the amount is not usable.
        """
        if type(amount) is not Decimal or not amount.is_finite():
            raise AccountError(f"charges must be a decimal, not {amount}", field="amount")
        more = exact(amount)
        cash, for_orders, in_positions, earned, charges, bought, sold = self.state
        state = (cash - more, for_orders, in_positions, earned, charges + more, bought, sold)
        self.state, self.other_charges = state, self.other_charges + more

    def funds(self) -> Funds:
        cash, for_orders, in_positions, earned, charges, bought, sold = self.state
        return Funds(
            capital=rupees(self.capital),
            holdings_cost=rupees(self.holdings_cost),
            cash=rupees(cash),
            blocked_for_orders=rupees(for_orders),
            blocked_in_positions=rupees(in_positions),
            realised=rupees(earned),
            charges=rupees(charges),
            other_charges=rupees(self.other_charges),
            bought=rupees(bought),
            sold=rupees(sold),
        )

    def unrealised(self, marks: Mapping[Instrument, int]) -> int:
        """The result of open positions at these prices."""
        return sum(book.unrealised(marks.get(book.instrument)) for book in self.books.values())

    def positions(self, marks: Mapping[Instrument, int]) -> tuple[Position, ...]:
        """Those open or closed, by their first order, at these prices."""
        ordered = sorted((book for book in self.books.values() if book.rank), key=lambda book: book.rank)
        return tuple([book.position(marks.get(book.instrument)) for book in ordered])

    def check(
        self,
        working: Iterable[Working],
        *,
        filled: Mapping[Key, int] | None = None,
        order_charges: Decimal | None = None,
    ) -> None:
        """Add everything up again, from orders and books, and compare.

        working: all orders that work, as their owner knows them.
        filled: where given, what all orders together have bought, less what they have sold, in units.
        order_charges: where given, what all orders together were charged, in rupees.

        Raises:
            OutOfBalance: a figure is not what its parts say; `details` carry each such pair, in rupees.
        """
        sides: dict[tuple[Key, int], tuple[int, int]] = defaultdict(lambda: (0, 0))
        for book, sign, units, price in working:
            before, worth = sides[book.key, sign]
            sides[book.key, sign] = before + units, worth + price * units * book.multiplier
        strange = {key for key, _ in sides} - self.books.keys()  # orders in books that are not ours
        books, states = self.books.values(), {}
        for key, book in self.books.items():
            quantity = book.quantity if filled is None else book.held_at_opening + filled.get(key, 0)
            states[key] = rebuilt(book, sides[key, 1], sides[key, -1], quantity)
        cash, for_orders, in_positions, earned, charges, bought, sold = self.state
        cost = sum(book.cost for book in books)
        pairs: dict[str, tuple[Amount, Amount]] = {
            "money": (cash + for_orders + in_positions, self.capital + earned - charges),
            "trades": (earned, sold - bought + cost - self.holdings_cost),
            "realised": (earned, sum(book.realised for book in books)),
            "blocked_for_orders": (for_orders, sum(state[4][2] + state[5][2] for state in states.values())),
            "blocked_in_positions": (in_positions, sum(state[3] for state in states.values())),
        }
        if order_charges is not None:
            pairs["charges"] = (charges, exact(order_charges) + self.other_charges)
        wrong = {
            name: (str(plain(left)), str(plain(right)))
            for name, (left, right) in pairs.items()
            if left != right
        }
        if wrong or strange or any(book.state != states[key] for key, book in self.books.items()):
            raise OutOfBalance(f"the account is out of balance: {wrong or 'books'}", **wrong)
