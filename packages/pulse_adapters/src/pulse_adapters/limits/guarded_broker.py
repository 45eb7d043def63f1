"""A broker whose writes are watched by the circuit breaker."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from decimal import Decimal

from pulse_domain.errors import BrokerOutcomeUnknown, BrokerRejected, BrokerUnavailable
from pulse_domain.orders.events import Fill
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.ports.broker import BookRead, Broker, BrokerOrder, OrderTicket
from pulse_domain.use_cases.guard import BrokerGuard


class GuardedBroker:
    """Implements the `Broker` port by another broker, and tells the guard what came of each write.

    It refuses nothing: whether to place is asked before an execution is claimed, not after.
    """

    def __init__(self, broker: Broker, guard: BrokerGuard) -> None:
        self.name = broker.name
        self._broker = broker
        self._guard = guard

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        with self._watched():
            return await self._broker.place(ticket, timeout_s=timeout_s)

    async def cancel(self, broker_order_id: BrokerOrderId, *, timeout_s: float) -> None:
        with self._watched():
            await self._broker.cancel(broker_order_id, timeout_s=timeout_s)

    async def modify(
        self, broker_order_id: BrokerOrderId, *, quantity: int, limit_price: Decimal | None, timeout_s: float
    ) -> None:
        with self._watched():
            await self._broker.modify(
                broker_order_id, quantity=quantity, limit_price=limit_price, timeout_s=timeout_s
            )

    async def order_book(self) -> BookRead:
        return await self._broker.order_book()

    async def trades(self, broker_order_id: BrokerOrderId) -> tuple[Fill, ...]:
        return await self._broker.trades(broker_order_id)

    def updates(self) -> AsyncIterator[BrokerOrder]:
        return self._broker.updates()

    async def close(self) -> None:
        await self._broker.close()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except BrokerRejected:
            # A definite no is an answer.
            self._guard.answered()
            raise
        except (BrokerUnavailable, BrokerOutcomeUnknown):
            self._guard.failed()
            raise
        else:
            self._guard.answered()
