"""The money side of the virtual exchange: the domain's account, told of every order and fill."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal

from msgspec.structs import replace

from pulse_domain.account import Account, AccountOrder, refusal_code
from pulse_domain.account.book import book_of
from pulse_domain.charges import charges_on
from pulse_domain.errors import AccountError, BrokerRejected, ChargesUnknown, InvalidInstrument, InvalidPrice
from pulse_domain.matching import Cancelled, Filled, Result
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.ports.broker import OrderTicket
from pulse_domain.units import INDIA, to_units


class Money:
    """Without an account nothing is blocked, charged or refused."""

    def __init__(self, account: Account | None) -> None:
        self.account = account

    def block(self, order_id: BrokerOrderId, ticket: OrderTicket, last_price: Decimal, now: datetime) -> None:
        """Set aside what an order needs: at its limit, its trigger, or else the last price.

        Raises:
            BrokerRejected: there is not enough, or the order is none that the account can have.
        """
        if self.account is None:
            return
        order = AccountOrder(
            order_id=order_id,
            instrument=ticket.instrument,
            side=ticket.side,
            quantity=ticket.quantity,
            product=ticket.product,
            price=ticket.limit_price or ticket.trigger_price or last_price,
        )
        try:
            self._check_charged(order, now)
            self.account.block(order)
        except AccountError as refused:
            raise _refusal(refused) from refused
        except ChargesUnknown as unknown:
            raise BrokerRejected("CHARGES_UNKNOWN", unknown.message) from unknown
        except InvalidInstrument as unclear:
            raise BrokerRejected("INVALID_ORDER", unclear.message) from unclear

    @contextmanager
    def changed(self, order_id: BrokerOrderId, quantity: int, price: Decimal | None) -> Iterator[None]:
        """Block for other terms of a working order, unless the body raises; a price of None stays as it is.

        Raises:
            BrokerRejected: as for `block`; nothing has changed.
        """
        if self.account is None:
            yield
            return
        before = self.account.order(order_id).order
        try:
            self.account.change(order_id, quantity=quantity, price=price)
        except AccountError as refused:
            raise _refusal(refused) from refused
        try:
            yield
        except BaseException:
            self.account.change(order_id, quantity=before.quantity, price=before.price)
            raise

    def settle(self, results: Iterable[Result], now: datetime) -> None:
        """Book what the engine says; a fill is of the day on which it happened here."""
        if self.account is None:
            return
        for result in results:
            match result:
                case Filled():
                    self.account.apply_fill(replace(result, at=now))
                case Cancelled():
                    self.account.release(result.order_id)
                case _:
                    pass

    def can_count(self, *prices: Decimal | None) -> bool:
        """Whether fills at these prices could be booked."""
        if self.account is None:
            return True
        try:
            for price in prices:
                if price is not None:
                    to_units(price)
        except InvalidPrice:
            return False
        return True

    def _check_charged(self, order: AccountOrder, now: datetime) -> None:
        """A fill must not be without rates, so the order is asked about them before it is taken."""
        assert self.account is not None
        book = book_of(self.account.settings, order.instrument, order.product)
        charges_on(
            Decimal(0), instrument=order.instrument, segment=book.segment, side=order.side,
            trade_date=now.astimezone(INDIA).date(), schedule=self.account.settings.charges,
        )  # fmt: skip


def _refusal(error: AccountError) -> BrokerRejected:
    is_unusable = error.details.get("field") in ("quantity", "price")
    return BrokerRejected("INVALID_ORDER" if is_unusable else refusal_code(error), error.message)
