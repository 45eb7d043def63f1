"""Zerodha as a broker.

Every call is one request in a thread of its own; what its end means is decided in `outcomes`. Orders go out
as variety `regular` and whole: the broker's own slicing is never asked for, as a part of it can fail.

Reason codes of refusals before any call: those of `tickets`, and NO_PROTECTION_BAND. Those of answers are in
`outcomes`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

import structlog
from kiteconnect import KiteConnect

from pulse_adapters.updates import Subscriptions
from pulse_adapters.zerodha.line import CLOSED, DEADLINE_PASSED, CallFailed, Lane, Line
from pulse_adapters.zerodha.outcomes import (
    ORDER_IN_PROCESS,
    ORDER_NOT_FOUND,
    ORDER_NOT_OPEN,
    SESSION_EXPIRED,
    UNREADABLE_ANSWER,
    Operation,
    judge,
)
from pulse_adapters.zerodha.postbacks import read_postback
from pulse_adapters.zerodha.prices import LastPrices
from pulse_adapters.zerodha.protection import band_percent, is_lot_counted, kind_of, protected_limit
from pulse_adapters.zerodha.sessions import BROKER, ZerodhaSessions
from pulse_adapters.zerodha.settings import ZerodhaSettings
from pulse_adapters.zerodha.ticker import Ticker, TickerSettings
from pulse_adapters.zerodha.tickets import check_ticket, order_fields, plain_price
from pulse_adapters.zerodha.wire import KiteOrder, KiteTrade, UnreadableRow, read_order, read_trade
from pulse_domain.errors import (
    BrokerError,
    BrokerOutcomeUnknown,
    BrokerRejected,
    BrokerUnavailable,
    StorageUnavailable,
)
from pulse_domain.instruments import Instrument
from pulse_domain.orders.events import Fill
from pulse_domain.orders.execution import trading_day_start
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import OrderType
from pulse_domain.ports.broker import BookRead, BrokerOrder, OrderTicket
from pulse_domain.ports.clock import Clock

T = TypeVar("T")
log = structlog.get_logger(__name__)

UNITS_UNKNOWN = "UNITS_UNKNOWN"
_VARIETY = "regular"
# The broker's seconds and ours may differ by so much when we look for what was missed.
_CLOCKS_S = 5.0
_TICKER_PAUSE_S = 5.0
_IST = timedelta(hours=5, minutes=30)

_is_order_id = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch

Units = Callable[[Instrument], Awaitable[int | None]]


async def _no_units(instrument: Instrument) -> int | None:
    return None


class ZerodhaBroker:
    """Implements the `Broker` port.

    units: what a lot counts for where the broker counts lots, known from orders that other processes have
        placed; None where no order of ours is in the instrument.
    ticker: its settings, where they are not those that follow from `settings`.
    """

    name = BROKER

    def __init__(
        self,
        settings: ZerodhaSettings,
        sessions: ZerodhaSessions,
        clock: Clock,
        rng: Random,
        *,
        units: Units = _no_units,
        ticker: TickerSettings | None = None,
        read_timeout_s: float = 10.0,
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._units = units
        self._read_timeout_s = read_timeout_s
        self._api_secret = settings.api_secret
        self._api_key = settings.api_key
        self._protection = settings.market_protection
        self._line = Line(
            api_key=settings.api_key, base_url=settings.base_url, clock=clock, pool_size=settings.pool_size
        )
        self._ticker = Ticker(
            ticker or TickerSettings(api_key=settings.api_key, url=settings.ticker_url),
            clock,
            rng,
            current_token=sessions.current,
            on_connected=self._catch_up,
            on_order=self._take_push,
            is_wanted=self._is_listened_to,
        )
        self._subscriptions = Subscriptions()
        self._following: asyncio.Task[None] | None = None
        # Pushes are complete up to here.
        self._heard_until = clock.now()
        self._lots: dict[Instrument, int] = {}
        self._instruments: dict[BrokerOrderId, Instrument] = {}
        self._prices = LastPrices(self._read_price, clock)
        self._complained: set[str] = set()
        self._closed = False

    # --- orders

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        deadline = self._clock.monotonic() + timeout_s
        check_ticket(ticket)
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
        if is_lot_counted(ticket.instrument.exchange):
            self._lots[ticket.instrument] = ticket.terms.units_per_broker_quantity
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
        units = await self._units_of(instrument) if instrument is not None else None
        if units is None:
            raise BrokerUnavailable(UNITS_UNKNOWN, "it is not known what a lot of the instrument counts for")
        if quantity % units:
            raise BrokerRejected("LOT_SIZE", f"{quantity} is not a whole number of lots of {units}")
        price = None if limit_price is None else plain_price(limit_price)
        await self._change(
            Operation.MODIFY,
            lambda kite: kite.modify_order(
                variety=_VARIETY, order_id=broker_order_id, quantity=quantity // units, price=price
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
        today = (self._clock.now() + _IST).date()
        percent = band_percent(kind_of(ticket.instrument), price, today)
        if percent is None:
            raise BrokerRejected("NO_PROTECTION_BAND", "there is no table of protections for today")
        limit = protected_limit(ticket.side, price, percent, ticket.terms.tick_size)
        return {"order_type": order_type.value, "price": plain_price(limit)}

    async def _read_price(self, key: str, deadline: float) -> object:
        return await self._call(Operation.READ, Lane.READ, lambda kite: kite.ltp(key), deadline)

    # --- reading

    async def order_book(self) -> BookRead:
        began_at = self._clock.now()
        deadline = self._clock.monotonic() + self._read_timeout_s
        rows, bad = await self._call(Operation.READ, Lane.READ, _read_book, deadline)
        # What is not in the book is looked up where it is asked for.
        self._instruments.clear()
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
        if not _is_order_id(broker_order_id):
            return ()
        deadline = self._clock.monotonic() + self._read_timeout_s
        try:
            answer = await self._call(
                Operation.READ, Lane.READ, lambda kite: kite.order_trades(broker_order_id), deadline
            )
            trades = [read_trade(row) for row in _rows(answer)]
            return tuple([trade.in_units(await self._lot(trade)) for trade in trades])
        except UnreadableRow as error:
            raise BrokerUnavailable(UNREADABLE_ANSWER, f"a trade cannot be read: {error}") from error

    async def _look_up(self, order_id: BrokerOrderId, deadline: float) -> KiteOrder:
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

    async def _to_order(self, row: KiteOrder) -> BrokerOrder | None:
        """The row in units; None where it is of an exchange that we have no orders on."""
        if row.instrument is None:
            return None
        self._instruments[row.order_id] = row.instrument
        return row.in_units(await self._lot(row))

    async def _lot(self, row: KiteOrder | KiteTrade) -> int:
        if row.instrument is None:
            raise UnreadableRow("the instrument is none of ours")
        units = await self._units_of(row.instrument)
        if units is None:
            # Nothing of ours is in the instrument, so nobody compares the quantity with anything.
            return 1
        return units

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
            self._following = asyncio.create_task(self._follow(), name="zerodha-ticker")
        return subscription

    async def take_postback(self, body: bytes) -> BrokerOrder | None:
        """Check a postback and read the order that it is about; subscribers get it too.

        Raises:
            BadPostback: it is not from the broker; nothing was read.
            BrokerUnavailable: the order cannot be read now.
        """
        order_id = read_postback(body, self._api_secret)
        if not _is_order_id(order_id):
            return None
        deadline = self._clock.monotonic() + self._read_timeout_s
        try:
            order = await self._to_order(await self._look_up(order_id, deadline))
        except (UnreadableRow, BrokerRejected) as error:
            raise BrokerUnavailable(UNREADABLE_ANSWER, "the order cannot be read") from error
        if order is not None:
            self._subscriptions.publish(order)
        return order

    async def _follow(self) -> None:
        while self._is_listened_to():
            try:
                await self._ticker.run()
            except Exception as error:  # whatever it is, the order book is read all the same
                # Its text and traceback may hold the address, which has the token.
                log.error("the ticker broke off", broker=BROKER, error=type(error).__name__)
                await self._clock.sleep(_TICKER_PAUSE_S)

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
        deadline = self._clock.monotonic() + self._read_timeout_s
        began_at = self._clock.now()
        try:
            rows, _ = await self._call(Operation.READ, Lane.READ, _read_book, deadline)
            for order in rows:
                if order.updated_at >= since and (update := await self._to_order(order)) is not None:
                    self._subscriptions.publish(update)
        except BrokerUnavailable as error:
            # The next read of the book has it all the same.
            log.warning("updates that were missed are not made up for", broker=BROKER, reason=str(error))
        self._heard_until = began_at

    # --- the line

    async def _call(
        self, operation: Operation, lane: Lane, work: Callable[[KiteConnect], T], deadline: float
    ) -> T:
        if self._closed:
            raise BrokerUnavailable(CLOSED, "the broker is closed")
        try:
            async with asyncio.timeout(self._left_s(deadline)):
                token = await self._sessions.current()
        except TimeoutError as late:
            raise BrokerUnavailable(DEADLINE_PASSED, "the session was not read in time") from late
        try:
            return await self._line.run(lane, work, token=token, timeout_s=self._left_s(deadline))
        except CallFailed as failed:
            error = judge(operation, failed.ending)
            if error.reason_code == SESSION_EXPIRED:
                self._sessions.refused(token)
            raise self._without_secrets(error, token) from failed

    def _left_s(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock.monotonic())

    def _without_secrets(self, error: BrokerError, token: str) -> BrokerError:
        """A broker's text goes to logs and into the store; it may repeat what we have sent."""
        text = error.message
        for secret in (token, self._api_secret, self._api_key):
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
        await self._line.close()


def _check_id(order_id: BrokerOrderId) -> None:
    # It becomes a part of a path.
    if not _is_order_id(order_id):
        raise BrokerRejected(ORDER_NOT_FOUND, "that is no order id")


def _read_book(kite: KiteConnect) -> tuple[list[KiteOrder], dict[str, str]]:
    """The rows of the order book, and what is wrong with those that cannot be read, by order id.

    Reading thousands of rows takes its time: it is done in the thread of the call.
    """
    rows: list[KiteOrder] = []
    bad: dict[str, str] = {}
    for row in _rows(kite.orders()):
        try:
            rows.append(read_order(row))
        except UnreadableRow as error:
            bad[str(row.get("order_id")) if isinstance(row, dict) else "?"] = str(error)
    return rows, bad


def _rows(answer: object) -> list[Any]:
    if not isinstance(answer, list):
        raise UnreadableRow(f"a list was expected, not {type(answer).__name__}")
    return answer
