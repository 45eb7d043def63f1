"""The bus of one process keeps its port's contract."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pulse_adapters.bus.in_process import InProcessEventBus
from pulse_adapters.clock import SystemClock
from pulse_domain.testing.contracts.event_bus import EventBusContract


@pytest_asyncio.fixture
async def bus() -> AsyncIterator[InProcessEventBus]:
    bus = InProcessEventBus(SystemClock())
    yield bus
    await bus.close(timeout_s=0)


class TestInProcessEventBus(EventBusContract):
    @pytest.fixture
    def bus(self, bus: InProcessEventBus) -> InProcessEventBus:
        return bus
