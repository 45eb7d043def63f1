"""Record outcomes in batches: what has gathered while one batch was written makes the next."""

import asyncio
from collections.abc import Callable

import structlog

from pulse_domain.errors import StorageRejected, StorageUnavailable
from pulse_domain.orders.events import AnyExecutionEvent
from pulse_domain.orders.model import Order
from pulse_domain.ports.clock import Clock
from pulse_domain.ports.order_store import Booking, BookResult
from pulse_domain.use_cases.record_outcome import RecordOutcomes
from service_kit import Ids, bind

log = structlog.get_logger(__name__)

_RETRY_S = 0.5


class OutcomeRecorder:
    """Facts are retried until they are stored: an unreachable store only makes the batch grow.

    on_booked: told of what was stored and was new.
    """

    def __init__(
        self,
        record: RecordOutcomes,
        clock: Clock,
        on_booked: Callable[[Order, AnyExecutionEvent], object] = lambda order, event: None,
    ) -> None:
        self._record = record
        self._clock = clock
        self._on_booked = on_booked
        self._waiting: list[tuple[Booking, Order]] = []
        self._writer: asyncio.Task[None] | None = None

    def add(self, booking: Booking, order: Order) -> None:
        """Take an outcome of one of the order's executions; it is written soon."""
        self._waiting.append((booking, order))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="outcome-recorder")

    async def flush(self) -> None:
        """Return once everything added so far is stored."""
        while self._writer is not None and not self._writer.done():
            await asyncio.wait({self._writer})
        self.check()

    def check(self) -> None:
        """Raise what ended the writing, if something did; the process should end by it."""
        if self._writer is not None and self._writer.done() and not self._writer.cancelled():
            error = self._writer.exception()
            if error is not None:
                raise error

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await self._write_batch(batch)
            except StorageUnavailable as error:
                log.warning("outcomes wait for the store", count=len(batch), error=error.message)
                self._waiting = batch + self._waiting
                await self._clock.sleep(_RETRY_S)
            except BaseException:
                self._waiting = batch + self._waiting
                raise

    async def _write_batch(self, batch: list[tuple[Booking, Order]]) -> None:
        try:
            booked = await self._record([booking for booking, _ in batch])
        except StorageRejected as error:
            if len(batch) > 1:
                # One of them spoils the step for the others: each gets its own.
                for one in batch:
                    await self._write_batch([one])
                return
            # Its lease runs out, and the broker's book tells what became of it.
            _log(log.error, "an outcome cannot be stored", *batch[0], error=error.message)
            return
        for (booking, order), result in zip(batch, booked, strict=True):
            if result.result is BookResult.REFUSED:
                # Somebody learnt more meanwhile: a push came first, or the lease had run out.
                _log(log.info, "outcome was overtaken", booking, order)
            elif result.result is BookResult.APPLIED:
                self._on_booked(order, booking.event)


def _log(write: Callable[..., object], text: str, booking: Booking, order: Order, **more: object) -> None:
    with bind(Ids(order.request_id, order.trace_id)):
        write(text, order_id=order.order_id, outcome=booking.event.__struct_config__.tag, **more)
