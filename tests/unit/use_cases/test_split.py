import asyncio
from datetime import timedelta

from pulse_domain.orders.ids import OrderId
from pulse_domain.orders.model import Order, SplitConfig
from pulse_domain.orders.status import OrderQueueStatus, OrderState
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.testing.factories import TAG_PREFIX, new_order
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.testing.sequential_ids import SequentialIds
from pulse_domain.use_cases.split import SplitOrders, SplitReport, SplitSettings, plan_of
from tests.unit.use_cases.desk import GRACE_S, NIFTY, Desk

TWELVE = SplitConfig(num_splits=12, duration_minutes=60)
# More slices than units: acceptance would refuse it, a store takes it.
IMPOSSIBLE = SplitConfig(num_splits=5, duration_minutes=10)


def splitter(store: OrderStore, executor: str = "splitter-2", batch_size: int = 10) -> SplitOrders:
    return SplitOrders(
        store, SplitSettings(executor=executor, tag_prefix=TAG_PREFIX, batch_size=batch_size, lease_s=300.0)
    )


async def test_accepted_order_becomes_a_schedule(desk: Desk) -> None:
    order_id = (await desk.accept(total_quantity=10_000, split_config=TWELVE)).order_id

    report = await desk.split()

    assert report == SplitReport(saved=(order_id,))
    view = await desk.view(order_id)
    slices = await desk.store.slices(order_id)
    assert view.summary.state is OrderState.SCHEDULED
    assert [slice_.seq for slice_ in slices] == list(range(1, 13))
    assert sum(slice_.quantity for slice_ in slices) == 10_000
    assert (slices[0].scheduled_at, slices[-1].scheduled_at) == (view.order.starts_at, view.order.ends_at)


async def test_order_without_split_is_one_slice_at_its_start(desk: Desk) -> None:
    start = desk.clock.now() + timedelta(minutes=10)
    order_id = await desk.order(start_at=start)

    [slice_] = await desk.store.slices(order_id)

    assert (slice_.scheduled_at, slice_.quantity) == (start, 100)


async def test_slices_above_the_freeze_quantity_become_several_executions(desk: Desk) -> None:
    order_id = await desk.order(instrument=NIFTY, total_quantity=3750)

    executions = await desk.executions(order_id)

    assert [execution.quantity for execution in executions] == [1800, 1800, 150]
    assert len({execution.tag for execution in executions}) == 3
    assert all(e.tag.startswith(TAG_PREFIX) and len(e.tag) == 20 for e in executions)


async def test_window_of_every_execution_ends_after_the_grace(desk: Desk) -> None:
    order_id = await desk.order(total_quantity=1000, split_config=TWELVE)

    ends_at = (await desk.view(order_id)).order.ends_at

    assert {e.expires_at for e in await desk.executions(order_id)} == {ends_at + timedelta(seconds=GRACE_S)}


async def test_nothing_waiting_means_nothing_seen(desk: Desk) -> None:
    assert (await desk.split()).seen == 0
    await desk.order()
    assert (await desk.split()).seen == 0


async def test_batches_are_taken_oldest_first(desk: Desk) -> None:
    order_ids = [(await desk.accept(f"k-{i}")).order_id for i in range(5)]
    split = splitter(desk.store, batch_size=2)

    reports = [await split() for _ in range(4)]

    assert [report.saved for report in reports] == [
        tuple(order_ids[:2]), tuple(order_ids[2:4]), tuple(order_ids[4:]), (),
    ]  # fmt: skip


async def test_splitters_at_once_share_the_orders_out(desk: Desk) -> None:
    order_ids = [(await desk.accept(f"k-{i}", split_config=TWELVE)).order_id for i in range(8)]

    reports = await asyncio.gather(*[splitter(desk.store, f"s-{i}", batch_size=3)() for i in range(4)])

    assert sorted(order_id for report in reports for order_id in report.saved) == order_ids
    for order_id in order_ids:
        assert len(await desk.store.slices(order_id)) == 12


async def test_plan_after_a_crash_is_the_plan_that_was_lost(desk: Desk) -> None:
    await desk.accept(total_quantity=10_000, split_config=TWELVE)
    [order] = await desk.store.claim_orders(1, "splitter-that-dies", 300.0)
    lost = plan_of(order, TAG_PREFIX, GRACE_S)
    await desk.pass_time(301)

    assert (await desk.monitor()).splits_recovered == 1
    await desk.split()

    slices = await desk.store.slices(order.order_id)
    assert [slice_.scheduled_at for slice_ in slices] == [planned.scheduled_at for planned in lost.slices]
    assert [[(e.quantity, e.tag) for e in slice_.executions] for slice_ in slices] == [
        [(e.quantity, e.tag) for e in planned.executions] for planned in lost.slices
    ]
    assert (await desk.view(order.order_id)).order.split_attempt == 2


async def test_order_without_a_plan_fails_with_the_reason(desk: Desk) -> None:
    new = new_order(desk.ids, total_quantity=3, split_config=IMPOSSIBLE)
    await desk.store.accept(new)

    report = await desk.split()

    assert report == SplitReport(failed=(new.order_id,))
    view = await desk.view(new.order_id)
    assert view.summary.state is OrderState.FAILED
    assert view.order.failure is not None
    assert "at most 3 slices" in view.order.failure


async def test_order_without_a_plan_does_not_hold_the_others_up(desk: Desk) -> None:
    bad = new_order(desk.ids, total_quantity=3, split_config=IMPOSSIBLE)
    await desk.store.accept(bad)
    good = (await desk.accept()).order_id

    assert await desk.split() == SplitReport(saved=(good,), failed=(bad.order_id,))


class InterruptedStore(InMemoryOrderStore):
    """Something happens between the claim of the first orders and what follows."""

    interrupted_by: str = ""

    async def claim_orders(self, limit: int, executor: str, lease_s: float) -> list[Order]:
        orders = await super().claim_orders(limit, executor, lease_s)
        what, self.interrupted_by = self.interrupted_by, ""
        for order in orders:
            if what == "cancel":
                await self.request_cancel(order.order_id, "desk-1")
        if what == "take-over":
            assert isinstance(self._clock, FakeClock)
            await self._clock.advance(lease_s + 1)
            await self.recover_splits(3)
            await super().claim_orders(limit, "another", lease_s)
        return orders


async def interrupted(by: str, total_quantity: int) -> tuple[SplitReport, OrderId, InterruptedStore]:
    store = InterruptedStore(FakeClock())
    new = new_order(SequentialIds(), total_quantity=total_quantity, split_config=IMPOSSIBLE)
    await store.accept(new)
    store.interrupted_by = by
    return await splitter(store)(), new.order_id, store


async def test_order_cancelled_meanwhile_is_dropped() -> None:
    report, order_id, store = await interrupted("cancel", 100)

    assert report == SplitReport(dropped=(order_id,))
    view = await store.get(order_id)
    assert view is not None
    assert view.order.queue_status is OrderQueueStatus.SKIPPED
    assert await store.slices(order_id) == []


async def test_order_taken_over_meanwhile_is_dropped() -> None:
    report, order_id, store = await interrupted("take-over", 100)

    assert report == SplitReport(dropped=(order_id,))
    view = await store.get(order_id)
    assert view is not None
    assert (view.order.queue_status, view.order.split_attempt) == (OrderQueueStatus.IN_PROGRESS, 2)


async def test_order_without_a_plan_taken_over_meanwhile_is_dropped() -> None:
    report, order_id, store = await interrupted("take-over", 3)

    view = await store.get(order_id)
    assert view is not None
    assert view.order.queue_status is OrderQueueStatus.IN_PROGRESS
    assert report == SplitReport(dropped=(order_id,))
