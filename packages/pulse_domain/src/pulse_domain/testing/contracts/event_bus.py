"""What every event bus promises. There is no double of it: the real one is in memory already."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.event_bus import (
    COMMANDS,
    NOTIFICATIONS,
    TICKS,
    Command,
    EventBus,
    Overflow,
    SubscriberFigures,
)
from pulse_domain.ports.notifier import Notification, NotificationKind

_OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)
_LIMIT_S = 30.0


def tick(number: int, symbol: str = "TCS") -> Tick:
    return Tick(Instrument.parse(f"NSE:{symbol}"), _OPEN + timedelta(seconds=number), Decimal(3000 + number))


def notification(number: int) -> Notification:
    return Notification(kind=NotificationKind.FILL, about=str(number))


class Listener:
    """Keeps what it is given; while its gate is closed it takes nothing more."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.calls: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, events: Sequence[Any]) -> None:
        self.heard += events
        self.calls.append(len(events))
        await self.gate.wait()


async def until(holds: Callable[[], bool]) -> None:
    async def look() -> None:
        while True:
            if holds():
                return
            await asyncio.sleep(0)

    await asyncio.wait_for(look(), _LIMIT_S)


class EventBusContract:
    """Subclass it and override `bus`."""

    @pytest.fixture
    def bus(self) -> EventBus:
        pytest.fail("a subclass overrides this fixture")

    async def busy(self, bus: EventBus, overflow: Overflow, size_max: int = 3) -> Listener:
        """A listener to ticks that is busy with number 0."""
        listener = Listener()
        bus.subscribe(TICKS, "listener", listener, overflow=overflow, size_max=size_max)
        listener.gate.clear()
        bus.publish(TICKS, tick(0))
        await until(lambda: listener.heard == [tick(0)])
        return listener

    def figures(self, bus: EventBus, subscriber: str = "listener") -> SubscriberFigures:
        return next(each for each in bus.figures() if each.subscriber == subscriber)

    async def test_every_subscriber_of_a_topic_gets_its_events_in_order_and_nobody_else_does(
        self, bus: EventBus
    ) -> None:
        one, other, elsewhere = Listener(), Listener(), Listener()
        bus.subscribe(NOTIFICATIONS, "one", one)
        bus.subscribe(NOTIFICATIONS, "other", other)
        bus.subscribe(COMMANDS, "elsewhere", elsewhere)
        events = [notification(number) for number in range(250)]

        bus.publish(NOTIFICATIONS, *events[:100])
        for event in events[100:]:
            bus.publish(NOTIFICATIONS, event)
        await bus.close()

        assert one.heard == other.heard == events
        assert elsewhere.heard == []

    async def test_a_subscriber_gets_what_is_published_after_it_came_and_before_it_went(
        self, bus: EventBus
    ) -> None:
        listener = Listener()
        bus.publish(NOTIFICATIONS, notification(0))
        subscription = bus.subscribe(NOTIFICATIONS, "listener", listener)
        bus.publish(NOTIFICATIONS, notification(1))
        await until(lambda: listener.heard != [])
        subscription.cancel()
        subscription.cancel()
        bus.publish(NOTIFICATIONS, notification(2))
        await bus.close()

        assert listener.heard == [notification(1)]
        assert bus.figures() == []

    async def test_a_name_is_free_again_after_its_subscriber_has_gone(self, bus: EventBus) -> None:
        bus.subscribe(TICKS, "listener", Listener()).cancel()
        listener = Listener()
        bus.subscribe(TICKS, "listener", listener)

        bus.publish(TICKS, tick(0))
        await bus.close()

        assert listener.heard == [tick(0)]

    @pytest.mark.parametrize("batch_max", [1, 2, 100])
    async def test_a_call_has_no_more_events_than_asked_for(self, bus: EventBus, batch_max: int) -> None:
        listener = Listener()
        bus.subscribe(NOTIFICATIONS, "listener", listener, batch_max=batch_max)

        bus.publish(NOTIFICATIONS, *(notification(number) for number in range(5)))
        await bus.close()

        assert len(listener.heard) == 5
        assert max(listener.calls) == min(batch_max, 5)

    async def test_who_is_too_slow_for_ticks_loses_the_oldest_and_that_is_counted(self, bus: EventBus) -> None:
        listener = await self.busy(bus, Overflow.DROP_OLDEST)

        bus.publish(TICKS, *(tick(number) for number in range(1, 4)))
        bus.publish(TICKS, *(tick(number) for number in range(4, 11)))
        assert (self.figures(bus).depth, self.figures(bus).dropped) == (3, 7)
        listener.gate.set()
        await bus.close()

        assert listener.heard == [tick(number) for number in (0, 8, 9, 10)]

    async def test_who_wants_the_latest_gets_that_of_each_instrument(self, bus: EventBus) -> None:
        listener = await self.busy(bus, Overflow.LATEST)

        for number in range(1, 11):
            bus.publish(TICKS, tick(number, "TCS"), tick(number, "INFY"))
        assert (self.figures(bus).depth, self.figures(bus).conflated) == (2, 18)
        listener.gate.set()
        await bus.close()

        assert listener.heard == [tick(0), tick(10, "TCS"), tick(10, "INFY")]

    async def test_a_busy_instrument_does_not_keep_a_quiet_one_from_its_turn(self, bus: EventBus) -> None:
        heard: list[str] = []

        async def slow(ticks: Sequence[Tick]) -> None:
            heard.append(ticks[0].instrument.symbol)
            bus.publish(TICKS, tick(len(heard), "BUSY"))

        bus.subscribe(TICKS, "slow", slow, overflow=Overflow.LATEST, batch_max=1)
        bus.publish(TICKS, tick(0, "BUSY"), tick(0, "QUIET"))
        await until(lambda: len(heard) > 3)

        assert heard[:3] == ["BUSY", "QUIET", "BUSY"]

    async def test_latest_is_bounded_too(self, bus: EventBus) -> None:
        listener = await self.busy(bus, Overflow.LATEST, size_max=2)

        bus.publish(TICKS, *(tick(number, f"S{number}") for number in range(1, 6)))
        assert (self.figures(bus).depth, self.figures(bus).dropped) == (2, 3)
        listener.gate.set()
        await bus.close()

        assert listener.heard[1:] == [tick(4, "S4"), tick(5, "S5")]

    async def test_what_is_lossless_spills_and_nothing_goes(self, bus: EventBus) -> None:
        listener = Listener()
        bus.subscribe(NOTIFICATIONS, "listener", listener, size_max=3)
        events = [notification(number) for number in range(2000)]

        for event in events:
            bus.publish(NOTIFICATIONS, event)
        figures = self.figures(bus)
        await bus.close()

        assert (figures.depth, figures.spilled, figures.dropped) == (2000, 1997, 0)
        assert listener.heard == events

    async def test_a_subscriber_that_sleeps_for_ever_harms_nobody(self, bus: EventBus) -> None:
        stuck = await self.busy(bus, Overflow.DROP_OLDEST)
        awake = Listener()
        bus.subscribe(TICKS, "awake", awake)

        for number in range(1, 1001):
            bus.publish(TICKS, tick(number))
        await until(lambda: len(awake.heard) == 1000)

        assert stuck.heard == [tick(0)]
        assert (self.figures(bus).depth, self.figures(bus).dropped) == (3, 997)
        await bus.close(timeout_s=0.01)

    async def test_a_subscriber_that_raises_harms_nobody_and_goes_on(self, bus: EventBus) -> None:
        heard: list[str] = []

        async def fails(events: Sequence[Notification]) -> None:
            heard.extend(event.about for event in events)
            raise RuntimeError("as planned")

        async def waits_for_what_is_cancelled(events: Sequence[Notification]) -> None:
            gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone

        well = Listener()
        bus.subscribe(NOTIFICATIONS, "fails", fails, batch_max=1)
        bus.subscribe(NOTIFICATIONS, "cancelled", waits_for_what_is_cancelled)
        bus.subscribe(NOTIFICATIONS, "well", well)
        for number in range(5):
            bus.publish(NOTIFICATIONS, notification(number))
        await until(lambda: len(well.heard) == len(heard) == 5)
        await until(lambda: self.figures(bus, "cancelled").failed == 5)

        assert heard == ["0", "1", "2", "3", "4"]
        assert self.figures(bus, "fails").failed == 5
        assert self.figures(bus, "well").failed == 0
        await bus.close()

    async def test_figures_tell_how_long_a_subscriber_is_behind(self, bus: EventBus) -> None:
        listener = await self.busy(bus, Overflow.DROP_OLDEST)
        before = self.figures(bus).lag_s
        await until(lambda: self.figures(bus).lag_s > before)

        listener.gate.set()
        await until(lambda: self.figures(bus).lag_s == 0)

        assert self.figures(bus).delivered == 1
        await bus.close()

    @pytest.mark.parametrize("overflow", [Overflow.LATEST, Overflow.DROP_OLDEST])
    async def test_what_is_lossless_cannot_be_asked_for_with_losses(
        self, bus: EventBus, overflow: Overflow
    ) -> None:
        with pytest.raises(ValueError, match=f"notification does not allow {overflow}"):
            bus.subscribe(NOTIFICATIONS, "listener", Listener(), overflow=overflow)

        assert bus.figures() == []

    async def test_market_data_cannot_pile_up(self, bus: EventBus) -> None:
        with pytest.raises(ValueError, match="tick does not allow SPILL"):
            bus.subscribe(TICKS, "listener", Listener(), overflow=Overflow.SPILL)

    async def test_a_second_subscriber_of_the_same_name_is_refused(self, bus: EventBus) -> None:
        bus.subscribe(TICKS, "listener", Listener())

        with pytest.raises(ValueError, match="listener has subscribed to tick already"):
            bus.subscribe(TICKS, "listener", Listener())
        await bus.close()

    async def test_bounds_below_one_are_refused(self, bus: EventBus) -> None:
        with pytest.raises(ValueError, match="size_max must be at least 1"):
            bus.subscribe(TICKS, "listener", Listener(), size_max=0)
        with pytest.raises(ValueError, match="batch_max must be at least 1"):
            bus.subscribe(TICKS, "listener", Listener(), batch_max=0)

    async def test_closing_delivers_what_waits_and_nothing_after_that(self, bus: EventBus) -> None:
        listener = Listener()
        bus.subscribe(COMMANDS, "listener", listener)
        before, after = (Command(at=_OPEN, sender="ops", name=name) for name in ("before", "after"))

        bus.publish(COMMANDS, before)
        await bus.close()
        bus.publish(COMMANDS, after)
        await bus.close()

        assert listener.heard == [before]

    async def test_closing_ends_where_a_subscriber_does_not(self, bus: EventBus) -> None:
        stuck = await self.busy(bus, Overflow.LATEST)

        closing: Awaitable[None] = bus.close(timeout_s=0.01)
        await asyncio.wait_for(closing, _LIMIT_S)

        assert stuck.heard == [tick(0)]
