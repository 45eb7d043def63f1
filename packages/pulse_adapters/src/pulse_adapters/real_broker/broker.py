"""The half of a real broker that is the same for each: the order book, pushed updates and the session."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Generic, TypeVar

import structlog

from pulse_adapters.real_broker.calls import (
    CLOSED,
    DEADLINE_PASSED,
    SESSION_ELSEWHERE,
    SESSION_EXPIRED,
)
from pulse_adapters.real_broker.lots import Lots
from pulse_adapters.real_broker.rows import OrderRow
from pulse_adapters.real_broker.sessions import Sessions
from pulse_adapters.real_broker.stream import OrderStream
from pulse_adapters.updates import Subscriptions
from pulse_domain.errors import BrokerError, BrokerUnavailable
from pulse_domain.orders.execution import trading_day_start
from pulse_domain.ports.broker import BookRead, BrokerOrder
from pulse_domain.ports.clock import Clock

log = structlog.get_logger(__name__)

S = TypeVar("S")
R = TypeVar("R", bound=OrderRow)

# The broker's seconds and ours may differ by so much when we look for what was missed.
_CLOCKS_S = 5.0
_STREAM_PAUSE_S = 5.0


class RealBroker(ABC, Generic[S, R]):
    """Implements the half of the `Broker` port that needs no order; `S` is a session, `R` a row of the book.

    secrets: what the broker's texts must not repeat, besides a session.
    """

    name: str

    def __init__(
        self,
        sessions: Sessions[S],
        stream: OrderStream[S],
        lots: Lots,
        clock: Clock,
        *,
        secrets: tuple[str, ...],
        read_timeout_s: float,
    ) -> None:
        self._sessions = sessions
        self._stream = stream
        self._lots = lots
        self._clock = clock
        self._secrets = secrets
        self._read_timeout_s = read_timeout_s
        self._subscriptions = Subscriptions()
        self._following: asyncio.Task[None] | None = None
        # Pushes are complete up to here.
        self._heard_until = clock.now()
        self._complained: set[str] = set()
        self._closed = False

    @abstractmethod
    async def _read_book(self, deadline: float) -> tuple[list[R], dict[str, str]]:
        """The rows of the order book, and what is wrong with those that cannot be read, by order id."""

    @abstractmethod
    def _read_order(self, row: object) -> R:
        """A row of the book, or what an order message carries. Raises: UnreadableRow."""

    @abstractmethod
    def _secrets_of(self, session: S) -> tuple[str, ...]: ...

    # --- the order book

    async def order_book(self) -> BookRead:
        began_at = self._clock.now()
        rows, bad = await self._read_book(self._read_by())
        orders = [order for row in rows if (order := await self._to_order(row)) is not None]
        for order_id, reason in bad.items():
            self._complain(order_id, reason)
        return BookRead(
            orders=tuple(orders),
            began_at=began_at,
            covers_since=trading_day_start(began_at),
            complete=not bad,
        )

    async def _to_order(self, row: R) -> BrokerOrder | None:
        """The row in units; None where it is of an exchange that we have no orders on."""
        return None if row.instrument is None else row.in_units(await self._lots.of_row(row))

    def _complain(self, order_id: str, reason: str) -> None:
        # Once for each order: the book is read every few seconds.
        if order_id not in self._complained:
            self._complained.add(order_id)
            log.error(
                "a row of the order book is left out",
                broker=self.name,
                broker_order_id=order_id,
                reason=reason,
            )

    # --- pushes

    def updates(self) -> AsyncIterator[BrokerOrder]:
        subscription = self._subscriptions.add()
        if not self._closed and (self._following is None or self._following.done()):
            self._heard_until = self._clock.now()
            self._following = asyncio.create_task(self._follow(), name=f"{self.name} {self._stream.name}")
        return subscription

    async def _follow(self) -> None:
        while self.is_wanted():
            try:
                await self._stream.run(self)
            except Exception as error:  # whatever it is, the order book is read all the same
                # Its text and traceback may hold the address or the greeting, which have the token.
                log.error(f"the {self._stream.name} broke off", broker=self.name, error=type(error).__name__)
                await self._clock.sleep(_STREAM_PAUSE_S)

    def is_wanted(self) -> bool:
        """For the stream: whether anybody listens."""
        return not self._closed and bool(self._subscriptions)

    async def take(self, row: object) -> None:
        """For the stream: publish an order. Raises: UnreadableRow."""
        try:
            order = await self._to_order(self._read_order(row))
        except BrokerUnavailable:
            return  # the order book tells it again
        self._heard_until = self._clock.now()
        if order is not None:
            self._subscriptions.publish(order)

    async def connected(self) -> None:
        """For the stream: publish what may have been missed while there was no connection."""
        since = self._heard_until - timedelta(seconds=_CLOCKS_S)
        began_at = self._clock.now()
        try:
            rows, _ = await self._read_book(self._read_by())
            for row in rows:
                if row.updated_at >= since and (update := await self._to_order(row)) is not None:
                    self._subscriptions.publish(update)
        except BrokerUnavailable as error:
            # The next read of the book has it all the same.
            log.warning("updates that were missed are not made up for", broker=self.name, reason=str(error))
        self._heard_until = began_at

    # --- calls

    async def _session(self, deadline: float) -> S:
        """The session for a call. Raises: BrokerUnavailable: there is none by the deadline."""
        if self._closed:
            raise BrokerUnavailable(CLOSED, "the broker is closed")
        try:
            async with asyncio.timeout(self._left_s(deadline)):
                return await self._sessions.current()
        except TimeoutError as late:
            raise BrokerUnavailable(DEADLINE_PASSED, "the session was not read in time") from late

    def _failed(self, error: BrokerError, session: S) -> BrokerError:
        """The error of a call, without secrets: a broker's text goes to logs and into the store, and may repeat
        what we have sent."""
        if error.reason_code in (SESSION_EXPIRED, SESSION_ELSEWHERE):
            self._sessions.refused(session)
        text = error.message
        for secret in (*self._secrets_of(session), *self._secrets):
            text = text.replace(secret, "[redacted]")
        if text != error.message:
            error.args = (text,)
        return error

    def _read_by(self) -> float:
        return self._clock.monotonic() + self._read_timeout_s

    def _left_s(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock.monotonic())

    async def close(self) -> None:
        self._closed = True
        self._subscriptions.close()
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        await self._sessions.close()
