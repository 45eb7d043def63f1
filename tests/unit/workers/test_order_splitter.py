import pytest

from pulse_background.wakeup import Wakeup
from pulse_background.workers.order_splitter import OrderSplitter
from pulse_domain.instruments import InstrumentTerms
from pulse_domain.orders.status import OrderQueueStatus, OrderState
from pulse_domain.testing.factories import TAG_PREFIX
from pulse_domain.testing.fake_clock import settle
from pulse_domain.use_cases.split import SplitOrders, SplitSettings
from tests.unit.workers.floor import Broken, Floor, running

POLL_S = 5.0
LEASE_S = 20.0
DONE, IN_PROGRESS, PENDING = OrderQueueStatus.DONE, OrderQueueStatus.IN_PROGRESS, OrderQueueStatus.PENDING
# Not even one lot is below the freeze quantity: there is no plan.
UNPLANNABLE = InstrumentTerms(lot_size=75, freeze_quantity=10)


class Splitter(OrderSplitter):
    """The splitter on a floor, its wake-up, and how often it said that slices are there."""

    def __init__(self, floor: Floor, batch_size: int = 10) -> None:
        self.wakeup = Wakeup(floor.clock)
        self.saved = 0
        settings = SplitSettings(
            executor="splitter-1", tag_prefix=TAG_PREFIX, batch_size=batch_size, lease_s=LEASE_S
        )
        split = SplitOrders(floor.store, settings)
        super().__init__(
            split,
            lambda: floor.store.recover_splits(3),
            floor.clock,
            self.wakeup,
            poll_s=POLL_S,
            on_saved=self._count,
        )

    def _count(self) -> None:
        self.saved += 1


@pytest.fixture
def splitter(floor: Floor) -> Splitter:
    return Splitter(floor)


async def test_orders_that_wait_already_are_split_at_once(floor: Floor, splitter: Splitter) -> None:
    order_id = await floor.accept()

    async with running(splitter.run()):
        assert await floor.queue_status(order_id) is DONE


async def test_a_hint_makes_it_split_before_its_poll(floor: Floor, splitter: Splitter) -> None:
    async with running(splitter.run()):
        order_id = await floor.accept()
        splitter.wakeup.call()
        await settle()

        assert await floor.queue_status(order_id) is DONE


async def test_an_order_whose_hint_was_lost_is_split_at_the_next_poll(floor: Floor, splitter: Splitter) -> None:
    async with running(splitter.run()):
        order_id = await floor.accept()
        await floor.clock.advance(POLL_S - 0.1)
        before = await floor.queue_status(order_id)
        await floor.clock.advance(0.1)

        assert (before, await floor.queue_status(order_id)) == (PENDING, DONE)


async def test_more_orders_than_a_batch_are_split_without_waiting(floor: Floor) -> None:
    splitter = Splitter(floor, batch_size=2)
    order_ids = [await floor.accept() for _ in range(5)]

    async with running(splitter.run()):
        assert [await floor.queue_status(order_id) for order_id in order_ids] == [DONE] * 5


async def test_a_hint_during_a_batch_is_not_lost(floor: Floor, splitter: Splitter) -> None:
    first = await floor.accept()
    saving = floor.store.hold("save_split")
    async with running(splitter.run()):
        second = await floor.accept()
        splitter.wakeup.call()
        saving.set()
        await settle()

        assert [await floor.queue_status(order_id) for order_id in (first, second)] == [DONE, DONE]


async def test_it_says_so_once_per_batch_when_slices_are_there(floor: Floor) -> None:
    splitter = Splitter(floor, batch_size=2)
    for _ in range(4):
        await floor.accept()

    async with running(splitter.run()):
        assert splitter.saved == 2


async def test_it_says_nothing_where_no_slices_came_of_it(floor: Floor, splitter: Splitter) -> None:
    await floor.accept(total_quantity=75, terms=UNPLANNABLE)

    async with running(splitter.run()):
        await floor.clock.advance(POLL_S)

        assert splitter.saved == 0


async def test_an_order_without_a_plan_fails_and_the_others_go_on(floor: Floor, splitter: Splitter) -> None:
    hopeless = await floor.accept(total_quantity=75, terms=UNPLANNABLE)
    sound = await floor.accept()

    async with running(splitter.run()):
        view = await floor.view(hopeless)
        assert (view.order.queue_status, view.summary.state) == (OrderQueueStatus.FAILED, OrderState.FAILED)
        assert await floor.queue_status(sound) is DONE


async def test_an_order_cancelled_during_the_split_gets_no_slices(floor: Floor, splitter: Splitter) -> None:
    order_id = await floor.accept()
    saving = floor.store.hold("save_split")
    async with running(splitter.run()):
        await floor.store.request_cancel(order_id, "desk-1")
        saving.set()
        await settle()

        assert await floor.queue_status(order_id) is OrderQueueStatus.SKIPPED
        assert await floor.executions(order_id) == []
        assert splitter.saved == 0


async def test_it_outlives_a_store_that_does_not_answer(floor: Floor, splitter: Splitter) -> None:
    order_id = await floor.accept()
    floor.store.away = True
    async with running(splitter.run()):
        await floor.clock.advance(10 * POLL_S)
        floor.store.away = False
        await floor.clock.advance(POLL_S)

        assert await floor.queue_status(order_id) is DONE


async def test_a_batch_is_finished_as_soon_as_a_store_that_went_away_is_back(
    floor: Floor, splitter: Splitter
) -> None:
    order_ids = [await floor.accept() for _ in range(3)]
    floor.store.fail("save_split", times=2)

    async with running(splitter.run()):
        before = [await floor.queue_status(order_id) for order_id in order_ids]
        await floor.clock.advance(2)

        assert before == [IN_PROGRESS] * 3
        assert [await floor.queue_status(order_id) for order_id in order_ids] == [DONE] * 3


async def test_a_batch_that_outlasted_its_lease_is_split_once(floor: Floor, splitter: Splitter) -> None:
    order_ids = [await floor.accept() for _ in range(3)]
    floor.store.fail("save_split", times=int(2 * LEASE_S / 0.5))

    async with running(splitter.run()):
        await floor.clock.advance(3 * LEASE_S)

        assert [await floor.queue_status(order_id) for order_id in order_ids] == [DONE] * 3
        assert [len(await floor.executions(order_id)) for order_id in order_ids] == [1] * 3


async def test_a_batch_of_a_worker_that_went_silent_is_taken_over(floor: Floor, splitter: Splitter) -> None:
    order_id = await floor.accept()
    await floor.store.claim_orders(1, "gone", LEASE_S)

    async with running(splitter.run()):
        before = await floor.queue_status(order_id)
        await floor.clock.advance(LEASE_S + POLL_S)

        assert (before, await floor.queue_status(order_id)) == (IN_PROGRESS, DONE)


async def test_a_plan_whose_answer_was_lost_is_stored_once(floor: Floor, splitter: Splitter) -> None:
    order_id = await floor.accept()
    floor.store.lose_answer("save_split")

    async with running(splitter.run()):
        await floor.clock.advance(2 * POLL_S)

        assert await floor.queue_status(order_id) is DONE
        assert len(await floor.executions(order_id)) == 1


async def test_stopping_ends_a_wait_at_once(floor: Floor, splitter: Splitter) -> None:
    async with running(splitter.run()) as run:
        splitter.stop()
        await settle()

        assert run.done()


async def test_stopping_finishes_the_batch_and_claims_no_other(floor: Floor) -> None:
    splitter = Splitter(floor, batch_size=2)
    order_ids = [await floor.accept() for _ in range(3)]
    saving = floor.store.hold("save_split")
    async with running(splitter.run()) as run:
        splitter.stop()
        await settle()
        still_at_it = not run.done()
        saving.set()
        await settle()

        assert (still_at_it, run.done()) == (True, True)
        assert [await floor.queue_status(order_id) for order_id in order_ids] == [DONE, DONE, PENDING]


async def test_stopped_before_it_ran_it_does_nothing(floor: Floor, splitter: Splitter) -> None:
    await floor.accept()
    splitter.stop()

    await splitter.run()

    assert floor.store.asked["claim_orders"] == 0


@pytest.mark.parametrize("step", ["recover_splits", "claim_orders", "save_split"])
async def test_a_mistake_of_ours_ends_it(floor: Floor, splitter: Splitter, step: str) -> None:
    await floor.accept()
    floor.store.fail(step, Broken())

    with pytest.raises(Broken):
        await splitter.run()
