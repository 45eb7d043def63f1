"""A process with a wrong clock sends nothing until it is right."""

from datetime import datetime, timedelta

import pytest

from pulse_background.workers.skew_watch import SkewWatch
from pulse_domain.errors import StorageUnavailable
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_store import InMemoryOrderStore


class SkewedStore(InMemoryOrderStore):
    """A store whose clock is ahead, and which takes its time to say so."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.clock = clock

    ahead_s = 0.0
    takes_s = 0.0
    away = False

    async def now(self) -> datetime:
        if self.away:
            raise StorageUnavailable("away")
        await self.clock.advance(self.takes_s / 2)
        said = self.clock.now() + timedelta(seconds=self.ahead_s)
        await self.clock.advance(self.takes_s / 2)
        return said


@pytest.fixture
def store() -> SkewedStore:
    return SkewedStore(FakeClock())


@pytest.mark.parametrize(
    ("ahead_s", "takes_s", "right"),
    [
        (0.0, 0.0, True),
        (0.24, 0.0, True),
        (-0.24, 0.0, True),
        (0.26, 0.0, False),
        (-0.26, 0.0, False),
        # Half of the round trip is in doubt, and counts for the clock.
        (0.3, 0.2, True),
        (-0.3, 0.2, True),
        (0.4, 0.2, False),
    ],
)
async def test_a_clock_is_right_within_a_quarter_of_a_second(
    store: SkewedStore, ahead_s: float, takes_s: float, right: bool
) -> None:
    store.ahead_s, store.takes_s = ahead_s, takes_s
    skews: list[float] = []
    watch = SkewWatch(store, store.clock, max_s=0.25, on_skew=skews.append)
    assert not watch.lets_place

    await watch.measure()

    assert watch.lets_place is right
    assert skews == [pytest.approx(-ahead_s)]


async def test_it_tells_when_its_word_changes_and_holds_it_while_the_store_is_away(store: SkewedStore) -> None:
    changes: list[bool] = []
    watch = SkewWatch(store, store.clock, max_s=0.25, on_change=lambda: changes.append(watch.lets_place))
    for ahead_s in (0.0, 0.1, 2.0, 2.0, 0.0):
        store.ahead_s = ahead_s
        await watch.measure()
    store.away = True
    with pytest.raises(StorageUnavailable):
        await watch.measure()

    assert changes == [True, False, True]
    assert watch.lets_place
