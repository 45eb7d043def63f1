"""What orders block and what comes back."""

import asyncio
from decimal import Decimal

import pytest

from pulse_domain.account import Contract, Holding, Margin
from pulse_domain.charges import ZERODHA, Segment, charges_of
from pulse_domain.errors import AccountError, InsufficientFunds, OutOfBalance
from pulse_domain.instruments import Instrument
from pulse_domain.orders.model import Product, Side
from tests.unit.account import make

FIFTH = {(Product.MIS, Segment.INTRADAY): Margin(long=Decimal("0.2"), short=Decimal("0.2"))}


def test_a_new_account_starts_with_the_configured_capital():
    account = make.account(100_000)

    assert (account.cash, account.blocked, account.equity) == make.rupees(100_000, 0, 100_000)


def test_initialising_twice_adds_no_money():
    account = make.account(100_000)
    make.trade(account, make.buy("1"))
    before = account.snapshot()

    account.open(Decimal(100_000), [Holding(instrument=make.TCS, quantity=5, average_price=Decimal(10))])

    assert account.snapshot() == before


def test_blocking_more_than_available_is_refused_and_changes_nothing():
    account = make.account(9_999)
    before = account.snapshot()

    with pytest.raises(InsufficientFunds, match="needs 10000 and 9999 is available") as caught:
        account.block(make.buy("1"))

    assert (caught.value.required, caught.value.available) == make.rupees(10_000, 9_999)
    assert account.snapshot() == before


def test_the_last_rupee_can_be_blocked():
    account = make.account(10_000)

    account.block(make.buy("1"))

    assert (account.cash, account.blocked) == make.rupees(0, 10_000)


def test_a_refused_order_can_be_sent_again_when_there_is_money():
    account = make.account(10_000)
    account.block(make.buy("other"))
    with pytest.raises(InsufficientFunds):
        account.block(make.buy("1"))
    account.release("other")

    account.block(make.buy("1"))

    assert account.blocked == 10_000


def test_buy_100_sell_50_sell_50_blocks_full_half_and_zero():
    account = make.account()
    blocked = []

    for asked in (make.buy("1", 100), make.sell("2", 50), make.sell("3", 50)):
        make.trade(account, asked)
        blocked.append(account.blocked)

    assert blocked == [10_000, 5_000, 0]


def test_a_margin_of_a_fifth_blocks_a_fifth():
    account = make.account(margins=FIFTH)
    blocked = []

    for asked in (make.buy("1", 100), make.sell("2", 50), make.sell("3", 50)):
        make.trade(account, make.order("i" + asked.order_id, asked.side, asked.quantity, 100,
                                       product=Product.MIS))  # fmt: skip
        blocked.append(account.blocked)

    assert blocked == [2_000, 1_000, 0]


def test_delivery_blocks_the_full_value_whatever_the_margins_say():
    account = make.account(margins={(Product.CNC, Segment.DELIVERY): Margin(long=Decimal("0.2"))})

    account.block(make.buy("1"))

    assert account.blocked == 10_000


def test_margin_is_rounded_up_to_the_paisa():
    account = make.account(margins=FIFTH)

    account.block(make.buy("1", 1, "100.01", product=Product.MIS))

    assert account.blocked == Decimal("20.01")


def test_margin_of_a_resting_order_survives_an_unrelated_fill():
    account = make.account()
    account.block(make.buy("resting", 10, 90))

    make.trade(account, make.buy("same share", 10, 100))
    make.trade(account, make.buy("other share", 10, 100, instrument=make.TCS))
    make.trade(account, make.sell("sold again", 10, 100))

    assert account.funds.blocked_for_orders == 900
    account.check()


def test_a_cancel_returns_the_margin_exactly_once():
    account = make.account()
    account.block(make.buy("1"))

    account.release("1")
    account.release("1")

    assert (account.cash, account.blocked) == make.rupees(100_000, 0)


def test_a_cancel_after_a_partial_fill_returns_what_the_rest_blocked():
    account = make.account()
    account.block(make.buy("1", 100, 100))
    account.apply_fill(make.fill("1", 30, 99))

    account.release("1")

    assert account.funds.blocked_for_orders == 0
    assert account.funds.blocked_in_positions == 2_970
    assert account.cash == 100_000 - 2_970
    assert account.order("1").filled == 30


def test_a_fill_below_the_limit_returns_the_difference():
    account = make.account()

    make.trade(account, make.buy("1", 100, 100), price=98)

    assert (account.cash, account.blocked) == make.rupees(90_200, 9_800)


def test_a_fill_above_the_blocked_price_is_booked_though_it_overdraws():
    account = make.account(10_000)

    make.trade(account, make.buy("1", 100, 100), price=101)

    assert (account.cash, account.blocked) == make.rupees(-100, 10_100)
    with pytest.raises(InsufficientFunds):
        account.block(make.buy("2", 1, 1))


def test_a_position_can_be_closed_without_any_cash():
    account = make.account(10_000)
    make.trade(account, make.buy("1", 100, 100, product=Product.MIS))

    account.block(make.sell("2", 100, 90, product=Product.MIS))

    assert (account.cash, account.funds.blocked_for_orders) == make.rupees(0, 0)


def test_only_what_an_order_opens_is_blocked():
    account = make.account()
    make.trade(account, make.buy("1", 100, 100, product=Product.MIS))

    account.block(make.sell("2", 150, 100, product=Product.MIS))

    assert account.funds.blocked_for_orders == 5_000


def test_two_orders_cannot_both_count_on_closing_the_same_units():
    account = make.account(15_000)
    make.trade(account, make.buy("1", 100, 100, product=Product.MIS))
    account.block(make.sell("2", 100, 100, product=Product.MIS))

    with pytest.raises(InsufficientFunds):
        account.block(make.sell("3", 100, 100, product=Product.MIS))
    account.block(make.sell("4", 50, 100, product=Product.MIS))

    assert account.funds.blocked_for_orders == 5_000


def test_an_order_that_loses_what_it_was_to_close_is_still_covered():
    account = make.account(15_000)
    make.trade(account, make.buy("1", 100, 100, product=Product.MIS))
    account.block(make.sell("closing", 100, 100, product=Product.MIS))
    account.block(make.sell("opening", 50, 100, product=Product.MIS))

    account.apply_fill(make.fill("opening", 50))
    account.apply_fill(make.fill("closing", 100))

    assert make.position(account, product=Product.MIS).quantity == -50
    assert (account.cash, account.blocked) == make.rupees(10_000, 5_000)


def test_two_simultaneous_placements_reserve_exactly_once_each():
    account = make.account(25_000)

    async def place(order_id: str) -> str:
        await asyncio.sleep(0)
        try:
            account.block(make.buy(order_id))
        except (InsufficientFunds, AccountError) as error:
            return type(error).__name__
        return "blocked"

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*map(place, ["1", "2", "1", "3"]))

    assert asyncio.run(all_at_once()) == ["blocked", "blocked", "AccountError", "InsufficientFunds"]
    assert (account.cash, account.blocked) == make.rupees(5_000, 20_000)


def test_a_change_blocks_the_difference():
    account = make.account(10_000)
    account.block(make.buy("1", 50, 100))

    account.change("1", quantity=80)
    grown = account.blocked
    account.change("1", price=Decimal(50))

    assert (grown, account.blocked, account.cash) == make.rupees(8_000, 4_000, 6_000)


def test_a_refused_change_leaves_the_order_as_it_was():
    account = make.account(10_000)
    account.block(make.buy("1", 50, 100))
    before = account.snapshot()

    with pytest.raises(InsufficientFunds):
        account.change("1", quantity=101)

    assert account.snapshot() == before


def test_a_change_counts_what_has_filled():
    account = make.account()
    account.block(make.buy("1", 100, 100))
    account.apply_fill(make.fill("1", 60))

    account.change("1", quantity=70)
    with pytest.raises(AccountError, match="60 of order 1 have filled already"):
        account.change("1", quantity=60)

    assert account.order("1").remaining == 10
    assert account.funds.blocked_for_orders == 1_000


def test_the_multiplier_counts_in_margin_and_result():
    crude = Instrument.parse("MCX:CRUDEOIL26NOVFUT")
    account = make.account(
        1_000_000,
        contracts={crude: Contract(multiplier=100)},
        margins={(Product.NRML, Segment.FUTURES): Margin(long=Decimal("0.1"), short=Decimal("0.1"))},
    )

    make.trade(account, make.buy("1", 2, 6000, instrument=crude, product=Product.NRML))
    account.mark({crude: Decimal(6010)})
    unrealised = account.unrealised
    make.trade(account, make.sell("2", 2, 6010, instrument=crude, product=Product.NRML))

    assert unrealised == 2_000
    assert account.realised == 2_000
    assert account.cash == 1_002_000


def test_writing_options_needs_a_margin_that_is_set():
    with pytest.raises(AccountError, match="no margin is set for selling OPTIONS short"):
        make.account().block(make.sell("1", 75, 10, instrument=make.CALL, product=Product.NRML))

    margins = {(Product.NRML, Segment.OPTIONS): Margin(short=Decimal(10))}
    account = make.account(margins=margins)
    account.block(make.sell("1", 75, 10, instrument=make.CALL, product=Product.NRML))

    assert account.blocked == 7_500


def test_a_bought_option_can_be_sold_without_that_margin():
    account = make.account()
    make.trade(account, make.buy("1", 75, 10, instrument=make.CALL, product=Product.NRML))

    make.trade(account, make.sell("2", 75, 12, instrument=make.CALL, product=Product.NRML))

    assert (account.cash, account.realised) == make.rupees(100_150, 150)


def test_charges_are_of_the_order_however_many_fills_it_takes():
    account = make.account(10_000_000, charges=ZERODHA)
    account.block(make.buy("1", 300, 1000, product=Product.MIS))
    fills = [make.fill("1", 100, price) for price in (1000, 999, 998)]

    for fill in fills:
        account.apply_fill(fill)

    expected = charges_of(
        fills, instrument=make.INFY, segment=Segment.INTRADAY, side=Side.BUY,
        trade_date=make.AT.date(), schedule=ZERODHA,
    )  # fmt: skip
    assert account.order("1").day_charges == expected
    assert account.charges == expected.total
    assert account.cash == 10_000_000 - 299_700 - expected.total
    account.check()


def test_the_trade_date_is_that_of_india():
    account = make.account(charges=ZERODHA)

    make.trade(account, make.buy("1"), at=make.AT.replace(hour=20))

    entry = account.order("1")
    assert entry.trade_date is not None
    assert entry.trade_date.isoformat() == "2026-11-03"


def test_the_depository_is_paid_once_per_share_and_day():
    account = make.account(charges=ZERODHA)
    make.trade(account, make.buy("1"))
    fees = []

    for order_id, day in (("2", 2), ("3", 2), ("4", 3)):
        make.trade(account, make.sell(order_id, 10), at=make.AT.replace(day=day))
        fees.append(account.order(order_id).day_charges.depository_fee)

    assert fees == [Decimal("15.34"), 0, Decimal("15.34")]


def test_the_depository_stays_paid_on_its_day_whatever_sells_next():
    account = make.account(charges=ZERODHA)
    make.trade(account, make.buy("1"))
    account.block(make.sell("2", 20))
    account.apply_fill(make.fill("2", 10))
    account.apply_fill(make.fill("2", 10))

    for order_id in ("3", "4"):
        make.trade(account, make.sell(order_id, 10))

    fees = [account.order(order_id).day_charges.depository_fee for order_id in ("2", "3", "4")]
    assert fees == [Decimal("15.34"), 0, 0]
    account.check()


def test_an_overdrawn_account_can_still_make_an_order_smaller():
    account = make.account(10_000)
    account.block(make.buy("resting", 10, 100))
    make.trade(account, make.buy("1", 90, 100), price=110)
    assert account.cash < 0

    account.change("resting", quantity=9)

    assert account.cash == -800


def test_charges_of_an_order_over_two_days_are_of_each_day():
    account = make.account(10_000_000, charges=ZERODHA)
    account.block(make.buy("1", 200, 1000, product=Product.MIS))

    account.apply_fill(make.fill("1", 100, 1000))
    one_day = account.charges
    account.apply_fill(make.fill("1", 100, 1000, at=make.AT.replace(day=3)))

    assert account.charges == 2 * one_day
    account.check()


def test_charges_outside_of_orders_are_booked_and_come_back():
    account = make.account()

    account.charge(Decimal("0.25"))
    account.charge(Decimal("-0.10"))

    assert (account.cash, account.charges) == (Decimal("99999.85"), Decimal("0.15"))
    account.check()


def test_the_check_finds_money_from_nowhere():
    account = make.account()
    make.trade(account, make.buy("1"))
    other = make.account(charges=ZERODHA)
    make.trade(other, make.buy("1"))
    account._orders = other._orders  # what no operation can do

    with pytest.raises(OutOfBalance) as caught:
        account.check()

    assert caught.value.details == {"charges": ("0", str(other.charges))}
