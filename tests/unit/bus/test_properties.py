"""Whatever the interleaving of publishers and subscribers: order, losslessness, and the latest of each key."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pulse_adapters.bus.in_process import InProcessEventBus
from pulse_adapters.bus.waiting import MARK_S, InLine
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.event_bus import NOTIFICATIONS, TICKS, Overflow, SubscriberFigures, Topic
from pulse_domain.ports.notifier import Notification, NotificationKind
from pulse_domain.testing.fake_clock import FakeClock

OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)
INSTRUMENTS = [Instrument.parse(f"NSE:{symbol}") for symbol in ("TCS", "INFY", "SBIN")]

# Each step publishes so many events, of the instruments told, and then lets the loop turn so many times.
steps = st.lists(
    st.tuples(
        st.lists(st.integers(0, 2), max_size=6), st.integers(0, 4), st.sampled_from([0.0, 0.004, 0.02, 1.0])
    ),
    max_size=25,
)
# How long a subscriber takes over each call, in turns of the loop, and whether it raises then.
paces = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=8)
sizes = st.tuples(st.integers(1, 5), st.integers(1, 5))


class Paced:
    def __init__(self, pace: Sequence[tuple[int, bool]]) -> None:
        self._pace = pace
        self.heard: list[object] = []
        self.calls = 0

    async def __call__(self, events: Sequence[object]) -> None:
        turns, raises = self._pace[self.calls % len(self._pace)]
        self.calls += 1
        self.heard += events
        for _ in range(turns):
            await asyncio.sleep(0)
        if raises:
            raise RuntimeError("as planned")


async def play(
    overflow: Overflow,
    played: Sequence[tuple[Sequence[int], int, float]],
    pace: Sequence[tuple[int, bool]],
    size_max: int,
    batch_max: int,
) -> tuple[list[object], list[object], list[SubscriberFigures]]:
    """What was published, what was heard, and the figures after each step and at the end."""
    clock = FakeClock()
    bus = InProcessEventBus(clock)
    subscriber, published, seen = Paced(pace), list[object](), list[SubscriberFigures]()
    topic: Topic[Any] = NOTIFICATIONS if overflow is Overflow.SPILL else TICKS
    bus.subscribe(topic, "paced", subscriber, overflow=overflow, size_max=size_max, batch_max=batch_max)
    for which, turns, seconds in played:
        events: list[object] = []
        for number in which:
            at = OPEN + timedelta(milliseconds=len(published) + len(events))
            if overflow is Overflow.SPILL:
                events.append(Notification(kind=NotificationKind.FILL, about=str(at)))
            else:
                events.append(Tick(INSTRUMENTS[number], at, Decimal(100)))
        published += events
        bus.publish(topic, *events)
        for _ in range(turns):
            await asyncio.sleep(0)
        if seconds:
            await clock.advance(seconds)
        seen += bus.figures()
    while True:
        if not bus.figures()[0].depth:
            break
        await asyncio.sleep(0)
    seen += bus.figures()
    await bus.close()
    return published, subscriber.heard, seen


def is_subsequence(some: Sequence[object], of: Sequence[object]) -> bool:
    rest = iter(of)
    return all(any(each is other for other in rest) for each in some)


@given(steps, paces, sizes)
async def test_lossless_events_all_arrive_once_and_in_order(played, pace, sizes) -> None:
    published, heard, seen = await play(Overflow.SPILL, played, pace, *sizes)

    assert heard == published
    assert (seen[-1].delivered, seen[-1].dropped, seen[-1].conflated) == (len(published), 0, 0)


@given(steps, paces, sizes)
async def test_dropping_keeps_the_order_and_the_newest_and_counts_the_rest(played, pace, sizes) -> None:
    published, heard, seen = await play(Overflow.DROP_OLDEST, played, pace, *sizes)

    assert is_subsequence(heard, published)
    assert heard[-1:] == published[-1:]
    assert len(heard) + seen[-1].dropped == len(published)
    assert all(each.depth <= sizes[0] for each in seen)


@given(steps, paces, sizes)
async def test_conflation_always_ends_at_the_latest_of_each_instrument(played, pace, sizes) -> None:
    size_max = max(sizes[0], len(INSTRUMENTS))
    published, heard, seen = await play(Overflow.LATEST, played, pace, size_max, sizes[1])

    for instrument in INSTRUMENTS:
        all_of_it = [tick for tick in published if isinstance(tick, Tick) and tick.instrument == instrument]
        told = [tick for tick in heard if isinstance(tick, Tick) and tick.instrument == instrument]
        assert is_subsequence(told, all_of_it)
        assert told[-1:] == all_of_it[-1:]
    assert len(heard) + seen[-1].conflated == len(published)
    assert seen[-1].dropped == 0


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([0.0, 0.004, 0.02])), max_size=30),
    st.sampled_from([Overflow.DROP_OLDEST, Overflow.SPILL]),
    st.integers(1, 6),
)
def test_the_age_of_the_oldest_is_told_within_a_mark(played, overflow: Overflow, size_max: int) -> None:
    line, since, now = InLine[int](size_max, spills=overflow is Overflow.SPILL), list[float](), 0.0
    for put, take, seconds in played:
        now += seconds
        if put:
            line.put(range(put), now)
        since += [now] * put
        if overflow is Overflow.DROP_OLDEST:
            since = since[-size_max:]
        oldest = line.oldest_at()
        assert (oldest is None) == (not since)
        assert oldest is None or since[0] - MARK_S <= oldest <= since[0]
        if take:
            line.take(take)
            del since[:take]
