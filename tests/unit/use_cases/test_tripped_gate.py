"""No order passes a tripped gate, no limit that counts is overrun, no position is closed twice, under any
interleaving.

Use cases run until they ask something of the store, before and after it is answered; who goes on next is drawn.
"""

from collections.abc import Coroutine, Generator
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from types import coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pulse_domain.errors import RiskRejected, TradingHalted
from pulse_domain.orders import events as ev
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import BrokerOrderId, OrderId
from pulse_domain.orders.model import NewOrder, Product, Side, Source
from pulse_domain.orders.status import Phase
from pulse_domain.ports.order_store import AtOnce, Booking, OrderStore
from pulse_domain.risk import RiskLimits
from pulse_domain.testing.factories import CLIENT, new_order, plan
from pulse_domain.testing.memory_audit import InMemoryAuditLog
from pulse_domain.testing.memory_prices import InMemoryPriceBoard
from pulse_domain.testing.memory_store import InMemoryOrderStore
from pulse_domain.use_cases.accept import AcceptCommand, AcceptOrder
from pulse_domain.use_cases.halt import HaltTrading, ResumeTrading
from pulse_domain.use_cases.kill import KillTrading
from pulse_domain.use_cases.positions import ReadPositions
from pulse_domain.use_cases.risk_gate import RiskGate
from tests.unit.use_cases.desk import RELIANCE, Desk, raw_request
from tests.unit.use_cases.test_risk_gate import Held, Results

_OPEN_MAX, _RATE_MAX = 4, 6
_PRODUCTS = (Product.CNC, Product.MIS)


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

    async def accept(self, new: Any, limits: RiskLimits | None = None, at_once: AtOnce | None = None) -> Any:
        halted = (await self.trading_state()).halted
        accepted = await super().accept(new, limits, at_once)
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
        self.resumes_begun = self.resumes_ended = 0

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
        # One that is under way may come after the halt.
        resumes = self.resumes_ended
        await self.kills[squares_off]("desk", "test")
        if resumes == self.resumes_begun:
            # Nobody has resumed since: all that was ever stored is to be cancelled, and nothing can be claimed.
            assert await self.store.open_orders(1000) == []
            assert await self.store.claim_executions(1000, "executor", 60.0) == []

    async def resume(self) -> None:
        self.resumes_begun += 1
        await self.resume_trading("desk", "test")
        self.resumes_ended += 1

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
    _interleave([getattr(world, name)(*given) for name, *given in wanted], turns)

    assert world.watched.stored_while_halted == 0
    assert world.watched.open_max <= _OPEN_MAX
    stored = [view.order for view in _now(world.store.list_orders(None, limit=1000))]
    # The clock stands still: all are of one minute.
    assert len(stored) <= _RATE_MAX
    quantities = [each.request.total_quantity for each in stored]
    assert len(quantities) == len(set(quantities)), "one signal, told twice, passed twice"


class Closing:
    """A day's loss beyond its limit, and positions that anybody may close."""

    def __init__(self, held: dict[Product, int], bought: datetime) -> None:
        self.desk = desk = Desk()
        self.store = desk.store
        between: OrderStore = Interleaved(self.store)
        results = Results()
        results.net = Decimal(-(10**9))
        gate = RiskGate(
            between, None, ReadPositions(between, None, None), results, None, desk.clock,
            RiskLimits(max_daily_loss=Decimal(1)), InMemoryAuditLog(desk.clock),
        )  # fmt: skip
        self.accept_order = AcceptOrder(
            between, desk.master, desk.queue, desk.clock, desk.ids, desk.limits, None, gate
        )
        self.held = held
        self.asked = self.sent = 0
        for product, units in held.items():
            side = Side.BUY if units > 0 else Side.SELL
            new = new_order(desk.ids, side=side, total_quantity=abs(units), product=product)
            _interleave([self._hold(new, bought)], [])

    async def _hold(self, new: NewOrder, bought: datetime) -> None:
        await self.store.accept(new)
        await self.work()
        await self.fill(0, 1000, bought)

    async def close(self, units: int, product: Product) -> None:
        self.asked += 1
        side = Side.SELL if self.held.get(product, 0) > 0 else Side.BUY
        command = AcceptCommand(
            client_id=CLIENT,
            order_unique_key=f"key-{self.asked}",
            request=raw_request(side=side, total_quantity=units, product=product),
            source=Source.API,
        )
        with suppress(RiskRejected):
            await self.accept_order(command)

    async def work(self) -> None:
        for order in await self.store.claim_orders(1, "splitter", 60.0):
            await others_go_on()
            await self.store.save_split(order.order_id, plan(order))
            await others_go_on()
        for claim in await self.store.claim_executions(1, "executor", 60.0):
            await others_go_on()
            self.sent += 1
            place = {"seq": claim.execution.seq, "chunk": claim.execution.chunk}
            accepted = ev.ExecutionAccepted(**place, broker_order_id=BrokerOrderId(f"B-{self.sent}"))
            await self.store.book([Booking(order_id=claim.order.order_id, event=accepted)])

    async def fill(self, which: int, units: int, at: datetime | None = None) -> None:
        live = await self._live()
        if not live:
            return
        order_id, execution = live[which % len(live)]
        assert execution.broker_order_id is not None, "it is at the broker"
        fill = ev.Fill(
            trade_id=f"T-{len(execution.fills)}",
            broker_order_id=execution.broker_order_id,
            quantity=min(units, execution.leaves_quantity),
            price=Decimal(100),
            at=at or self.desk.clock.now(),
        )
        event = ev.ExecutionFilled(seq=execution.seq, chunk=execution.chunk, fill=fill)
        await self.store.book([Booking(order_id=order_id, event=event)])

    async def cancel(self, which: int) -> None:
        live = await self._live()
        if live:
            order_id, execution = live[which % len(live)]
            event = ev.ExecutionCancelled(seq=execution.seq, chunk=execution.chunk)
            await self.store.book([Booking(order_id=order_id, event=event)])

    async def finish(self) -> None:
        """All that was accepted is sent, and filled."""
        while await self.store.open_orders(1):
            await self.work()
            await self.fill(0, 1000)

    async def _live(self) -> list[tuple[OrderId, Execution]]:
        return [
            (view.order.order_id, execution)
            for view in await self.store.list_orders(None, limit=1000)
            for slice_ in await self.store.slices(view.order.order_id)
            for execution in slice_.executions
            if execution.phase is Phase.LIVE and not execution.is_final
        ]


closers = st.tuples(st.integers(1, 3), st.sampled_from(_PRODUCTS))
happenings = st.one_of(
    closers.map(lambda closer: ("close", *closer)),
    st.tuples(st.just("work")),
    st.tuples(st.just("fill"), st.integers(0, 3), st.integers(1, 3)),
    st.tuples(st.just("cancel"), st.integers(0, 3)),
)


@settings(max_examples=200)
@given(
    st.fixed_dictionaries(dict.fromkeys(_PRODUCTS, st.sampled_from([-3, 3]))),
    st.sampled_from([timedelta(), timedelta(days=1)]),
    st.lists(closers, min_size=1, max_size=2),
    st.lists(happenings, min_size=2, max_size=5),
    st.lists(st.integers(0, 4), min_size=30, max_size=60),
)
def test_while_the_loss_is_there_positions_are_closed_and_never_turned_round(
    held: dict[Product, int],
    ago: timedelta,
    working: list[tuple[Any, ...]],
    wanted: list[tuple[Any, ...]],
    turns: list[int],
) -> None:
    world = Closing(held, Desk().clock.now() - ago)
    for given_ in working:
        _interleave([world.close(*given_)], [])
        _interleave([world.work()], [])
    _interleave([getattr(world, name)(*given) for name, *given in wanted], turns)
    _interleave([world.finish()], [])

    left = _now(ReadPositions(world.store, None, None).held_by_all())
    for product in _PRODUCTS:
        before, after = held.get(product, 0), left.get((RELIANCE, product), 0)
        assert min(0, before) <= after <= max(0, before)


def _interleave(running: list[Coroutine[Any, Any, None]], turns: list[int]) -> None:
    order = iter(turns)
    while running:
        mine = running[next(order, 0) % len(running)]
        try:
            mine.send(None)
        except StopIteration:
            running.remove(mine)


def _now(step: Coroutine[Any, Any, Any]) -> Any:
    """The result of a step that waits for nothing."""
    try:
        step.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the store in memory waits for nothing")
