from collections.abc import Sequence

from pulse_background.workers.desk_watch import DeskWatch
from pulse_domain.errors import StorageUnavailable
from pulse_domain.ports.notifier import NotificationKind as Kind
from pulse_domain.ports.notifier import Severity
from pulse_domain.testing.memory_notifier import RecordingNotifier
from tests.unit.workers.floor import Floor, running


class Watched:
    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.session = True
        self.notifier = RecordingNotifier()
        self.watch = DeskWatch(floor.store, self.is_open, floor.clock, self.notifier.notify, broker="zerodha")

    async def is_open(self) -> bool:
        return self.session

    def told(self) -> Sequence[tuple[Kind, Severity]]:
        return [(each.kind, each.severity) for each in self.notifier.told]


async def test_halt_and_resume_are_told_once(floor: Floor) -> None:
    watched = Watched(floor)
    async with running(watched.watch.run()):
        await floor.clock.advance(10)
        await floor.store.halt("operator", "fat finger")
        await floor.clock.advance(10)
        await floor.store.resume("operator", "all clear")
        await floor.clock.advance(10)

    assert watched.told() == [(Kind.HALT, Severity.HIGH), (Kind.RESUME, Severity.HIGH)]
    assert watched.notifier.told[0].parts == {"by": "operator", "reason": "fat finger"}


async def test_halt_that_was_there_before_is_told_at_the_start(floor: Floor) -> None:
    await floor.store.halt_for_reconcile("worker-1", "STRANGERS: X-1")
    watched = Watched(floor)

    async with running(watched.watch.run()):
        await floor.clock.advance(10)

    [note] = watched.notifier.told
    assert note.parts["until"] == "a reconcile is confirmed"


async def test_end_of_the_session_is_told_once_and_the_next_one_too(floor: Floor) -> None:
    watched = Watched(floor)
    async with running(watched.watch.run()):
        await floor.clock.advance(10)
        watched.session = False
        await floor.clock.advance(60)
        watched.session = True
        await floor.clock.advance(60)

    assert watched.told() == [(Kind.SESSION, Severity.HIGH), (Kind.SESSION, Severity.LOW)]
    assert "pulse broker login zerodha" in str(watched.notifier.told[0].parts)


async def test_nothing_is_told_of_what_cannot_be_read(floor: Floor, monkeypatch: object) -> None:
    watched = Watched(floor)
    state, watched.session = floor.store.trading_state, False

    async def away() -> object:
        raise StorageUnavailable

    floor.store.trading_state = away  # type: ignore[method-assign,assignment]
    async with running(watched.watch.run()):
        await floor.clock.advance(20)
        before = watched.told()
        floor.store.trading_state = state  # type: ignore[method-assign]
        await floor.clock.advance(20)

    assert before == []
    assert watched.told() == [(Kind.SESSION, Severity.HIGH)]
