"""What holds whatever is ordered, filled, changed and cancelled."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.account import Account, AccountSettings, Holding, Margin
from pulse_domain.charges import NO_CHARGES, ZERODHA, Segment
from pulse_domain.errors import AccountError, OutOfBalance
from pulse_domain.orders.model import Product, Side
from tests.unit.account import make

PLACES = [
    (make.INFY, Product.CNC),
    (make.INFY, Product.MIS),
    (make.FUTURE, Product.NRML),
    (make.CALL, Product.NRML),
]
MARGINS = {
    (Product.MIS, Segment.INTRADAY): Margin(long=Decimal("0.2"), short=Decimal("0.25")),
    (Product.NRML, Segment.FUTURES): Margin(long=Decimal("0.123"), short=Decimal("0.137")),
}

prices = st.integers(1, 4000).map(lambda ticks: ticks * Decimal("0.05"))
ids = st.integers(0, 7).map(str)
quantities = st.integers(1, 60)
orders = st.builds(
    lambda order_id, place, side, quantity, price: make.order(
        order_id, side, quantity, price, instrument=place[0], product=place[1]
    ),
    ids, st.sampled_from(PLACES), st.sampled_from(Side), quantities, prices,
)  # fmt: skip
steps = st.one_of(
    st.tuples(st.just("block"), orders),
    st.tuples(st.just("block"), orders),
    st.tuples(
        st.just("fill"), st.builds(make.fill, ids, quantities, prices,
                                   st.integers(0, 3).map(lambda days: make.AT + timedelta(days=days))),
    ),
    st.tuples(st.just("change"), st.tuples(ids, st.none() | quantities, st.none() | prices)),
    st.tuples(st.just("release"), ids),
    st.tuples(st.just("mark"), st.dictionaries(st.sampled_from([make.INFY, make.FUTURE]), prices)),
)  # fmt: skip
settings = st.builds(
    AccountSettings,
    margins=st.sampled_from([{}, MARGINS]),
    charges=st.sampled_from([NO_CHARGES, ZERODHA]),
)
stories = st.lists(steps, max_size=40)
HELD = Holding(instrument=make.INFY, quantity=37, average_price=Decimal("801.7812"))


def opened(of: AccountSettings) -> Account:
    account = Account(of)
    account.open(Decimal(20_000), [HELD])
    return account


def take(account: Account, step: tuple[str, Any]) -> None:
    match step:
        case ("block", order):
            account.block(order)
        case ("fill", fill):
            account.apply_fill(fill)
        case ("change", (order_id, quantity, price)):
            account.change(order_id, quantity=quantity, price=price)
        case ("release", order_id):
            account.release(order_id)
        case ("mark", marks):
            account.mark(marks)


def play(account: Account, story: Sequence[tuple[str, Any]]) -> list[str]:
    """What came of each step: refusals are part of the story."""
    heard = []
    for step in story:
        before = account.snapshot()
        try:
            take(account, step)
        except OutOfBalance:
            raise
        except AccountError as refusal:
            assert account.snapshot() == before
            heard.append(str(refusal))
        else:
            heard.append("done")
        account.check()
    return heard


@given(settings, stories)
def test_money_is_conserved_to_the_paisa(of, story):
    account = opened(of)
    opening = account.equity
    flow = Decimal(0)
    quantities = {(make.INFY, Product.CNC): 37}

    for step, outcome in zip(story, play(account, story), strict=True):
        if step[0] == "fill" and outcome == "done":
            order = account.order(step[1].order_id).order
            sign = 1 if order.side is Side.BUY else -1
            key = (order.instrument, order.product)
            quantities[key] = quantities.get(key, 0) + sign * step[1].quantity
            flow -= sign * step[1].quantity * step[1].price

    cost = sum((position.cost for position in account.positions()), Decimal(0))
    assert account.cash + account.blocked == account.funds.capital + account.realised - account.charges
    assert account.realised == flow + cost - HELD.average_price * 37
    assert account.equity == opening + account.realised + account.unrealised - account.charges
    for position in account.positions():
        assert position.quantity == quantities.get((position.instrument, position.product), 0)
        assert (position.cost == 0) == (position.quantity == 0)


@given(settings, stories)
def test_nothing_blocked_is_ever_negative_and_nothing_is_blocked_for_nothing(of, story):
    account = opened(of)

    play(account, story)
    assert account.funds.blocked_for_orders >= 0
    assert account.funds.blocked_in_positions >= 0
    assert all(position.blocked >= 0 for position in account.positions())

    for entry in account.snapshot().orders:
        account.release(entry.order.order_id)
    assert account.funds.blocked_for_orders == 0
    assert account.blocked == sum(position.blocked for position in account.positions())


@given(settings, stories)
def test_delivery_shares_and_bought_options_are_never_sold_short(of, story):
    account = opened(of)

    for step in story:
        play(account, [step])
        assert make.position(account).quantity >= 0
        assert make.position(account, make.CALL, Product.NRML).quantity >= 0


@given(settings, stories)
def test_an_order_is_never_accepted_on_money_that_is_not_there(of, story):
    account = opened(of)

    for step in story:
        before = account.cash
        play(account, [step])
        if step[0] in ("block", "change") and account.cash < before:
            assert account.cash >= 0


@given(settings, stories)
def test_the_same_story_gives_the_same_account(of, story):
    one, other = opened(of), opened(of)

    assert play(one, story) == play(other, story)
    assert one.snapshot() == other.snapshot()
