"""A failure at any line of an operation leaves the account as it was, and the operation can be repeated."""

import sys
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from types import FrameType
from typing import Any

import pytest

from pulse_domain.account import Account, AccountSettings, Book, Holding, Ledger, Tab
from pulse_domain.charges import ZERODHA
from pulse_domain.errors import ChargesUnknown
from pulse_domain.orders.model import Product
from tests.unit.account import make

OURS = ("pulse_domain/account/", "pulse_domain/charges.py")


class Broken(Exception):
    """The failure put in."""


def break_at(step: int, operation: Callable[[], object]) -> bool:
    """Run the operation and raise at its n-th line in our code; whether it got that far."""
    seen = 0

    def on_line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal seen
        if event == "line":
            seen += 1
            if seen == step:
                raise Broken
        return on_line

    def on_call(frame: FrameType, event: str, argument: Any) -> Any:
        return on_line if any(part in frame.f_code.co_filename for part in OURS) else None

    before = sys.gettrace()
    sys.settrace(on_call)
    try:
        operation()
    except Broken:
        return True
    finally:
        sys.settrace(before)
    return False


def prepared() -> Account:
    account = make.account(100_000, charges=ZERODHA)
    make.trade(account, make.buy("bought"))
    account.block(make.buy("resting", 50, 99, product=Product.MIS))
    account.block(make.sell("selling", 60, 105))
    account.mark({make.INFY: Decimal(101)})
    return account


OPERATIONS: dict[str, Callable[[Account], None]] = {
    "block": lambda account: account.block(make.buy("new")),
    "change": lambda account: account.change("resting", quantity=70, price=Decimal(98)),
    "release": lambda account: account.release("selling"),
    "fill": lambda account: account.apply_fill(make.fill("selling", 40, 106)),
    "first fill": lambda account: account.apply_fill(make.fill("resting", 50, 98)),
    "charge": lambda account: account.charge(Decimal(1)),
    "mark": lambda account: account.mark({make.INFY: Decimal(50), make.TCS: Decimal(7)}),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_failure_at_any_point_changes_nothing_and_can_be_retried(name):
    operation = OPERATIONS[name]
    untouched = prepared().snapshot()
    done = prepared()
    operation(done)
    step = 1

    while True:
        account = prepared()
        if not break_at(step, partial(operation, account)):
            break
        assert account.snapshot() == untouched, f"at line {step}"
        account.check()
        operation(account)
        assert account.snapshot() == done.snapshot(), f"at line {step}"
        step += 1

    assert step > 3
    assert untouched != done.snapshot()


def test_an_opening_that_fails_can_be_repeated():
    held = [Holding(instrument=make.INFY, quantity=10, average_price=Decimal(90))]
    step = 1

    while True:
        account = Account(AccountSettings())
        if not break_at(step, partial(account.open, Decimal(1000), held)):
            break
        assert account.equity == 0
        account.open(Decimal(1000), held)
        assert account.equity == 1900
        step += 1

    assert step > 10


def test_a_fill_whose_charges_are_not_known_changes_nothing():
    account = make.account(charges=ZERODHA)
    account.block(make.buy("1"))
    before = account.snapshot()

    with pytest.raises(ChargesUnknown):
        account.apply_fill(make.fill("1", at=make.AT.replace(year=2020)))
    assert account.snapshot() == before

    account.apply_fill(make.fill("1"))
    account.check()


def opened_ledger() -> tuple[Ledger, Tab]:
    """Long 100 shares, of which 60 are on sale and 20 have been sold by another order today."""
    ledger, tab = Ledger(AccountSettings(charges=ZERODHA)), Tab()
    ledger.open(Decimal(100_000))
    book = ledger.book(make.INFY, Product.CNC)
    ledger.block(book, 1, 120, 1_000_000)
    ledger.fill(book, 1, 120, 1_000_000, 1_000_000, Tab(), make.AT.date())
    ledger.block(book, -1, 20, 1_010_000)
    ledger.fill(book, -1, 20, 1_010_000, 1_010_000, Tab(), make.AT.date())
    ledger.block(book, -1, 60, 1_050_000)
    ledger.book(make.TCS, Product.MIS)
    return ledger, tab


def seen_of(ledger: Ledger, tab: Tab) -> tuple[object, ...]:
    books = [(key, book.rank, book.state) for key, book in ledger.books.items()]
    return ledger.state, ledger.other_charges, books, tab.state


def infy(ledger: Ledger) -> Book:
    return ledger.book(make.INFY, Product.CNC)


LEDGER_OPERATIONS: dict[str, Callable[[Ledger, Tab], object]] = {
    "block": lambda ledger, tab: ledger.block(infy(ledger), -1, 40, 1_060_000),
    "first block": lambda ledger, tab: ledger.block(ledger.book(make.TCS, Product.MIS), 1, 5, 1_000_000),
    "release": lambda ledger, tab: ledger.release(infy(ledger), -1, 60, 1_050_000),
    "fill": lambda ledger, tab: ledger.fill(infy(ledger), -1, 30, 1_055_000, 1_050_000, tab, make.AT.date()),
    "charge": lambda ledger, tab: ledger.charge(Decimal("0.25")),
}


@pytest.mark.parametrize("name", LEDGER_OPERATIONS)
def test_a_failure_at_any_point_of_the_ledger_comes_before_everything_or_after_it(name):
    operation = LEDGER_OPERATIONS[name]
    untouched = seen_of(*opened_ledger())
    ledger, tab = opened_ledger()
    operation(ledger, tab)
    done = seen_of(ledger, tab)
    after, step = 0, 1

    while True:
        ledger, tab = opened_ledger()
        if not break_at(step, partial(operation, ledger, tab)):
            break
        if seen_of(ledger, tab) == done:
            after += 1
        else:
            assert seen_of(ledger, tab) == untouched, f"at line {step}"
            assert not after
            operation(ledger, tab)
            assert seen_of(ledger, tab) == done, f"at line {step}"
        step += 1

    assert step > 3
    assert untouched != done
    assert after == (name == "fill")  # it has its result to return still
