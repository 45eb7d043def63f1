from collections.abc import AsyncIterator
from decimal import Decimal
from random import Random

import pytest

from pulse_adapters.instruments.calendar import DatedCalendar
from pulse_adapters.limits.guarded_broker import GuardedBroker
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.ports.broker import Broker
from pulse_domain.ports.work_queue import Job
from pulse_domain.testing.contracts.broker import BrokerContract
from pulse_domain.testing.contracts.clock import ClockContract
from pulse_domain.testing.contracts.ids import IdsContract
from pulse_domain.testing.contracts.trading_calendar import TradingCalendarContract
from pulse_domain.testing.contracts.work_queue import Received, WorkQueueContract
from pulse_domain.testing.fake_clock import FakeClock, settle
from pulse_domain.testing.memory_queue import RecordingQueue
from pulse_domain.testing.scripted_broker import ScriptedBroker
from pulse_domain.testing.segment_calendar import SegmentCalendar
from pulse_domain.testing.sequential_ids import SequentialIds
from pulse_domain.traffic import BreakerSettings
from pulse_domain.use_cases.guard import BrokerGuard


class TestFakeClock(ClockContract):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock(auto=True)


class TestSequentialIds(IdsContract):
    @pytest.fixture
    def ids(self) -> SequentialIds:
        return SequentialIds()


class TestSegmentCalendar(TradingCalendarContract):
    @pytest.fixture
    def calendar(self) -> SegmentCalendar:
        return SegmentCalendar()


class TestDatedCalendar(TradingCalendarContract):
    @pytest.fixture
    def calendar(self) -> DatedCalendar:
        return DatedCalendar()


class TestRecordingQueue(WorkQueueContract):
    @pytest.fixture
    def queue(self) -> RecordingQueue:
        return RecordingQueue()

    @pytest.fixture
    def received(self, queue: RecordingQueue) -> Received:
        async def jobs() -> list[Job]:
            return queue.jobs

        return jobs


class ScriptedVenue:
    instrument = Instrument.parse("NFO:NIFTY26NOVFUT")
    terms = InstrumentTerms(lot_size=65, tick_size=Decimal("0.10"), freeze_quantity=1800)
    price = Decimal(25000)
    refuses_known_tags = False

    def __init__(self) -> None:
        self.scripted = ScriptedBroker(FakeClock(auto=True))
        self.broker: Broker = self.scripted
        self.scripted.trade_at(self.instrument, self.price)

    async def move_price(self, price: Decimal) -> None:
        self.scripted.trade_at(self.instrument, price)

    async def settle(self) -> None:
        await settle()


class TestScriptedBroker(BrokerContract):
    @pytest.fixture
    async def venue(self) -> AsyncIterator[ScriptedVenue]:
        venue = ScriptedVenue()
        yield venue
        await venue.broker.close()


class TestGuardedBroker(BrokerContract):
    @pytest.fixture
    async def venue(self) -> AsyncIterator[ScriptedVenue]:
        venue = ScriptedVenue()
        guard = BrokerGuard(FakeClock(), Random(1), BreakerSettings())
        venue.broker = GuardedBroker(venue.scripted, guard)
        yield venue
        await venue.broker.close()
