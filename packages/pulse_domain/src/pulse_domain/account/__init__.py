"""Money and positions: what an order blocks, what a fill does, and the proof that nothing is lost."""

from pulse_domain.account.account import Account
from pulse_domain.account.book import Book, Working
from pulse_domain.account.ledger import Ledger
from pulse_domain.account.tab import Tab
from pulse_domain.account.values import (
    AccountOrder,
    AccountSettings,
    AccountSnapshot,
    Contract,
    Funds,
    Holding,
    Margin,
    OrderEntry,
    Position,
    refusal_code,
)

__all__ = [
    "Account",
    "AccountOrder",
    "AccountSettings",
    "AccountSnapshot",
    "Book",
    "Contract",
    "Funds",
    "Holding",
    "Ledger",
    "Margin",
    "OrderEntry",
    "Position",
    "Tab",
    "Working",
    "refusal_code",
]
