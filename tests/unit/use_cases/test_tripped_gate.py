"""No order passes a tripped gate, and no limit that counts is overrun, under any interleaving.

Use cases run until they ask something of the store, before and after it is answered; who goes on next is drawn.
"""

from collections.abc import Coroutine, Generator
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from types import coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pulse_domain.errors import RiskRejected, TradingHalted
from pulse_domain.orders.model import Source
from pulse_domain.ports.order_store import OrderStore
from pulse_domain.risk import RiskLimits
from pulse_domain.testing.factories import CLIENT, plan
from pulse_domain.testing.memory_audit import InMemoryAuditLog
from pulse_domain.testing.memory_prices import InMemoryPriceBoard
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.use_cases.accept import AcceptCommand, AcceptOrder
from pulse_domain.use_cases.halt import HaltTrading, ResumeTrading
from pulse_domain.use_cases.kill import KillTrading
from pulse_domain.use_cases.risk_gate import RiskGate
from tests.unit.use_cases.desk import Desk, raw_request
from tests.unit.use_cases.test_risk_gate import Held, Results

_OPEN_MAX, _RATE_MAX = 4, 6


@coroutine
def others_go_on() -> Generator[None, None, None]:
    yield


class Interleaved:
    """The store, whose every step lets others go on before it, and before it is answered."""

    def __init__(self, store: InMemoryOrderStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        step = getattr(self._store, name)

        async def interleaved(*args: Any, **kwargs: Any) -> Any:
            await others_go_on()
            try:
                return await step(*args, **kwargs)
            finally:
                await others_go_on()

        return interleaved


class Watched(InMemoryOrderStore):
    """Looks at every order that is stored."""

    stored_while_halted = 0
    open_max = 0

    async def accept(self, new: Any, limits: RiskLimits | None = None) -> Any:
        halted = (await self.trading_state()).halted
        accepted = await super().accept(new, limits)
        self.stored_while_halted += halted and not accepted.replayed
        counts = await self.count_orders(CLIENT, new.request, RiskLimits(max_open_orders=1))
        self.open_max = max(self.open_max, counts.open_orders or 0)
        return accepted


class World:
    def __init__(self) -> None:
        self.desk = Desk(Watched)
        self.store = self.desk.store
        assert isinstance(self.store, Watched)
        self.watched = self.store
        between: OrderStore = Interleaved(self.store)
        self.limits = RiskLimits(
            max_open_orders=_OPEN_MAX,
            max_orders=_RATE_MAX,
            duplicate_window=timedelta(minutes=1),
            max_daily_loss=Decimal(1),  # so that something is asked for before
        )
        desk = self.desk
        gate = RiskGate(
            between, InMemoryPriceBoard(), Held(), Results(), None, desk.clock, self.limits,
            InMemoryAuditLog(desk.clock),
        )  # fmt: skip
        self.accept_order = AcceptOrder(
            between, desk.master, desk.queue, desk.clock, desk.ids, desk.limits, None, gate
        )
        halt = HaltTrading(between, desk.clock, wait_s=0)
        self.kills = {
            squares_off: KillTrading(between, desk.queue, halt, squares_off=squares_off)
            for squares_off in (False, True)
        }
        self.resume_trading = ResumeTrading(between)
        self.signals: list[int] = []
        self.resumes_begun = 0

    async def accept(self, signal: int) -> None:
        """A signal, told under a key of its own each time."""
        self.signals.append(signal)
        command = AcceptCommand(
            client_id=CLIENT,
            order_unique_key=f"key-{len(self.signals)}",
            request=raw_request(total_quantity=signal, strategy_tag="RSI"),
            source=Source.STRATEGY,
        )
        with suppress(TradingHalted, RiskRejected):
            await self.accept_order(command)

    async def kill(self, squares_off: bool) -> None:
        resumes = self.resumes_begun
        await self.kills[squares_off]("desk", "test")
        if resumes == self.resumes_begun:
            # Nobody has resumed since: all that was ever stored is to be cancelled, and nothing can be claimed.
            assert await self.store.open_orders(1000) == []
            assert await self.store.claim_executions(1000, "executor", 60.0) == []

    async def resume(self) -> None:
        self.resumes_begun += 1
        await self.resume_trading("desk", "test")

    async def work(self) -> None:
        """The splitter and an executor, each in a step of its own."""
        for order in await self.store.claim_orders(1, "splitter", 60.0):
            await others_go_on()
            await self.store.save_split(order.order_id, plan(order))
        await others_go_on()
        halted = (await self.store.trading_state()).halted
        claims = await self.store.claim_executions(10, "executor", 60.0)
        assert not (halted and claims)


actions = st.one_of(
    st.tuples(st.just("accept"), st.integers(1, 8)),
    st.tuples(st.just("kill"), st.booleans()),
    st.tuples(st.just("resume")),
    st.tuples(st.just("work")),
)


@given(st.lists(actions, max_size=14), st.lists(st.integers(0, 13), max_size=200))
def test_no_order_passes_a_tripped_gate_and_no_limit_is_overrun(
    wanted: list[tuple[Any, ...]], turns: list[int]
) -> None:
    world = World()
    running: list[Coroutine[Any, Any, None]] = [getattr(world, name)(*given) for name, *given in wanted]
    order = iter(turns)
    while running:
        mine = running[next(order, 0) % len(running)]
        try:
            mine.send(None)
        except StopIteration:
            running.remove(mine)

    assert world.watched.stored_while_halted == 0
    assert world.watched.open_max <= _OPEN_MAX
    stored = [view.order for view in _now(world.store.list_orders(None, limit=1000))]
    # The clock stands still: all are of one minute.
    assert len(stored) <= _RATE_MAX
    quantities = [each.request.total_quantity for each in stored]
    assert len(quantities) == len(set(quantities)), "one signal, told twice, passed twice"


def _now(step: Coroutine[Any, Any, Any]) -> Any:
    """The result of a step that waits for nothing."""
    try:
        step.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the store in memory waits for nothing")
