"""Quantities, averages and results; what may be sold."""

from decimal import Decimal

import pytest

from pulse_domain.account import Account, Contract, Holding
from pulse_domain.charges import Segment
from pulse_domain.errors import AccountError, InsufficientHoldings
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Product
from tests.unit.account import make

HELD = Holding(instrument=make.INFY, quantity=100, average_price=Decimal("90.50"))


def test_the_average_of_two_buys_is_volume_weighted():
    account = make.account()

    make.trade(account, make.buy("1", 100, 100))
    make.trade(account, make.buy("2", 300, 104))

    assert make.position(account).average_price == 103


def test_a_sale_keeps_the_average_and_realises_its_part():
    account = make.account()
    make.trade(account, make.buy("1", 100, 100))

    make.trade(account, make.sell("2", 40, 110))

    position = make.position(account)
    assert position.quantity == 60
    assert (position.average_price, position.realised) == make.rupees(100, 400)
    assert (account.realised, account.cash) == make.rupees(400, 94_400)


def test_parts_of_an_average_off_the_paisa_add_up():
    account = make.account()
    make.trade(account, make.buy("1", 1, "0.05"))
    make.trade(account, make.buy("2", 2, "0.10"))

    for order_id in ("3", "4", "5"):
        make.trade(account, make.sell(order_id, 1, "0.10"))
        account.check()

    assert (account.realised, account.cash, account.blocked) == make.rupees("0.05", "100000.05", 0)


def test_a_sale_through_zero_realises_the_long_part_and_opens_the_rest_short():
    account = make.account()
    make.trade(account, make.buy("1", 100, 100, product=Product.MIS))

    make.trade(account, make.sell("2", 150, 110, product=Product.MIS))

    position = make.position(account, product=Product.MIS)
    assert position.quantity == -50
    assert (position.average_price, position.realised) == make.rupees(110, 1_000)
    assert (account.blocked, account.cash) == make.rupees(5_500, 95_500)
    account.check()


def test_a_buy_through_zero_realises_the_short_part_and_opens_the_rest_long():
    account = make.account()
    make.trade(account, make.sell("1", 100, 110, product=Product.MIS))

    make.trade(account, make.buy("2", 150, 100, product=Product.MIS))

    position = make.position(account, product=Product.MIS)
    assert position.quantity == 50
    assert (position.average_price, position.realised) == make.rupees(100, 1_000)
    account.check()


def test_open_positions_are_valued_at_their_marks():
    account = make.account()
    make.trade(account, make.buy("1", 100, 100))
    make.trade(account, make.sell("2", 10, 200, instrument=make.TCS, product=Product.MIS))
    unmarked = account.unrealised

    account.mark({make.INFY: Decimal(103), make.TCS: Decimal(210)})

    assert unmarked == 0
    assert make.position(account).unrealised == 300
    assert make.position(account, make.TCS, Product.MIS).unrealised == -100
    assert (account.unrealised, account.equity, account.realised) == make.rupees(200, 100_200, 0)


def test_marks_change_no_money():
    account = make.account()
    make.trade(account, make.buy("1", 100, 100))
    funds = account.funds

    account.mark({make.INFY: Decimal(1)})

    assert account.funds == funds


def test_a_refused_mark_changes_no_mark():
    account = make.account()
    make.trade(account, make.buy("1", 100, 100))

    with pytest.raises(AccountError, match="above 0"):
        account.mark({make.INFY: Decimal(103), make.TCS: Decimal("NaN")})

    assert account.unrealised == 0


def test_products_have_positions_of_their_own():
    account = make.account()
    make.trade(account, make.buy("1", 100, 100))

    make.trade(account, make.sell("2", 100, 100, product=Product.MIS))

    assert [position.quantity for position in account.positions()] == [100, -100]


def test_a_delivery_sale_without_shares_is_refused_and_changes_nothing():
    account = make.account()
    before = account.snapshot()

    with pytest.raises(InsufficientHoldings, match="100 shares to sell and 0 are held") as caught:
        account.block(make.sell("1"))

    assert (caught.value.required, caught.value.available) == (100, 0)
    assert account.snapshot() == before


def test_an_intraday_position_is_no_holding():
    account = make.account()
    make.trade(account, make.buy("1", 100, 100, product=Product.MIS))

    with pytest.raises(InsufficientHoldings):
        account.block(make.sell("2", 1))


def test_a_delivery_sale_up_to_position_and_holdings_is_accepted():
    account = make.account(holdings=[HELD])
    make.trade(account, make.buy("1", 50, 100))

    with pytest.raises(InsufficientHoldings):
        account.block(make.sell("2", 151))
    make.trade(account, make.sell("3", 150, 110))

    assert make.position(account).quantity == 0
    assert account.cash == account.equity == 100_000 - 5_000 + 16_500


def test_the_same_shares_cannot_be_sold_twice_in_a_day():
    account = make.account(holdings=[HELD])
    make.trade(account, make.sell("1", 60, 100))

    with pytest.raises(InsufficientHoldings) as caught:
        account.block(make.sell("2", 60))

    assert caught.value.available == 40


def test_the_same_shares_cannot_be_on_sale_twice():
    account = make.account(holdings=[HELD])
    account.block(make.sell("1", 60, 120))

    with pytest.raises(InsufficientHoldings):
        account.block(make.sell("2", 60, 130))
    account.release("1")
    account.block(make.sell("3", 100, 130))

    assert account.blocked == make.position(account).cost


def test_a_resting_buy_is_not_sellable():
    account = make.account()
    account.block(make.buy("1", 100))

    with pytest.raises(InsufficientHoldings):
        account.block(make.sell("2", 1))


def test_a_change_of_a_delivery_sale_asks_for_shares_too():
    account = make.account(holdings=[HELD])
    account.block(make.sell("1", 100))
    before = account.snapshot()

    with pytest.raises(InsufficientHoldings):
        account.change("1", quantity=101)

    assert account.snapshot() == before


def test_an_intraday_short_sale_is_allowed():
    account = make.account()

    make.trade(account, make.sell("1", 100, 100, product=Product.MIS))

    assert make.position(account, product=Product.MIS).quantity == -100
    assert (account.cash, account.blocked) == make.rupees(90_000, 10_000)


def test_holdings_are_part_of_the_capital():
    account = make.account(holdings=[HELD])

    assert account.funds.capital == account.equity == 109_050
    assert (account.cash, account.blocked) == make.rupees(100_000, 9_050)
    assert make.position(account).average_price == Decimal("90.5")
    account.check()


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (make.buy("1", 0), "quantity must be a positive"),
        (make.buy("1", -5), "quantity must be a positive"),
        (make.buy("1", price="NaN"), "price must be a decimal above 0"),
        (make.buy("1", price="Infinity"), "price must be a decimal above 0"),
        (make.buy("1", price=0), "price must be a decimal above 0"),
        (make.buy("known"), "known to the account already"),
        (make.buy("1", product=Product.NRML), "NRML is not for NSE"),
        (make.buy("1", instrument=make.FUTURE), "CNC is not for NFO"),
    ],
)
def test_an_order_that_is_not_usable_changes_nothing(order, message):
    account = make.account()
    account.block(make.buy("known"))
    before = account.snapshot()

    with pytest.raises(AccountError, match=message):
        account.block(order)

    assert account.snapshot() == before


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (make.fill("unheard of"), "not known"),
        (make.fill("cancelled"), "no longer works"),
        (make.fill("filled"), "no longer works"),
        (make.fill("working", 101), "100 of order working remain"),
        (make.fill("working", 0), "quantity must be a positive"),
        (make.fill("working", price=0), "price must be a decimal above 0"),
        (make.fill("working", at=make.AT.replace(tzinfo=None)), "UTC offset"),
    ],
)
def test_a_fill_that_is_not_usable_changes_nothing(fill, message):
    account = make.account()
    for order_id in ("working", "cancelled", "filled"):
        account.block(make.buy(order_id))
    account.release("cancelled")
    account.apply_fill(make.fill("filled"))
    before = account.snapshot()

    with pytest.raises(AccountError, match=message):
        account.apply_fill(fill)

    assert account.snapshot() == before


def test_an_order_the_account_has_not_heard_of_cannot_be_released():
    with pytest.raises(AccountError, match="not known"):
        make.account().release("1")


def test_an_account_takes_orders_only_when_opened():
    with pytest.raises(AccountError, match="not been opened"):
        Account().block(make.buy("1"))


@pytest.mark.parametrize(
    ("capital", "holdings", "message"),
    [
        (Decimal(-1), [], "0 or above"),
        (Decimal("NaN"), [], "0 or above"),
        (Decimal(1), [HELD, HELD], "held twice"),
        (
            Decimal(1),
            [Holding(instrument=make.FUTURE, quantity=75, average_price=Decimal(1))],
            "CNC is not for NFO",
        ),
    ],
)
def test_an_account_that_cannot_be_opened_stays_closed(capital, holdings, message):
    account = Account()

    with pytest.raises(AccountError, match=message):
        account.open(capital, holdings)
    account.open(Decimal(5))

    assert account.cash == account.equity == 5


def test_a_future_of_another_name_is_told_apart_by_its_contract():
    continuous = Instrument.parse("NFO:NIFTY1!")
    account = make.account(10_000_000, contracts={continuous: Contract(segment=Segment.FUTURES)})

    make.trade(account, make.sell("1", 75, 25_000, instrument=continuous, product=Product.NRML))

    assert account.blocked == 75 * 25_000
