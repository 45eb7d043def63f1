"""Circuit limits are known of what is subscribed to, as they were last told, and never of another day."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from structlog.testing import capture_logs

from pulse_background.market.hours import around_the_clock
from pulse_background.workers.circuit_keeper import CircuitKeeper
from pulse_domain.candles import HoursAt, SessionHours
from pulse_domain.instruments import Instrument
from pulse_domain.ports.circuit_reads import CircuitLimits
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.memory_circuits import InMemoryCircuits

TCS, INFY, BHEL = (Instrument.parse(f"NSE:{name}") for name in ("TCS", "INFY", "BHEL"))
OPEN = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)  # 09:15 in India
WIDE, NARROW = (Decimal(80), Decimal(120)), (Decimal(90), Decimal(110))


class Floor:
    def __init__(self, start: datetime = OPEN, hours_at: HoursAt = around_the_clock) -> None:
        self.clock = FakeClock(start)
        self.reads = InMemoryCircuits()
        self.reads.limits = {TCS: NARROW, INFY: WIDE}
        self.keeper = CircuitKeeper(self.reads, self.clock, hours_at)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.keeper.run())
        await settle()
        try:
            yield
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def subscribe(self, *instruments: Instrument) -> None:
        self.keeper.subscribe(instruments)
        await settle()


def session(instrument: Instrument, at: datetime) -> SessionHours | None:
    """From 09:15 to 15:30 on every day."""
    opens = at.replace(hour=3, minute=45, second=0, microsecond=0)
    closes = opens + timedelta(hours=6, minutes=15)
    return SessionHours(opens, closes) if opens <= at < closes else None


async def test_what_is_subscribed_to_is_asked_for_at_once() -> None:
    floor = Floor()
    async with floor.running():
        assert floor.reads.asked == []
        await floor.subscribe(TCS, BHEL)

        assert floor.reads.asked == [{TCS, BHEL}]
        assert [floor.keeper.get(each) for each in (TCS, BHEL, INFY)] == [NARROW, None, None]

        await floor.subscribe(TCS, INFY)
        assert floor.reads.asked == [{TCS, BHEL}, {TCS, INFY}]
        assert floor.keeper.get(INFY) == WIDE


async def test_it_is_asked_for_again_every_few_minutes() -> None:
    floor = Floor()
    async with floor.running():
        await floor.subscribe(TCS)
        floor.reads.limits[TCS] = WIDE
        await floor.clock.advance(179)
        assert floor.keeper.get(TCS) == NARROW
        await floor.clock.advance(1)

        assert floor.keeper.get(TCS) == WIDE
        assert len(floor.reads.asked) == 2


async def test_what_is_given_up_is_forgotten_and_asked_for_no_more() -> None:
    floor = Floor()
    async with floor.running():
        await floor.subscribe(TCS, INFY)
        await floor.subscribe(INFY)
        assert [floor.keeper.get(TCS), floor.keeper.get(INFY)] == [None, WIDE]
        await floor.clock.advance(180)
        await floor.subscribe()
        await floor.clock.advance(3600)

        assert floor.reads.asked == [{TCS, INFY}, {INFY}]


async def test_a_failure_is_told_once_and_what_was_known_stands() -> None:
    floor = Floor()
    with capture_logs() as lines:
        async with floor.running():
            await floor.subscribe(TCS)
            floor.reads.down = True
            await floor.clock.advance(180)
            await floor.clock.advance(60)
            assert len(floor.reads.asked) == 4
            assert floor.keeper.get(TCS) == NARROW
            assert [line["event"] for line in lines] == ["circuit limits cannot be read"]
            floor.reads.down, floor.reads.limits[TCS] = False, WIDE
            await floor.clock.advance(30)

            assert floor.keeper.get(TCS) == WIDE
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("circuit limits cannot be read", "warning"),
        ("circuit limits are read again", "info"),
    ]
    assert lines[0]["reason"] == "there is no session"


async def test_whatever_goes_wrong_it_goes_on() -> None:
    class Broken(InMemoryCircuits):
        async def read_circuits(
            self, instruments: Collection[Instrument]
        ) -> Mapping[Instrument, CircuitLimits]:
            told = await super().read_circuits(instruments)
            if len(self.asked) == 1:
                raise KeyError("a secret")
            return told

    floor = Floor()
    reads = Broken()
    reads.limits = {TCS: NARROW}
    floor.keeper = CircuitKeeper(reads, floor.clock, around_the_clock)
    with capture_logs() as lines:
        async with floor.running():
            await floor.subscribe(TCS)
            assert floor.keeper.get(TCS) is None
            await floor.clock.advance(30)
            assert floor.keeper.get(TCS) == NARROW
    assert lines[0]["reason"] == "KeyError"
    assert "a secret" not in str(lines)


async def test_what_is_not_told_again_stands_for_the_day() -> None:
    floor = Floor(hours_at=session)
    async with floor.running():
        await floor.subscribe(TCS)
        del floor.reads.limits[TCS]
        await floor.clock.advance(6 * 3600)

        assert len(floor.reads.asked) > 100
        assert floor.keeper.get(TCS) == NARROW


@pytest.mark.parametrize("down", [True, False])
async def test_limits_of_a_day_are_none_of_the_next(down: bool) -> None:
    midnight = datetime(2026, 1, 20, 18, 30, tzinfo=UTC)
    floor = Floor(midnight - timedelta(seconds=100))
    async with floor.running():
        await floor.subscribe(TCS)
        floor.reads.down = down
        await floor.clock.advance(99)
        assert floor.keeper.get(TCS) == NARROW
        await floor.clock.advance(1)
        assert floor.keeper.get(TCS) is None
        await floor.clock.advance(180)

        assert floor.keeper.get(TCS) == (None if down else NARROW)


async def test_an_answer_belongs_to_the_day_on_which_it_was_asked_for() -> None:
    class Slow(InMemoryCircuits):
        async def read_circuits(
            self, instruments: Collection[Instrument]
        ) -> Mapping[Instrument, CircuitLimits]:
            told = await super().read_circuits(instruments)
            await clock.sleep(5)
            return told

    clock = FakeClock(datetime(2026, 1, 20, 18, 29, 58, tzinfo=UTC))
    reads = Slow()
    reads.limits = {TCS: NARROW}
    floor = Floor()
    floor.keeper = CircuitKeeper(reads, clock, around_the_clock)
    async with floor.running():
        await floor.subscribe(TCS)
        await clock.advance(5)

        assert reads.asked == [{TCS}]
        assert floor.keeper.get(TCS) is None


async def test_what_is_told_before_the_open_has_to_be_told_again() -> None:
    floor = Floor(OPEN - timedelta(minutes=10), session)
    async with floor.running():
        await floor.subscribe(TCS)
        floor.reads.down = True
        await floor.clock.advance(12 * 60)
        assert floor.keeper.get(TCS) == NARROW
        await floor.clock.advance(4 * 60)
        assert floor.keeper.get(TCS) is None
        floor.reads.down = False
        await floor.clock.advance(60)
        floor.reads.down = True
        await floor.clock.advance(6 * 3600)

        assert floor.keeper.get(TCS) == NARROW
