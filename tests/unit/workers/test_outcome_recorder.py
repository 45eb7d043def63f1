from collections.abc import Sequence

import pytest

from pulse_background.workers.outcome_recorder import OutcomeRecorder
from pulse_domain.errors import StorageRejected
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import Order
from pulse_domain.orders.status import Phase
from pulse_domain.ports.order_store import Booked, Booking
from pulse_domain.testing.fake_clock import settle
from tests.unit.workers.floor import Broken, Floor, ShakyStore, faults_unseen, left_tidy, running


class Book:
    """The recorder on a floor, and an order whose executions wait for their outcomes."""

    def __init__(self, floor: Floor, order: Order) -> None:
        self.recorder = OutcomeRecorder(floor.record, floor.clock)
        self.flush = self.recorder.flush
        self.order = order
        self._floor = floor

    def add(self, *events: ev.AnyExecutionEvent) -> None:
        for event in events:
            self.recorder.add(Booking(order_id=self.order.order_id, event=event), self.order)

    async def live(self) -> list[int]:
        """The slices whose outcome is stored."""
        executions = await self._floor.executions(self.order.order_id)
        return [execution.seq for execution in executions if execution.phase is Phase.LIVE]

    def batches(self) -> list[list[int]]:
        """The slices whose outcomes each batch held."""
        return [[booking.event.seq for booking in batch] for batch in self._floor.store.batches]


def yes(seq: int) -> ev.ExecutionAccepted:
    return ev.ExecutionAccepted(seq=seq, chunk=0, broker_order_id=BrokerOrderId(f"B-{seq}"))


async def waiting_book(floor: Floor) -> Book:
    order_id = await floor.order(*[10] * 5)
    await floor.store.claim_executions(5, "executor-1", 120.0)
    return Book(floor, (await floor.view(order_id)).order)


@pytest.fixture
async def book(floor: Floor) -> Book:
    return await waiting_book(floor)


async def test_an_outcome_is_stored_at_once(book: Book) -> None:
    book.add(yes(1))
    await settle()

    assert await book.live() == [1]


async def test_what_gathers_while_one_batch_is_written_makes_the_next(floor: Floor, book: Book) -> None:
    writing = floor.store.hold("book")
    book.add(yes(1))
    await settle()
    for seq in (2, 3, 4):
        book.add(yes(seq))
    await settle()
    writing.set()
    await book.flush()

    assert book.batches() == [[1], [2, 3, 4]]


async def test_outcomes_that_come_together_travel_together(book: Book) -> None:
    for seq in (3, 1, 2):
        book.add(yes(seq))
    await book.flush()

    assert book.batches() == [[3, 1, 2]]


async def test_outcomes_wait_for_a_store_that_is_away_and_keep_their_order(floor: Floor, book: Book) -> None:
    floor.store.away = True
    for seq in (1, 2, 3):
        book.add(yes(seq))
        await floor.clock.advance(2)
    meanwhile = await book.live()
    floor.store.away = False
    await floor.clock.advance(2)

    assert (meanwhile, await book.live()) == ([], [1, 2, 3])
    assert book.batches()[-1] == [1, 2, 3]


async def test_a_store_that_is_away_is_not_besieged(floor: Floor, book: Book) -> None:
    floor.store.away = True
    book.add(yes(1))
    await settle(200)

    assert len(book.batches()) == 1
    floor.store.away = False
    await floor.clock.advance(2)


async def test_a_batch_whose_answer_was_lost_is_stored_once(floor: Floor, book: Book) -> None:
    floor.store.lose_answer("book")
    book.add(yes(1))
    await floor.clock.advance(2)

    journal = await floor.store.journal(book.order.order_id, after_seq=0, limit=100)
    assert sum(isinstance(entry.event, ev.ExecutionAccepted) for entry in journal) == 1


async def test_an_outcome_that_was_overtaken_is_let_go(floor: Floor, book: Book) -> None:
    event = ev.ExecutionReleased(seq=1, chunk=0, attempt=7, reason="LATE", not_before=floor.clock.now())
    book.add(event, yes(2))
    await floor.clock.advance(10)

    assert book.batches() == [[1, 2]]
    assert await book.live() == [2]


async def test_an_outcome_after_a_pause_is_stored_too(book: Book) -> None:
    book.add(yes(1))
    await book.flush()
    book.add(yes(2))
    await book.flush()

    assert await book.live() == [1, 2]


async def test_a_flush_of_nothing_returns_at_once(book: Book) -> None:
    async with running(book.flush()) as flush:
        assert flush.done()


async def test_a_flush_returns_when_everything_is_stored(floor: Floor, book: Book) -> None:
    floor.store.away = True
    book.add(yes(1))
    async with running(book.flush()) as flush:
        book.add(yes(2))
        await floor.clock.advance(10)
        early = flush.done()
        floor.store.away = False
        await floor.clock.advance(2)

        assert (early, flush.done()) == (False, True)
        assert await book.live() == [1, 2]


async def test_an_outcome_of_an_order_that_is_to_be_cancelled_calls_for_the_cancel(
    floor: Floor, book: Book
) -> None:
    await floor.store.request_cancel(book.order.order_id, "desk-1")
    await floor.cancel()

    book.add(yes(1))
    await book.flush()

    assert floor.cancels_due == 1


async def test_an_outcome_that_nobody_wants_cancelled_calls_for_nothing(floor: Floor, book: Book) -> None:
    book.add(yes(1))
    await book.flush()

    assert floor.cancels_due == 0


class PickyStore(ShakyStore):
    """Refuses what holds an outcome of the second slice, as Postgres does with a zero byte in a text."""

    async def book(self, bookings: Sequence[Booking]) -> list[Booked]:
        if any(booking.event.seq == 2 for booking in bookings):
            raise StorageRejected("a value cannot be stored")
        return await super().book(bookings)


async def test_an_outcome_that_the_store_refuses_does_not_take_the_others_with_it() -> None:
    async with left_tidy(), faults_unseen():
        floor = Floor(PickyStore)
        book = await waiting_book(floor)

        book.add(yes(1), yes(2), yes(3))
        await floor.clock.advance(10)
        book.add(yes(4))
        await floor.clock.advance(10)

        assert await book.live() == [1, 3, 4]


async def test_a_mistake_of_ours_is_told_to_whoever_flushes(floor: Floor, book: Book) -> None:
    floor.store.fail("book", Broken())
    book.add(yes(1))

    with pytest.raises(Broken):
        await book.flush()


async def test_a_mistake_of_ours_is_told_to_whoever_checks(floor: Floor, book: Book) -> None:
    book.recorder.check()
    floor.store.fail("book", Broken())
    book.add(yes(1))
    await settle()

    with pytest.raises(Broken):
        book.recorder.check()


async def test_while_all_is_well_a_check_says_nothing(floor: Floor, book: Book) -> None:
    writing = floor.store.hold("book")
    book.add(yes(1))
    book.recorder.check()
    writing.set()
    await book.flush()

    book.recorder.check()
