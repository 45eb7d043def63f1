import pytest

from pulse_background.wakeup import Wakeup
from pulse_background.workers.order_archiver import OrderArchiver
from pulse_domain.testing.factories import new_order
from pulse_domain.testing.fake_clock import settle
from pulse_domain.use_cases.archive import ArchiveOrders
from tests.unit.workers.floor import Floor, running

DAY_S = 86_400.0
INTERVAL_S = 3_600.0
PAUSE_S = 0.5


class Archiver(OrderArchiver):
    def __init__(self, floor: Floor) -> None:
        archive = ArchiveOrders(floor.store, lambda: floor.clock.sleep(PAUSE_S), done_for_s=DAY_S, batch_size=2)
        super().__init__(archive, Wakeup(floor.clock), interval_s=INTERVAL_S)


@pytest.fixture
def archiver(floor: Floor) -> Archiver:
    return Archiver(floor)


async def skipped_orders(floor: Floor, count: int) -> None:
    for _ in range(count):
        accepted = await floor.store.accept(new_order(floor.ids))
        await floor.store.request_cancel(accepted.order_id, "desk")


async def orders_left(floor: Floor) -> int:
    return len(await floor.store.list_orders(None, limit=100))


async def test_it_archives_what_has_been_done_for_long_and_rests_between_batches(
    floor: Floor, archiver: Archiver
) -> None:
    await skipped_orders(floor, 5)
    await floor.clock.advance(DAY_S + 1)
    await skipped_orders(floor, 1)
    left = []

    async with running(archiver.run()):
        for _ in range(4):
            await settle()
            left.append(await orders_left(floor))
            await floor.clock.advance(PAUSE_S)

    assert left == [4, 2, 1, 1]


async def test_it_looks_again_at_every_interval(floor: Floor, archiver: Archiver) -> None:
    await skipped_orders(floor, 1)

    async with running(archiver.run()):
        assert await orders_left(floor) == 1
        await floor.clock.advance(DAY_S)
        for _ in range(2):
            await floor.clock.advance(INTERVAL_S)

        assert await orders_left(floor) == 0


async def test_it_goes_on_after_an_outage_of_the_store(floor: Floor, archiver: Archiver) -> None:
    await skipped_orders(floor, 1)
    await floor.clock.advance(DAY_S + 1)
    floor.store.away = True

    async with running(archiver.run()):
        await settle()
        floor.store.away = False
        await floor.clock.advance(INTERVAL_S)

        assert await orders_left(floor) == 0
