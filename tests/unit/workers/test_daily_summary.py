from datetime import UTC, datetime, time

from pulse_background.workers.daily_summary import DailySummary
from pulse_domain.errors import StorageUnavailable
from pulse_domain.ports.notifier import NotificationKind
from pulse_domain.testing.memory_notifier import RecordingNotifier
from pulse_domain.use_cases.day_summary import DaySummary
from tests.unit.workers.floor import Floor, running

DAY_S = 24 * 3600


def summary(floor: Floor, notifier: RecordingNotifier) -> DailySummary:
    return DailySummary(DaySummary(floor.store), floor.clock, notifier.notify, at=time(15, 45))


async def test_day_is_told_once_at_its_time(floor: Floor) -> None:
    # The clock starts at 09:30 in India.
    assert floor.clock.now() == datetime(2026, 1, 5, 4, 0, tzinfo=UTC)
    notifier = RecordingNotifier()
    await floor.order()

    async with running(summary(floor, notifier).run()):
        await floor.clock.advance(6 * 3600 + 14 * 60)
        before = list(notifier.told)
        await floor.clock.advance(DAY_S - 3600)

    assert before == []
    [note] = notifier.told
    assert (note.kind, note.about) == (NotificationKind.DAILY_SUMMARY, "2026-01-05")
    assert note.parts["orders"] == "1 SCHEDULED"
    assert note.parts["slices"] == "1 SCHEDULED"
    assert str(note.parts["value in rupees"]) == "0.00"


async def test_day_without_orders_is_not_told(floor: Floor) -> None:
    notifier = RecordingNotifier()

    async with running(summary(floor, notifier).run()):
        await floor.clock.advance(3 * DAY_S)

    assert notifier.told == []


async def test_summary_waits_for_the_store(floor: Floor) -> None:
    notifier = RecordingNotifier()
    await floor.order()
    listed, failures = floor.store.list_orders, [StorageUnavailable(), StorageUnavailable()]

    async def shaky(*args: object, **kwargs: object) -> object:
        if failures:
            raise failures.pop()
        return await listed(*args, **kwargs)  # type: ignore[arg-type]

    floor.store.list_orders = shaky  # type: ignore[method-assign,assignment]
    async with running(summary(floor, notifier).run()):
        await floor.clock.advance(8 * 3600)

    assert len(notifier.told) == 1
    assert failures == []
