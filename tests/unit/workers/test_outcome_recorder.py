import asyncio

import pytest

from pulse_background.workers.outcome_recorder import OutcomeRecorder
from pulse_domain.errors import StorageRejected
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId, OrderId
from pulse_domain.orders.status import Phase
from pulse_domain.ports.order_store import Booking
from pulse_domain.testing.fake_clock import settle
from tests.unit.workers.floor import Floor, running, until

CLAIMED, LIVE = Phase.CLAIMED, Phase.LIVE


class Book(OutcomeRecorder):
    """The recorder on a floor, and an order with executions that wait for their outcomes."""

    def __init__(self, floor: Floor) -> None:
        super().__init__(floor.record, floor.clock)
        self.floor = floor
        self.order_id = OrderId("")

    async def open(self, executions: int) -> None:
        self.order_id = await self.floor.order(*[10] * executions)
        await self.floor.store.claim_executions(executions, "executor-1", 120.0)

    def yes(self, seq: int, *, order_id: OrderId | None = None) -> Booking:
        event = ev.ExecutionAccepted(seq=seq, chunk=0, broker_order_id=BrokerOrderId(f"B-{seq}"))
        return Booking(order_id=order_id or self.order_id, event=event)

    async def live(self) -> list[bool]:
        return [phase is LIVE for phase in await self.floor.phases(self.order_id)]

    def batches(self) -> list[list[int]]:
        """The slices whose outcomes each batch held."""
        return [[booking.event.seq for booking in batch] for batch in self.floor.store.batches]


@pytest.fixture
async def book(floor: Floor) -> Book:
    book = Book(floor)
    await book.open(5)
    return book


async def test_an_outcome_is_stored_at_once(book: Book) -> None:
    book.add(book.yes(1))
    await settle()

    assert await book.live() == [True, False, False, False, False]


async def test_what_gathers_while_one_batch_is_written_makes_the_next(floor: Floor, book: Book) -> None:
    writing = floor.store.hold("book")
    book.add(book.yes(1))
    await settle()
    for seq in (2, 3, 4):
        book.add(book.yes(seq))
    await settle()
    writing.set()
    await book.flush()

    assert book.batches() == [[1], [2, 3, 4]]


async def test_outcomes_that_come_together_travel_together(book: Book) -> None:
    for seq in (3, 1, 2):
        book.add(book.yes(seq))
    await book.flush()

    assert book.batches() == [[3, 1, 2]]


async def test_outcomes_wait_for_a_store_that_is_away_and_keep_their_order(floor: Floor, book: Book) -> None:
    floor.store.away = True
    for seq in (1, 2, 3):
        book.add(book.yes(seq))
        await floor.clock.advance(2)
    meanwhile = await book.live()
    floor.store.away = False
    await floor.clock.advance(2)

    assert (any(meanwhile), await book.live()) == (False, [True, True, True, False, False])
    assert book.batches()[-1] == [1, 2, 3]


async def test_a_store_that_is_away_is_not_besieged(floor: Floor, book: Book) -> None:
    floor.store.away = True
    book.add(book.yes(1))
    await settle(200)

    assert len(book.batches()) == 1
    floor.store.away = False
    await floor.clock.advance(2)


async def test_a_batch_whose_answer_was_lost_is_stored_once(floor: Floor, book: Book) -> None:
    floor.store.lose_answer("book")
    book.add(book.yes(1))
    await floor.clock.advance(2)

    journal = await floor.store.journal(book.order_id, after_seq=0, limit=100)
    assert sum(isinstance(entry.event, ev.ExecutionAccepted) for entry in journal) == 1


async def test_an_outcome_that_was_overtaken_is_let_go(floor: Floor, book: Book) -> None:
    event = ev.ExecutionReleased(seq=1, chunk=0, attempt=7, reason="LATE", not_before=floor.clock.now())
    book.add(Booking(order_id=book.order_id, event=event))
    book.add(book.yes(2))
    await floor.clock.advance(10)

    assert book.batches() == [[1, 2]]
    assert await book.live() == [False, True, False, False, False]


async def test_an_outcome_after_a_pause_is_stored_too(book: Book) -> None:
    book.add(book.yes(1))
    await book.flush()
    book.add(book.yes(2))
    await book.flush()

    assert await book.live() == [True, True, False, False, False]


async def test_a_flush_of_nothing_returns_at_once(book: Book) -> None:
    async with running(book.flush()) as flush:
        assert flush.done()


async def test_a_flush_returns_when_everything_is_stored(floor: Floor, book: Book) -> None:
    floor.store.away = True
    book.add(book.yes(1))
    async with running(book.flush()) as flush:
        book.add(book.yes(2))
        await floor.clock.advance(10)
        early = flush.done()
        floor.store.away = False
        await floor.clock.advance(2)

        assert (early, flush.done()) == (False, True)
        assert await book.live() == [True, True, False, False, False]


async def test_an_outcome_of_an_order_that_is_to_be_cancelled_is_cancelled_at_the_broker(
    floor: Floor, book: Book
) -> None:
    [ticket_row] = [
        floor.broker.foreign(
            instrument=(await floor.view(book.order_id)).order.request.instrument,
            side=(await floor.view(book.order_id)).order.request.side,
            quantity=10,
        )
    ]
    await floor.store.request_cancel(book.order_id, "desk-1")
    await floor.cancel()

    event = ev.ExecutionAccepted(seq=1, chunk=0, broker_order_id=ticket_row.broker_order_id)
    book.add(Booking(order_id=book.order_id, event=event))
    await book.flush()

    assert floor.broker.cancels == [ticket_row.broker_order_id]


async def test_one_outcome_that_the_store_refuses_does_not_take_the_others_with_it(
    floor: Floor, book: Book
) -> None:
    poisoned = book.yes(2)
    plain_book = floor.store.book

    async def refuse_poison(bookings: list[Booking]) -> object:
        if poisoned in bookings:
            raise StorageRejected("a value cannot be stored")
        return await plain_book(bookings)

    floor.store.book = refuse_poison  # type: ignore[method-assign, assignment]
    loop, unretrieved = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: unretrieved.append(context))
    try:
        for seq in (1, 2, 3):
            book.add(book.yes(seq))
        await floor.clock.advance(10)
    finally:
        loop.set_exception_handler(None)

    assert await book.live() == [True, False, True, False, False]


async def test_a_refused_outcome_does_not_keep_later_ones_out(floor: Floor, book: Book) -> None:
    floor.store.fail("book", StorageRejected("a value cannot be stored"))
    book.add(book.yes(1))
    await floor.clock.advance(10)
    book.add(book.yes(2))
    await floor.clock.advance(10)

    await until(lambda: not floor.store.away)
    assert (await book.live())[1]
