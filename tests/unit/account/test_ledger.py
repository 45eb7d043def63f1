"""The ledger: whole numbers that say what plain fractions say, and add up after every step."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pulse_domain.account import AccountSettings, Contract, Holding, Ledger, Margin, Tab, Working
from pulse_domain.charges import ZERODHA, Segment
from pulse_domain.errors import AccountError, InsufficientFunds, InsufficientHoldings, OutOfBalance
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Product
from pulse_domain.units import PRICE_UNITS
from tests.unit.account import make, reference

CRUDE = Instrument.parse("MCX:CRUDEOIL26NOVFUT")
PLACES = [
    (make.INFY, Product.CNC),
    (make.INFY, Product.MIS),
    (make.TCS, Product.MIS),
    (make.FUTURE, Product.NRML),
    (CRUDE, Product.NRML),
    (make.CALL, Product.NRML),
]
TODAY = make.AT.date()
UNROUNDED = replace(ZERODHA, name="unrounded", quantum=None)
FINEST = Decimal("0.0001")


def ledger(capital: make.Price = 100_000, holdings: Iterable[Holding] = (), **settings: Any) -> Ledger:
    opened = Ledger(AccountSettings(**settings))
    opened.open(Decimal(capital), holdings)
    return opened


def bought(units: int = 100, **settings: Any) -> Ledger:
    """A ledger that has bought shares for delivery, at 100 rupees."""
    opened = ledger(**settings)
    book = opened.book(make.INFY, Product.CNC)
    opened.block(book, 1, units, 1_000_000)
    opened.fill(book, 1, units, 1_000_000, 1_000_000, Tab(), TODAY)
    return opened


# Random stories, against the reference.

fractions = st.sampled_from(["0", "0.123", "0.2", "0.25", "0.3333333", "1", "1.5"]).map(Decimal)
short_fractions = st.none() | fractions | fractions
margin = st.builds(Margin, long=fractions, short=short_fractions)
margins = st.fixed_dictionaries({
    (Product.MIS, Segment.INTRADAY): margin,
    (Product.NRML, Segment.FUTURES): margin,
    (Product.NRML, Segment.OPTIONS): margin,
    # Delivery blocks the full value whatever is said.
    (Product.CNC, Segment.DELIVERY): st.just(Margin(long=Decimal("0.2"))),
})  # fmt: skip
multipliers = st.sampled_from([1, 3, 100])
ticks = st.integers(1, 4000).map(lambda count: count * 500)
prices = ticks | st.integers(1, 3_000_000)
signs = st.sampled_from([1, -1])
quantities = st.integers(1, 3) | st.integers(1, 60)  # small ones close to the last unit
numbers = st.integers(0, 1000)
whole = st.just(10**9)


def steps_at(places: list[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    block = st.tuples(st.just("block"), st.sampled_from(places), signs, quantities, prices)
    fill = st.tuples(st.just("fill"), numbers, quantities | whole, prices)
    trade = st.tuples(st.just("trade"), st.sampled_from(places), signs, quantities, prices)
    return st.one_of(block, fill, trade, trade, trade, st.tuples(st.just("release"), numbers))


# Few places, so that trades close what others opened.
stories = st.lists(st.sampled_from(PLACES), min_size=1, max_size=3, unique=True).flatmap(
    lambda places: st.lists(steps_at(places), max_size=40)
)


class Both:
    """A ledger and the reference, told the same."""

    def __init__(self, capital: int, of: AccountSettings) -> None:
        self.ledger = Ledger(of)
        self.ledger.open(Decimal(capital))
        terms = {}
        for instrument, product in PLACES:
            delivery = product is Product.CNC
            segment = self.ledger.book(instrument, product).segment
            margin = Margin(short=None) if delivery else of.margins[product, segment]
            terms[instrument, product] = reference.Terms(
                multiplier=of.contracts[instrument].multiplier if instrument in of.contracts else 1,
                long=Fraction(margin.long),
                short=None if margin.short is None else Fraction(margin.short),
                delivery=delivery,
            )
        self.reference = reference.Reference(Fraction(capital), terms)
        self.filled: dict[Any, int] = defaultdict(int)

    def take(self, step: tuple[Any, ...]) -> str:
        name, which, *rest = step
        if name == "block":
            return self.block(which, *rest)
        if name == "trade":
            outcome = self.block(which, *rest)
            if outcome != "blocked":
                return outcome
            name, which, rest = "fill", -1, rest[1:]
        if not self.reference.orders:
            return "nothing works"
        order = self.reference.orders[which % len(self.reference.orders)]
        book, blocked_at = self.ledger.book(*order.place), int(order.price * PRICE_UNITS)
        if name == "release":
            self.ledger.release(book, order.sign, order.units, blocked_at)
            self.reference.release(order)
            return "released"
        units, price = min(rest[0], order.units), rest[1]
        realised = self.ledger.fill(book, order.sign, units, price, blocked_at, None, None)
        assert realised == counted(self.reference.fill(order, units, Fraction(price, PRICE_UNITS)))
        self.filled[order.place] += order.sign * units
        return "filled"

    def block(self, place: Any, sign: int, units: int, price: int) -> str:
        book = self.ledger.book(*place)
        before = self.ledger.state, book.rank, book.state
        expected: tuple[Any, ...] = ("blocked",)
        outcome: tuple[Any, ...] = ("blocked",)
        try:
            self.reference.block(reference.Order(place, sign, units, Fraction(price, PRICE_UNITS)))
        except reference.Refused as refusal:
            expected = refusal.args
        try:
            self.ledger.block(book, sign, units, price)
        except InsufficientFunds as error:
            outcome = ("funds", error.required, error.available)
        except InsufficientHoldings as error:
            outcome = ("holdings", error.required, error.available)
        except AccountError:
            outcome = ("margin",)
        assert outcome == expected
        if outcome != ("blocked",):
            assert (self.ledger.state, book.rank, book.state) == before
        return str(outcome[0])

    def compare(self) -> None:
        working = []
        for order in self.reference.orders:
            book = self.ledger.book(*order.place)
            working.append(Working(book, order.sign, order.units, int(order.price * PRICE_UNITS)))
        self.ledger.check(working, filled=self.filled)
        assert self.ledger.cash == counted(self.reference.cash())
        for place, position in self.reference.positions.items():
            book = self.ledger.book(*place)
            for_orders = self.reference.for_orders(place, 1) + self.reference.for_orders(place, -1)
            assert book.quantity == position.quantity
            assert book.cost == counted(position.cost)
            assert book.realised == counted(position.realised)
            assert book.blocked_in_position == counted(self.reference.in_position(place))
            assert book.blocked_for_orders == counted(for_orders)


def counted(amount: Fraction) -> int:
    units = amount * PRICE_UNITS
    assert units.denominator == 1
    return int(units)


@given(st.sampled_from([500, 200_000, 10_000_000]), margins, multipliers, multipliers, stories)
def test_the_ledger_says_what_plain_fractions_say(capital, of_margins, futures, options, story):
    contracts = {
        make.FUTURE: Contract(multiplier=futures),
        CRUDE: Contract(multiplier=100),
        make.CALL: Contract(multiplier=options),
    }
    both = Both(capital, AccountSettings(margins=of_margins, contracts=contracts))

    for step in story:
        both.take(step)
        both.compare()


def test_the_stories_come_to_every_outcome():
    # Guards the property above: it would hold as well if every order were refused.
    crude, call = (CRUDE, Product.NRML), (make.CALL, Product.NRML)
    long_only = Margin(long=Decimal("0.2"), short=None)
    of = AccountSettings(
        margins={(product, segment): long_only for product in Product for segment in Segment},
        contracts={CRUDE: Contract(multiplier=100)},
    )
    both = Both(20_000, of)
    story = [
        ("block", crude, 1, 2, 100_003), ("fill", 0, 1, 100_001), ("block", crude, -1, 1, 90_000),
        ("fill", 1, 1, 90_000), ("release", 0), ("release", 0), ("block", call, -1, 1, 100),
        ("block", (make.INFY, Product.CNC), -1, 1, 100), ("block", crude, 1, 60, 3_000_000),
    ]  # fmt: skip

    outcomes = []
    for step in story:
        outcomes.append(both.take(step))
        both.compare()

    assert outcomes == [
        "blocked", "filled", "blocked", "filled", "released", "nothing works",
        "margin", "holdings", "funds",
    ]  # fmt: skip


# What the account in front of it does not show.


def test_a_ledger_has_no_books_before_it_is_opened():
    with pytest.raises(AccountError, match="not been opened"):
        Ledger(AccountSettings()).book(make.INFY, Product.CNC)


def test_a_book_is_one_and_the_same():
    opened = ledger()

    assert opened.book(make.INFY, Product.CNC) is opened.book(make.INFY, Product.CNC)


def test_positions_stand_in_the_order_of_their_first_accepted_orders():
    opened = ledger(1_000)
    looked_at = opened.book(make.INFY, Product.CNC)
    second = opened.book(make.INFY, Product.MIS)
    first = opened.book(make.TCS, Product.MIS)
    with pytest.raises(InsufficientFunds):
        opened.block(second, 1, 100, 1_000_000)

    opened.block(first, 1, 1, 1_000_000)
    opened.block(second, 1, 1, 1_000_000)

    assert [(p.instrument, p.product) for p in opened.positions({})] == [first.key, second.key]
    assert looked_at.rank == 0


def test_funds_and_positions_are_in_rupees_with_two_decimals_or_four():
    opened = ledger("1000.5")
    book = opened.book(make.INFY, Product.MIS)
    opened.block(book, 1, 3, 1_000_001)
    opened.fill(book, 1, 3, 1_000_001, 1_000_001, None, None)

    funds = opened.funds()
    [position] = opened.positions({make.INFY: 1_010_000})

    assert (str(funds.cash), str(funds.blocked), str(funds.bought)) == ("700.4997", "300.0003", "300.0003")
    assert (str(funds.capital), str(funds.realised)) == ("1000.50", "0.00")
    assert (position.average_price, position.unrealised) == make.rupees("100.0001", "2.9997")
    assert opened.unrealised({make.INFY: 1_010_000}) == 29_997


def test_a_fill_returns_what_it_realised():
    opened = bought()
    book = opened.book(make.INFY, Product.CNC)
    opened.block(book, -1, 100, 1_000_000)

    parts = [opened.fill(book, -1, 50, price, 1_000_000, None, None) for price in (1_010_000, 990_000)]

    assert parts == [500_000, -500_000]
    assert opened.realised == 0


@pytest.mark.parametrize(("sign", "costs"), [(1, (2500, 1700, 800, 0)), (-1, (-2500, -1700, -800, 0))])
def test_closing_a_part_takes_its_share_of_the_cost_half_up_to_the_paisa(sign, costs):
    opened = ledger()
    book = opened.book(make.INFY, Product.MIS)
    for units, price in ((1, 500), (2, 1000)):
        opened.block(book, sign, units, price)
        opened.fill(book, sign, units, price, price, None, None)
    seen = [book.cost]

    # A third of 25 paise is 8, half of the 17 that are left 9.
    for _ in range(3):
        opened.block(book, -sign, 1, 1000)
        opened.fill(book, -sign, 1, 1000, 1000, None, None)
        seen.append(book.cost)

    assert tuple(seen) == costs
    assert opened.realised == sign * 500


def test_closing_the_last_unit_takes_fractions_of_a_paisa_along():
    opened = ledger()
    book = opened.book(make.INFY, Product.MIS)
    for sign in (1, -1):
        opened.block(book, sign, 1, 1_000_049)
        opened.fill(book, sign, 1, 1_000_049 + sign, 1_000_049, None, None)

    assert (book.quantity, book.cost, book.realised) == (0, 0, -2)
    assert opened.cash == 100_000 * PRICE_UNITS - 2


def test_an_overdrawn_ledger_still_takes_orders_that_close():
    opened = ledger(100)
    book = opened.book(make.INFY, Product.MIS)
    opened.block(book, 1, 1, 1_000_000)
    opened.fill(book, 1, 1, 1_500_000, 1_000_000, None, None)
    assert opened.cash < 0

    opened.block(book, -1, 1, 1_000_000)

    assert book.sells_units == 1
    with pytest.raises(InsufficientFunds):
        opened.block(book, -1, 1, 1)


def test_charges_go_to_the_tab_of_the_order():
    opened, tab = ledger(charges=ZERODHA), Tab()
    book = opened.book(make.INFY, Product.MIS)
    opened.block(book, 1, 100, 1_000_000)

    for _ in range(2):
        opened.fill(book, 1, 50, 1_000_000, 1_000_000, tab, TODAY)

    assert (tab.trade_date, tab.turnover) == (TODAY, Decimal(10_000))
    assert tab.charges == tab.day_charges.total == opened.funds().charges > 0
    assert type(opened.cash) is int
    opened.check([], order_charges=tab.charges)


def test_charges_that_are_not_rounded_are_exact():
    opened, tab = ledger(charges=UNROUNDED), Tab()
    book = opened.book(make.INFY, Product.MIS)
    opened.block(book, 1, 7, 1_000_300)

    opened.fill(book, 1, 7, 1_000_300, 1_000_300, tab, TODAY)

    assert opened.funds().charges == tab.charges != round(tab.charges, 4)
    assert opened.funds().cash == 100_000 - Decimal("700.21") - tab.charges
    opened.check([], order_charges=tab.charges)


def test_a_charged_fill_without_a_tab_changes_nothing():
    opened = ledger(charges=ZERODHA)
    book = opened.book(make.INFY, Product.MIS)
    opened.block(book, 1, 7, 1_000_000)
    before = opened.state, book.state

    with pytest.raises(AccountError, match="needs the order's tab"):
        opened.fill(book, 1, 7, 1_000_000, 1_000_000, None, None)

    assert (opened.state, book.state) == before


def working_sale(opened: Ledger, units: int = 10, price: int = 1_000_000) -> list[Working]:
    book = opened.book(make.INFY, Product.CNC)
    opened.block(book, -1, units, price)
    return [Working(book, -1, units, price)]


def test_the_check_finds_orders_that_the_ledger_does_not_know_of_and_the_reverse():
    opened = bought()
    sale = working_sale(opened)
    opened.check(sale)
    other = ledger()

    for believed in ([], sale * 2, [sale[0]._replace(price=1)], [sale[0]._replace(sign=1)],
                     [*sale, Working(other.book(make.TCS, Product.CNC), 1, 1, 1)]):  # fmt: skip
        with pytest.raises(OutOfBalance):
            opened.check(believed)


@pytest.mark.parametrize("figure", range(7))
def test_the_check_finds_a_figure_that_is_off_by_the_least(figure):
    opened = bought()
    state: list[Any] = list(opened.state)
    state[figure] += 1
    opened.state = tuple(state)  # what no operation can do

    with pytest.raises(OutOfBalance):
        opened.check([])


@pytest.mark.parametrize("figure", range(4))
def test_the_check_finds_a_book_that_is_off_by_the_least(figure):
    opened = bought()
    book = opened.book(make.INFY, Product.CNC)
    state: list[Any] = list(book.state)
    state[figure] += 1
    book.state = tuple(state)  # what no operation can do

    with pytest.raises(OutOfBalance):
        opened.check([], filled={book.key: 100})


def test_the_check_finds_fills_and_charges_that_are_not_booked():
    opened = bought()
    opened.check([], filled={(make.INFY, Product.CNC): 100}, order_charges=Decimal(0))

    with pytest.raises(OutOfBalance):
        opened.check([], filled={(make.INFY, Product.CNC): 99})
    with pytest.raises(OutOfBalance) as caught:
        opened.check([], order_charges=Decimal("0.01"))

    assert caught.value.details == {"charges": ("0", "0.01")}


# The finest price.


@pytest.mark.parametrize(
    ("field", "operation"),
    [
        ("capital", lambda: make.account(FINEST / 10)),
        (
            "average_price",
            lambda: make.account(
                1, [Holding(instrument=make.INFY, quantity=10, average_price=Decimal("90.00001"))]
            ),
        ),
        ("price", lambda: make.account().block(make.buy("1", price="90.00001"))),
        ("price", lambda: make.account().mark({make.INFY: Decimal("90.00001")})),
    ],
)
def test_amounts_finer_than_a_ten_thousandth_are_refused(field, operation):
    with pytest.raises(AccountError, match=r"in steps of 0\.0001") as caught:
        operation()

    assert caught.value.details["field"] == field


def test_fills_and_changes_finer_than_a_ten_thousandth_change_nothing():
    account = make.account()
    account.block(make.buy("1", price="100.0001"))
    before = account.snapshot()

    with pytest.raises(AccountError, match=r"in steps of 0\.0001"):
        account.apply_fill(make.fill("1", price="100.00001"))
    with pytest.raises(AccountError, match=r"in steps of 0\.0001"):
        account.change("1", price=Decimal("100.00001"))

    assert account.snapshot() == before
    make.trade(account, make.buy("2", 1, FINEST))
    account.check()
