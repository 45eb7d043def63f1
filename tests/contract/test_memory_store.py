import pytest

from pulse_domain.testing.contracts.order_store import OrderStoreContract, PassTime
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_store import InMemoryOrderStore


class TestInMemoryOrderStore(OrderStoreContract):
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def store(self, clock: FakeClock) -> InMemoryOrderStore:
        return InMemoryOrderStore(clock)

    @pytest.fixture
    def pass_time(self, clock: FakeClock) -> PassTime:
        return clock.advance
