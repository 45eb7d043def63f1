"""Kotak as a broker.

Every call is one request in a thread of its own; what its end means is decided in `outcomes`.

Reason codes of refusals before any call are in `tickets`, and SYMBOL_UNKNOWN and UNITS_UNKNOWN; those of
answers in `outcomes`.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from random import Random
from typing import Any

from pulse_adapters.kotak.feed import FeedSettings, OrderFeed
from pulse_adapters.kotak.line import Line
from pulse_adapters.kotak.outcomes import Answer, judge, order_number, rows_of
from pulse_adapters.kotak.reads import KotakReads, Tokens
from pulse_adapters.kotak.sdk import NeoClient
from pulse_adapters.kotak.sessions import BROKER, KotakSessions, NeoSession
from pulse_adapters.kotak.settings import KotakSettings
from pulse_adapters.kotak.tickets import LOT_COUNTED, check_ticket, order_fields
from pulse_adapters.kotak.wire import NeoOrder, read_order, read_trade, trade_order_id
from pulse_adapters.real_broker.broker import RealBroker
from pulse_adapters.real_broker.calls import (
    DEADLINE_PASSED,
    INVALID_INPUT,
    ORDER_IN_PROCESS,
    ORDER_NOT_FOUND,
    ORDER_NOT_OPEN,
    UNREADABLE_ANSWER,
    Operation,
)
from pulse_adapters.real_broker.lanes import Lane
from pulse_adapters.real_broker.lots import Lots, Units, no_units
from pulse_adapters.real_broker.rows import UnreadableRow, read_book
from pulse_adapters.real_broker.tickets import plain_price
from pulse_domain.errors import BrokerError, BrokerRejected, BrokerUnavailable, StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import Fill
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.ports.broker import OrderTicket
from pulse_domain.ports.clock import Clock

SYMBOL_UNKNOWN = "SYMBOL_UNKNOWN"

_is_order_id = re.compile(r"[A-Za-z0-9]{1,64}").fullmatch

Symbols = Callable[[Instrument], Awaitable[str | None]]


async def _no_tokens(instrument: Instrument) -> str | None:
    return None


class KotakBroker(RealBroker[NeoSession, NeoOrder]):
    """Implements the `Broker` port.

    symbols: how the broker's order calls name an instrument (`RELIANCE-EQ`); None where its file does not
        list it.
    units: what the broker's quantity counts for on MCX, known from orders that other processes have placed;
        None where no order of ours is in the instrument.
    tokens: how the broker's quotes name an instrument; None where its file does not list it.

    reads: quotes and the account, for who is to place nothing.
    """

    name = BROKER

    def __init__(
        self,
        settings: KotakSettings,
        sessions: KotakSessions,
        clock: Clock,
        rng: Random,
        *,
        symbols: Symbols,
        units: Units = no_units,
        tokens: Tokens = _no_tokens,
        feed: FeedSettings | None = None,
        read_timeout_s: float = 10.0,
    ) -> None:
        credentials = (settings.access_token, settings.mpin, settings.totp_seed, settings.mobile_number)
        super().__init__(
            sessions,
            OrderFeed(feed or FeedSettings(), clock, rng, current_session=sessions.current),
            Lots(LOT_COUNTED, units),
            clock,
            secrets=tuple(secret for secret in credentials if secret),
            read_timeout_s=read_timeout_s,
        )
        self._symbols = symbols
        self._line = Line(
            access_token=settings.access_token,
            login_url=settings.login_url,
            clock=clock,
            pool_size=settings.pool_size,
        )

        self.reads = KotakReads(self._read_rows, tokens)

    # --- orders

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        deadline = self._clock.monotonic() + timeout_s
        check_ticket(ticket)
        fields = order_fields(ticket, await self._symbol(ticket.instrument, deadline))
        answer = await self._call(Operation.PLACE, Lane.PLACE, lambda neo: neo.place_order(**fields), deadline)
        number = order_number(answer)
        assert number is not None, "judged by it"
        self._lots.learn(ticket)
        return BrokerOrderId(number)

    async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
        deadline = self._clock.monotonic() + timeout_s
        _check_id(broker_order_id)
        try:
            await self._call(
                Operation.CANCEL,
                Lane.CHANGE,
                lambda neo: neo.cancel_order(order_id=broker_order_id),
                deadline,
            )
        except BrokerRejected as refused:
            if refused.reason_code in (ORDER_NOT_OPEN, ORDER_NOT_FOUND):
                raise
            # A no of another kind says nothing about the order, which may be asked about again while it lives.
            if await self._has_ended(broker_order_id, deadline):
                raise BrokerRejected(ORDER_NOT_OPEN, refused.message) from refused
            raise BrokerUnavailable(ORDER_IN_PROCESS, refused.message) from refused

    async def modify(
        self, broker_order_id: BrokerOrderId, *, quantity: int, limit_price: Decimal | None, timeout_s: float
    ) -> None:
        """A `limit_price` of None leaves the price as it is. What is not changed has to be repeated, so the
        order is read first."""
        deadline = self._clock.monotonic() + timeout_s
        _check_id(broker_order_id)
        row = await self._look_up(broker_order_id, deadline)
        if row.has_ended:
            raise BrokerRejected(ORDER_NOT_OPEN, f"the order is {row.status}")
        counted = await self._lots.count(quantity, row.instrument)
        if row.order_type is None or row.validity is None:
            raise BrokerUnavailable(UNREADABLE_ANSWER, "the order's row lacks what a change has to repeat")
        price = limit_price if limit_price is not None else row.price
        if row.order_type in ("MKT", "SL-M"):
            price = Decimal(0)
        elif price <= 0:
            raise BrokerRejected(INVALID_INPUT, "a limit order has a limit above 0")
        fields = {
            "order_id": broker_order_id,
            "price": plain_price(price),
            "order_type": row.order_type,
            "quantity": str(counted),
            "validity": row.validity,
            "trigger_price": plain_price(row.trigger_price),
        }
        await self._call(Operation.MODIFY, Lane.CHANGE, lambda neo: neo.modify_order(**fields), deadline)

    async def _has_ended(self, order_id: BrokerOrderId, deadline: float) -> bool:
        try:
            return (await self._look_up(order_id, deadline)).has_ended
        except BrokerRejected:
            return True  # the whole book was read, and it is not in there
        except BrokerError:
            return False

    async def _symbol(self, instrument: Instrument, deadline: float) -> str:
        try:
            async with asyncio.timeout(self._left_s(deadline)):
                symbol = await self._symbols(instrument)
        except StorageUnavailable as error:
            raise BrokerUnavailable(SYMBOL_UNKNOWN, "the broker's symbol cannot be read") from error
        except TimeoutError as late:
            raise BrokerUnavailable(DEADLINE_PASSED, "the broker's symbol was not read in time") from late
        if symbol is None:
            raise BrokerUnavailable(
                SYMBOL_UNKNOWN,
                f"{instrument} is not in the broker's file: run `pulse instruments sync --broker kotak`",
            )
        return symbol

    # --- reading

    async def trades(self, broker_order_id: BrokerOrderId) -> tuple[Fill, ...]:
        answer = await self._call(Operation.READ, Lane.READ, lambda neo: neo.trade_report(), self._read_by())
        try:
            mine = [row for row in _rows(answer) if trade_order_id(row) == broker_order_id]
            trades = [read_trade(row) for row in mine]
            return tuple([trade.in_units(await self._lots.of_row(trade)) for trade in trades])
        except UnreadableRow as error:
            raise BrokerUnavailable(UNREADABLE_ANSWER, f"a trade cannot be read: {error}") from error

    async def _read_book(self, deadline: float) -> tuple[list[NeoOrder], dict[str, str]]:
        answer = await self._call(Operation.READ, Lane.READ, lambda neo: neo.order_report(), deadline)
        # Reading thousands of rows takes its time.
        return await asyncio.to_thread(read_book, _rows(answer), read_order, "nOrdNo")

    async def _look_up(self, order_id: BrokerOrderId, deadline: float) -> NeoOrder:
        """The latest state of an order. Raises: BrokerRejected: there is no such order."""
        rows, bad = await self._read_book(deadline)
        found = next((row for row in rows if row.order_id == order_id), None)
        if found is not None:
            return found
        if bad:
            raise BrokerUnavailable(UNREADABLE_ANSWER, "the order may be in a row that cannot be read")
        raise BrokerRejected(ORDER_NOT_FOUND, f"there is no order {order_id}")

    def _read_order(self, row: object) -> NeoOrder:
        return read_order(row)

    # --- the line

    async def _call(
        self, operation: Operation, lane: Lane, work: Callable[[NeoClient], object], deadline: float
    ) -> Mapping[str, Any]:
        """Make a call, and give its answer where that is a plain success."""
        session = await self._session(deadline)
        ending = await self._line.run(lane, work, session=session, timeout_s=self._left_s(deadline))
        error = judge(operation, ending)
        if error is None:
            assert isinstance(ending, Answer), "nothing else succeeds"
            assert ending.body is not None, "nothing else succeeds"
            return ending.body
        raise self._failed(error, session)

    async def _read_rows(self, work: Callable[[NeoClient], object]) -> list[Any]:
        deadline = self._read_by()
        session = await self._session(deadline)
        ending = await self._line.run(Lane.READ, work, session=session, timeout_s=self._left_s(deadline))
        rows = rows_of(ending)
        if rows is not None:
            return rows
        error = judge(Operation.READ, ending)
        raise self._failed(error or BrokerUnavailable(UNREADABLE_ANSWER, "an answer without rows"), session)

    def _secrets_of(self, session: NeoSession) -> tuple[str, ...]:
        return session.token, session.sid

    async def close(self) -> None:
        await super().close()
        await self._line.close()


def _check_id(order_id: BrokerOrderId) -> None:
    if not _is_order_id(order_id):
        raise BrokerRejected(ORDER_NOT_FOUND, "that is no order id")


def _rows(answer: Mapping[str, Any]) -> list[Any]:
    """None where the broker says that there is no data."""
    rows = answer.get("data")
    return rows if isinstance(rows, list) else []
