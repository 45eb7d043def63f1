"""Zerodha as a broker.

Every call is one request in a thread of its own; what its end means is decided in `outcomes`. Orders go out
as variety `regular` and whole: the broker's own slicing is never asked for, as a part of it can fail.

Reason codes of refusals before any call: those of `real_broker`, and NO_PROTECTION_BAND. Those of answers are
in `outcomes`.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

from kiteconnect import KiteConnect

from pulse_adapters.real_broker.broker import RealBroker
from pulse_adapters.real_broker.calls import (
    ORDER_IN_PROCESS,
    ORDER_NOT_FOUND,
    ORDER_NOT_OPEN,
    UNREADABLE_ANSWER,
    Operation,
)
from pulse_adapters.real_broker.lanes import Lane
from pulse_adapters.real_broker.lots import Lots, Units, no_units
from pulse_adapters.real_broker.protection import protected_limit
from pulse_adapters.real_broker.rows import OrderRow, UnreadableRow, read_book
from pulse_adapters.real_broker.tickets import check_ticket, plain_price
from pulse_adapters.zerodha.line import CallFailed, Line
from pulse_adapters.zerodha.outcomes import judge
from pulse_adapters.zerodha.prices import LastPrices
from pulse_adapters.zerodha.protection import band_percent, kind_of
from pulse_adapters.zerodha.reads import ZerodhaReads
from pulse_adapters.zerodha.sessions import BROKER, ZerodhaSessions
from pulse_adapters.zerodha.settings import ZerodhaSettings
from pulse_adapters.zerodha.ticker import Ticker, TickerSettings
from pulse_adapters.zerodha.tickets import LOT_COUNTED, order_fields
from pulse_adapters.zerodha.wire import read_order, read_trade
from pulse_domain.errors import BrokerError, BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import Fill
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType
from pulse_domain.ports.broker import BookRead, BrokerOrder, OrderTicket
from pulse_domain.ports.clock import Clock
from pulse_domain.units import INDIA

T = TypeVar("T")

_VARIETY = "regular"

_is_order_id = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


class ZerodhaBroker(RealBroker[str, OrderRow]):
    """Implements the `Broker` port.

    units: what a lot counts for where the broker counts lots, known from orders that other processes have
        placed; None where no order of ours is in the instrument.
    ticker: its settings, where they are not those that follow from `settings`.

    reads: quotes and the account, for who is to place nothing.
    """

    name = BROKER

    def __init__(
        self,
        settings: ZerodhaSettings,
        sessions: ZerodhaSessions,
        clock: Clock,
        rng: Random,
        *,
        units: Units = no_units,
        ticker: TickerSettings | None = None,
        read_timeout_s: float = 10.0,
    ) -> None:
        super().__init__(
            sessions,
            Ticker(
                ticker or TickerSettings(api_key=settings.api_key, url=settings.ticker_url),
                clock,
                rng,
                current_token=sessions.current,
            ),
            Lots(LOT_COUNTED, units),
            clock,
            secrets=(settings.api_secret, settings.api_key),
            read_timeout_s=read_timeout_s,
        )
        self._protection = settings.market_protection
        self._line = Line(
            api_key=settings.api_key, base_url=settings.base_url, clock=clock, pool_size=settings.pool_size
        )
        self._instruments: dict[BrokerOrderId, Instrument] = {}
        self._prices = LastPrices(self._read_price, clock)
        self.reads = ZerodhaReads(self._read, clock)

    # --- orders

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        deadline = self._clock.monotonic() + timeout_s
        check_ticket(ticket, LOT_COUNTED)
        fields = order_fields(ticket)
        if not ticket.order_type.has_limit:
            fields |= await self._protect(ticket, deadline)

        answer = await self._call(
            Operation.PLACE, Lane.PLACE, lambda kite: kite.place_order(variety=_VARIETY, **fields), deadline
        )
        if not isinstance(answer, str) or not _is_order_id(answer):
            raise BrokerOutcomeUnknown(UNREADABLE_ANSWER, "an answer without an order id", call_ended=True)
        order_id = BrokerOrderId(answer)
        self._instruments[order_id] = ticket.instrument
        self._lots.learn(ticket)
        return order_id

    async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
        _check_id(broker_order_id)
        await self._change(
            Operation.CANCEL,
            lambda kite: kite.cancel_order(variety=_VARIETY, order_id=broker_order_id),
            broker_order_id,
            self._clock.monotonic() + timeout_s,
        )

    async def modify(
        self, broker_order_id: BrokerOrderId, *, quantity: int, limit_price: Decimal | None, timeout_s: float
    ) -> None:
        """A `limit_price` of None leaves the price as it is."""
        deadline = self._clock.monotonic() + timeout_s
        _check_id(broker_order_id)
        instrument = self._instruments.get(broker_order_id)
        if instrument is None:
            instrument = (await self._look_up(broker_order_id, deadline)).instrument
        counted = await self._lots.count(quantity, instrument)
        price = None if limit_price is None else plain_price(limit_price)
        await self._change(
            Operation.MODIFY,
            lambda kite: kite.modify_order(
                variety=_VARIETY, order_id=broker_order_id, quantity=counted, price=price
            ),
            broker_order_id,
            deadline,
        )

    async def _change(
        self, operation: Operation, work: Callable[[Any], Any], order_id: BrokerOrderId, deadline: float
    ) -> None:
        try:
            await self._call(operation, Lane.CHANGE, work, deadline)
        except BrokerRejected as refused:
            if refused.reason_code != ORDER_IN_PROCESS:
                raise
            # The broker says the same of an order that is over and of one that is on its way to the exchange
            # and can be asked about again: nothing was done in either case.
            if await self._has_ended(order_id, deadline):
                raise BrokerRejected(ORDER_NOT_OPEN, refused.message) from refused
            raise BrokerUnavailable(ORDER_IN_PROCESS, refused.message) from refused

    async def _has_ended(self, order_id: BrokerOrderId, deadline: float) -> bool:
        try:
            row = await self._look_up(order_id, deadline)
        except BrokerError:
            return False
        return row.has_ended

    async def _protect(self, ticket: OrderTicket, deadline: float) -> dict[str, Any]:
        """The fields that keep a MARKET or SL-M order from trading at any price."""
        if not self._protection.own_limit:
            return {"market_protection": self._protection.broker_value}
        if ticket.order_type.has_trigger:
            assert ticket.trigger_price is not None, "a stop order has a trigger"
            price, order_type = ticket.trigger_price, OrderType.SL
        else:
            price, order_type = await self._prices.get(ticket.instrument, deadline), OrderType.LIMIT
        today = self._clock.now().astimezone(INDIA).date()
        percent = band_percent(kind_of(ticket.instrument), price, today)
        if percent is None:
            raise BrokerRejected("NO_PROTECTION_BAND", "there is no table of protections for today")
        limit = protected_limit(ticket.side, price, price * percent / 100, ticket.terms.tick_size)
        return {"order_type": order_type.value, "price": plain_price(limit)}

    async def _read(self, work: Callable[[KiteConnect], T]) -> T:
        return await self._call(Operation.READ, Lane.READ, work, self._read_by())

    async def _read_price(self, key: str, deadline: float) -> object:
        return await self._call(Operation.READ, Lane.READ, lambda kite: kite.ltp(key), deadline)

    # --- reading

    async def order_book(self) -> BookRead:
        # What is not in the book is looked up where it is asked for.
        self._instruments.clear()
        return await super().order_book()

    async def _read_book(self, deadline: float) -> tuple[list[OrderRow], dict[str, str]]:
        return await self._call(
            Operation.READ,
            Lane.READ,
            lambda kite: read_book(_rows(kite.orders()), read_order, "order_id"),
            deadline,
        )

    async def trades(self, broker_order_id: BrokerOrderId) -> tuple[Fill, ...]:
        if not _is_order_id(broker_order_id):
            return ()
        try:
            answer = await self._call(
                Operation.READ, Lane.READ, lambda kite: kite.order_trades(broker_order_id), self._read_by()
            )
            trades = [read_trade(row) for row in _rows(answer)]
            return tuple([trade.in_units(await self._lots.of_row(trade)) for trade in trades])
        except UnreadableRow as error:
            raise BrokerUnavailable(UNREADABLE_ANSWER, f"a trade cannot be read: {error}") from error

    async def _look_up(self, order_id: BrokerOrderId, deadline: float) -> OrderRow:
        """The latest state of an order. Raises: BrokerRejected: there is no such order."""
        answer = await self._call(
            Operation.LOOK_UP, Lane.READ, lambda kite: kite.order_history(order_id), deadline
        )
        try:
            if history := _rows(answer):
                return read_order(history[-1])
            raise BrokerRejected(ORDER_NOT_FOUND, f"there is no order {order_id}")
        except UnreadableRow as error:
            raise BrokerUnavailable(UNREADABLE_ANSWER, f"an order cannot be read: {error}") from error

    def _read_order(self, row: object) -> OrderRow:
        return read_order(row)

    async def _to_order(self, row: OrderRow) -> BrokerOrder | None:
        if row.instrument is not None:
            self._instruments[row.order_id] = row.instrument
        return await super()._to_order(row)

    # --- the line

    async def _call(
        self, operation: Operation, lane: Lane, work: Callable[[KiteConnect], T], deadline: float
    ) -> T:
        token = await self._session(deadline)
        try:
            return await self._line.run(lane, work, token=token, timeout_s=self._left_s(deadline))
        except CallFailed as failed:
            raise self._failed(judge(operation, failed.ending), token) from failed

    def _secrets_of(self, session: str) -> tuple[str, ...]:
        return (session,)

    async def close(self) -> None:
        await super().close()
        await self._line.close()


def _check_id(order_id: BrokerOrderId) -> None:
    # It becomes a part of a path.
    if not _is_order_id(order_id):
        raise BrokerRejected(ORDER_NOT_FOUND, "that is no order id")


def _rows(answer: object) -> list[Any]:
    if not isinstance(answer, list):
        raise UnreadableRow(f"a list was expected, not {type(answer).__name__}")
    return answer
