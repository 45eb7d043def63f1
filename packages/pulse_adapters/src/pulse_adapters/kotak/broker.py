"""Kotak as a broker.

Every call is one request in a thread of its own; what its end means is decided in `outcomes`.

Reason codes of refusals before any call are in `tickets`, and SYMBOL_UNKNOWN and UNITS_UNKNOWN; those of
answers in `outcomes`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import structlog

from pulse_adapters.kotak.client import MakeClient, NeoClient, NeoSession
from pulse_adapters.kotak.connections import DEADLINE_PASSED
from pulse_adapters.kotak.feed import FeedSettings, OrderFeed
from pulse_adapters.kotak.line import CLOSED, Lane, Line
from pulse_adapters.kotak.outcomes import (
    INVALID_INPUT,
    ORDER_IN_PROCESS,
    ORDER_NOT_FOUND,
    ORDER_NOT_OPEN,
    SESSION_ELSEWHERE,
    SESSION_EXPIRED,
    UNREADABLE_ANSWER,
    Answer,
    Operation,
    judge,
    order_number,
)
from pulse_adapters.kotak.sessions import BROKER, KotakSessions
from pulse_adapters.kotak.settings import KotakSettings
from pulse_adapters.kotak.tickets import check_ticket, is_lot_counted, order_fields, plain_price
from pulse_adapters.kotak.wire import (
    NeoOrder,
    NeoTrade,
    UnreadableRow,
    read_order,
    read_trade,
    trade_order_id,
)
from pulse_adapters.updates import Subscriptions
from pulse_domain.errors import BrokerError, BrokerRejected, BrokerUnavailable, StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import Fill
from pulse_domain.orders.execution import trading_day_start
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.ports.broker import BookRead, BrokerOrder, OrderTicket
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

SYMBOL_UNKNOWN = "SYMBOL_UNKNOWN"
UNITS_UNKNOWN = "UNITS_UNKNOWN"
# The broker's seconds and ours may differ by so much when we look for what was missed.
_CLOCKS_S = 5.0
_FEED_PAUSE_S = 5.0

_is_order_id = re.compile(r"[A-Za-z0-9]{1,64}").fullmatch

Symbols = Callable[[Instrument], Awaitable[str | None]]
Units = Callable[[Instrument], Awaitable[int | None]]


async def _no_units(instrument: Instrument) -> int | None:
    return None


class KotakBroker:
    """Implements the `Broker` port.

    symbols: how the broker's order calls name an instrument (`RELIANCE-EQ`); None where its file does not
        list it.
    units: what the broker's quantity counts for on MCX, known from orders that other processes have placed;
        None where no order of ours is in the instrument.
    """

    name = BROKER

    def __init__(
        self,
        settings: KotakSettings,
        make: MakeClient,
        sessions: KotakSessions,
        clock: Clock,
        rng: Random,
        *,
        symbols: Symbols,
        units: Units = _no_units,
        feed: FeedSettings | None = None,
        read_timeout_s: float = 10.0,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._symbols = symbols
        self._units = units
        self._read_timeout_s = read_timeout_s
        self._secrets = tuple(
            secret
            for secret in (settings.access_token, settings.mpin, settings.totp_seed, settings.mobile_number)
            if secret
        )
        self._line = Line(
            make,
            access_token=settings.access_token,
            login_url=settings.login_url,
            clock=clock,
            pool_size=settings.pool_size,
        )
        self._feed = OrderFeed(
            feed or FeedSettings(),
            clock,
            rng,
            current_session=sessions.current,
            on_connected=self._catch_up,
            on_order=self._take_push,
            is_wanted=self._is_listened_to,
        )
        self._subscriptions = Subscriptions()
        self._following: asyncio.Task[None] | None = None
        # Pushes are complete up to here.
        self._heard_until = clock.now()
        self._lots: dict[Instrument, int] = {}
        self._complained: set[str] = set()
        self._closed = False

    # --- orders

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        deadline = self._clock.monotonic() + timeout_s
        check_ticket(ticket)
        fields = order_fields(ticket, await self._symbol(ticket.instrument, deadline))
        answer = await self._call(Operation.PLACE, Lane.PLACE, lambda neo: neo.place_order(**fields), deadline)
        number = order_number(answer)
        assert number is not None, "judged by it"
        if is_lot_counted(ticket.instrument.exchange):
            self._lots[ticket.instrument] = ticket.terms.units_per_broker_quantity
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
        units = await self._units_of(row.instrument) if row.instrument is not None else None
        if units is None:
            raise BrokerUnavailable(UNITS_UNKNOWN, "it is not known what the broker's quantity counts for")
        if quantity % units:
            raise BrokerRejected("LOT_SIZE", f"{quantity} is not a whole number of lots of {units}")
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
            "quantity": str(quantity // units),
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
                SYMBOL_UNKNOWN, f"{instrument} is not in the broker's file: run `pulse instruments sync kotak`"
            )
        return symbol

    # --- reading

    async def order_book(self) -> BookRead:
        began_at = self._clock.now()
        rows, bad = await self._read_book(self._clock.monotonic() + self._read_timeout_s)
        orders = [order for row in rows if (order := await self._to_order(row)) is not None]
        for order_id, reason in bad.items():
            self._complain(order_id, reason)
        return BookRead(
            orders=tuple(orders),
            began_at=began_at,
            covers_since=trading_day_start(began_at),
            complete=not bad,
        )

    async def trades(self, broker_order_id: BrokerOrderId) -> tuple[Fill, ...]:
        deadline = self._clock.monotonic() + self._read_timeout_s
        answer = await self._call(Operation.READ, Lane.READ, lambda neo: neo.trade_report(), deadline)
        try:
            mine = [row for row in _rows(answer) if trade_order_id(row) == broker_order_id]
            trades = [read_trade(row) for row in mine]
            return tuple([trade.in_units(await self._lot(trade)) for trade in trades])
        except UnreadableRow as error:
            raise BrokerUnavailable(UNREADABLE_ANSWER, f"a trade cannot be read: {error}") from error

    async def _read_book(self, deadline: float) -> tuple[list[NeoOrder], dict[str, str]]:
        answer = await self._call(Operation.READ, Lane.READ, lambda neo: neo.order_report(), deadline)
        # Reading thousands of rows takes its time.
        return await asyncio.to_thread(_read_orders, _rows(answer))

    async def _look_up(self, order_id: BrokerOrderId, deadline: float) -> NeoOrder:
        """The latest state of an order. Raises: BrokerRejected: there is no such order."""
        rows, bad = await self._read_book(deadline)
        found = next((row for row in rows if row.order_id == order_id), None)
        if found is not None:
            return found
        if bad:
            raise BrokerUnavailable(UNREADABLE_ANSWER, "the order may be in a row that cannot be read")
        raise BrokerRejected(ORDER_NOT_FOUND, f"there is no order {order_id}")

    async def _to_order(self, row: NeoOrder) -> BrokerOrder | None:
        """The row in units; None where it is of a segment that we have no orders in."""
        return None if row.instrument is None else row.in_units(await self._lot(row))

    async def _lot(self, row: NeoOrder | NeoTrade) -> int:
        if row.instrument is None:
            raise UnreadableRow("the instrument is none of ours")
        units = await self._units_of(row.instrument)
        # Where nothing of ours is in the instrument, nobody compares the quantity with anything.
        return 1 if units is None else units

    async def _units_of(self, instrument: Instrument) -> int | None:
        if not is_lot_counted(instrument.exchange):
            return 1
        if instrument not in self._lots:
            try:
                units = await self._units(instrument)
            except StorageUnavailable as error:
                raise BrokerUnavailable(UNITS_UNKNOWN, "the units of a lot cannot be read") from error
            if units is None:
                return None
            self._lots[instrument] = units
        return self._lots[instrument]

    # --- pushes

    def updates(self) -> AsyncIterator[BrokerOrder]:
        subscription = self._subscriptions.add()
        if not self._closed and (self._following is None or self._following.done()):
            self._heard_until = self._clock.now()
            self._following = asyncio.create_task(self._follow(), name="kotak-order-feed")
        return subscription

    async def _follow(self) -> None:
        while self._is_listened_to():
            try:
                await self._feed.run()
            except Exception as error:  # whatever it is, the order book is read all the same
                # Its text and traceback may hold the greeting, which has the token.
                log.error("the order feed broke off", broker=BROKER, error=type(error).__name__)
                await self._clock.sleep(_FEED_PAUSE_S)

    def _is_listened_to(self) -> bool:
        return not self._closed and bool(self._subscriptions)

    async def _take_push(self, data: object) -> None:
        try:
            order = await self._to_order(read_order(data))
        except BrokerUnavailable:
            return  # the order book tells it again
        self._heard_until = self._clock.now()
        if order is not None:
            self._subscriptions.publish(order)

    async def _catch_up(self) -> None:
        """Publish what may have been missed while there was no connection."""
        since = self._heard_until - timedelta(seconds=_CLOCKS_S)
        began_at = self._clock.now()
        try:
            rows, _ = await self._read_book(self._clock.monotonic() + self._read_timeout_s)
            for order in rows:
                if order.updated_at >= since and (update := await self._to_order(order)) is not None:
                    self._subscriptions.publish(update)
        except BrokerUnavailable as error:
            # The next read of the book has it all the same.
            log.warning("updates that were missed are not made up for", broker=BROKER, reason=str(error))
        self._heard_until = began_at

    # --- the line

    async def _call(
        self, operation: Operation, lane: Lane, work: Callable[[NeoClient], object], deadline: float
    ) -> Mapping[str, Any]:
        """Make a call, and give its answer where that is a plain success."""
        if self._closed:
            raise BrokerUnavailable(CLOSED, "the broker is closed")
        try:
            async with asyncio.timeout(self._left_s(deadline)):
                session = await self._sessions.current()
        except TimeoutError as late:
            raise BrokerUnavailable(DEADLINE_PASSED, "the session was not read in time") from late
        ending = await self._line.run(lane, work, session=session, timeout_s=self._left_s(deadline))
        error = judge(operation, ending)
        if error is None:
            assert isinstance(ending, Answer), "nothing else succeeds"
            assert ending.body is not None, "nothing else succeeds"
            return ending.body
        if error.reason_code in (SESSION_EXPIRED, SESSION_ELSEWHERE):
            self._sessions.refused(session)
        raise self._without_secrets(error, session)

    def _left_s(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock.monotonic())

    def _without_secrets(self, error: BrokerError, session: NeoSession) -> BrokerError:
        """A broker's text goes to logs and into the store; it may repeat what we have sent."""
        text = error.message
        for secret in (*self._secrets, session.token, session.sid):
            text = text.replace(secret, "[redacted]")
        if text != error.message:
            error.args = (text,)
        return error

    def _complain(self, order_id: str, reason: str) -> None:
        # Once for each order: the book is read every few seconds.
        if order_id not in self._complained:
            self._complained.add(order_id)
            log.error(
                "a row of the order book is left out", broker=BROKER, broker_order_id=order_id, reason=reason
            )

    async def close(self) -> None:
        self._closed = True
        self._subscriptions.close()
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._sessions.close()
        await self._line.close()


def _check_id(order_id: BrokerOrderId) -> None:
    if not _is_order_id(order_id):
        raise BrokerRejected(ORDER_NOT_FOUND, "that is no order id")


def _read_orders(rows: list[Any]) -> tuple[list[NeoOrder], dict[str, str]]:
    """The rows, and what is wrong with those that cannot be read, by order id."""
    read: list[NeoOrder] = []
    bad: dict[str, str] = {}
    for row in rows:
        try:
            read.append(read_order(row))
        except UnreadableRow as error:
            bad[str(row.get("nOrdNo")) if isinstance(row, dict) else "?"] = str(error)
    return read, bad


def _rows(answer: Mapping[str, Any]) -> list[Any]:
    """None where the broker says that there is no data."""
    rows = answer.get("data")
    return rows if isinstance(rows, list) else []
