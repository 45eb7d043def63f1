import pytest

from pulse_adapters.ids import RandomIds
from pulse_domain.testing.contracts.accept_at_once import AcceptAtOnceContract
from pulse_domain.testing.contracts.ledger import OrderLedgerContract
from pulse_domain.testing.contracts.order_store import OrderStoreContract, PassTime, PresenceOf, Restore
from pulse_domain.testing.contracts.risk_facts import RiskFactsContract
from pulse_domain.testing.fake_clock import FakeClock
from pulse_domain.testing.memory_store import InMemoryOrderStore, InMemoryPresence


class InMemory:
    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def store(self, clock: FakeClock) -> InMemoryOrderStore:
        return InMemoryOrderStore(clock)

    @pytest.fixture
    def presence(self, store: InMemoryOrderStore) -> PresenceOf:
        return lambda executor: InMemoryPresence(store, executor)

    @pytest.fixture
    def restore(self, store: InMemoryOrderStore) -> Restore:
        async def move() -> None:
            store.identity = "another"

        return move

    @pytest.fixture
    def pass_time(self, clock: FakeClock) -> PassTime:
        return clock.advance


class TestInMemoryOrderStore(InMemory, OrderStoreContract):
    pass


class TestInMemoryRiskFacts(InMemory, RiskFactsContract):
    @pytest.fixture
    def ids(self, clock: FakeClock) -> RandomIds:
        return RandomIds(clock)


class TestInMemoryAcceptAtOnce(InMemory, AcceptAtOnceContract):
    pass


class TestInMemoryOrderLedger(InMemory, OrderLedgerContract):
    pass
