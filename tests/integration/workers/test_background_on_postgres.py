"""Background processes on a real Postgres and one shared virtual exchange."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from random import Random
from typing import Any

import asyncpg
import pytest_asyncio
from msgspec.structs import replace

from pulse_adapters.clock import SystemClock
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.session_locks import PostgresLeadership, PostgresPresence
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_adapters.queue.memory import InProcessQueue
from pulse_adapters.virtual.exchange import VirtualExchange
from pulse_adapters.virtual.faults import Call, LoseAnswer, LoseRequest, Refuse, Unavailable
from pulse_adapters.virtual.instrument_master import VirtualInstrumentMaster
from pulse_background.background import Background, BackgroundPorts
from pulse_background.scheduler import Leadership
from pulse_background.settings import Settings
from pulse_domain.instruments import Instrument
from pulse_domain.orders.execution import Execution
from pulse_domain.orders.ids import BrokerOrderId, OrderId
from pulse_domain.orders.model import Order, OrderRequest, OrderType, Side, Source, SplitConfig
from pulse_domain.orders.status import ExecutionStatus, OrderState, Phase, TerminalReason
from pulse_domain.ports.broker import BookRead, BrokerOrder, BrokerOrderStatus, OrderTicket
from pulse_domain.ports.order_store import OrderView, SplitResult
from pulse_domain.ports.work_queue import JobKind
from pulse_domain.splitting import PaceLimits
from pulse_domain.testing.factories import CLIENT, TAG_PREFIX, new_order, plan
from pulse_domain.use_cases.accept import AcceptCommand, AcceptOrder
from pulse_domain.use_cases.cancel import RequestCancel
from pulse_domain.use_cases.halt import HaltTrading, ResumeTrading
from tests.unit.virtual.fixed_market import FixedMarket

PATIENCE_S = 20.0
INFY = Instrument.parse("NSE:INFY")
PRICE = Decimal(100)
LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": Decimal(90)}


class WatchedExchange(VirtualExchange):
    """The exchange, which counts what it is sent, and can keep its book to itself.

    placed: how often an order with a tag has left the house.
    shows_its_book: false, and reads are empty and call themselves complete.
    """

    def __init__(self, market: FixedMarket, clock: SystemClock) -> None:
        super().__init__(market, clock, Random(1), latency_ms=(2.0, 10.0), poll_interval_s=0.02)
        self.placed: Counter[str] = Counter()
        self.shows_its_book = True

    async def place(self, ticket: OrderTicket, *, timeout_s: float) -> BrokerOrderId:
        self.placed[ticket.tag] += 1
        return await super().place(ticket, timeout_s=timeout_s)

    async def order_book(self) -> BookRead:
        read = await super().order_book()
        return read if self.shows_its_book else replace(read, orders=())

    async def rows(self) -> tuple[BrokerOrder, ...]:
        """The book as it truly is."""
        return (await super().order_book()).orders


class SharedStore(PostgresOrderStore):
    """A process's own store; it splits nothing while a test plans an order by hand."""

    def __init__(self, pool: asyncpg.Pool, by_hand: asyncio.Lock) -> None:
        super().__init__(Database(pool))
        self._by_hand = by_hand

    async def claim_orders(self, limit: int, executor: str, lease_s: float) -> list[Order]:
        async with self._by_hand:
            return await super().claim_orders(limit, executor, lease_s)


class Life:
    """A process, as the ports see it that are lent to it.

    asked: the methods it has called.
    is_deaf: answers to its orders do not come back.
    """

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self.is_deaf = False
        self._died = asyncio.Event()

    @property
    def is_over(self) -> bool:
        return self._died.is_set()

    def end(self) -> None:
        self._died.set()

    def lend(self, port: Any) -> Any:
        return _Lent(port, self)

    async def call(self, name: str, method: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        self.asked.add(name)
        try:
            if not self.is_over:
                answer = await method(*args, **kwargs)
                if self.is_deaf and name == "place":
                    await self._died.wait()
        finally:
            # The dead hear nothing and do nothing more.
            if self.is_over:
                raise asyncio.CancelledError
        return answer


class _Lent:
    def __init__(self, port: Any, life: Life) -> None:
        self._port = port
        self._life = life

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._port, name)
        return partial(self._life.call, name, value) if asyncio.iscoroutinefunction(value) else value


class NobodysLead:
    """Leadership that another process has."""

    async def hold(self) -> bool:
        return False

    async def release(self) -> None:
        pass


class Process:
    """A background process. `kill` ends it as SIGKILL does, `finish` as SIGTERM does."""

    def __init__(self, floor: "Floor", name: str, *, may_lead: bool, **settings: Any) -> None:
        self.late_s: list[float] = []
        self.life = Life()
        self._stop = asyncio.Event()
        self._leadership: Leadership = PostgresLeadership(floor.dsn) if may_lead else NobodysLead()
        self._presence = PostgresPresence(floor.dsn, name)
        given: dict[str, Any] = {
            "database_url": floor.dsn,
            "tag_prefix": TAG_PREFIX,
            "order_splitter_poll_interval_seconds": 0.2,
            "slice_executor_poll_interval_seconds": 0.1,
            "timeout_monitor_interval_seconds": 0.1,
            "broker_sync_interval_seconds": 0.1,
        }
        self._background = Background(
            BackgroundPorts(
                store=self.life.lend(SharedStore(floor.workers_pool, floor.by_hand)),
                broker=self.life.lend(floor.exchange),
                clock=floor.clock,
                leadership=self._leadership,
                presence=self._presence,
                executor_id=name,
                on_sent=self.late_s.append,
            ),
            Settings(**given | settings),
        )
        self.wake = self._background.wake
        self.task = asyncio.create_task(self._background.run(self._stop), name=name)

    async def is_ready(self) -> bool:
        """Whether it has read the book and sends what is due."""
        return "next_due" in self.life.asked

    async def kill(self) -> None:
        self.life.end()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self._leadership.release()
        await self._presence.release()

    async def finish(self) -> None:
        self._stop.set()
        async with asyncio.timeout(PATIENCE_S):
            await self.task


class Floor:
    """The store, the exchange, and the processes at work on them."""

    def __init__(self, dsn: str, pool: asyncpg.Pool, workers_pool: asyncpg.Pool) -> None:
        self.dsn = dsn
        self.pool = pool
        self.workers_pool = workers_pool
        self.clock = SystemClock()
        self.ids = RandomIds(self.clock)
        self.market = FixedMarket(self.clock)
        self.market.set(INFY, PRICE)
        self.exchange = WatchedExchange(self.market, self.clock)
        # What the order API has: a store of its own, and hints to the workers.
        self.store = PostgresOrderStore(Database(pool))
        self.queue = InProcessQueue()
        self.by_hand = asyncio.Lock()
        self.processes: list[Process] = []
        for kind in JobKind:
            self.queue.listen(kind, lambda job: self._hint(job.kind))
        self._accept = AcceptOrder(
            self.store, VirtualInstrumentMaster(), self.queue, self.clock, self.ids, PaceLimits()
        )

    def _hint(self, kind: JobKind) -> None:
        # A message goes to one worker, whichever takes it first.
        living = [process for process in self.processes if not process.task.done()]
        if living:
            living[0].wake(kind)

    async def start(self, name: str = "worker-1", *, may_lead: bool = True, **settings: Any) -> Process:
        process = Process(self, name, may_lead=may_lead, **settings)
        self.processes.append(process)
        await until(process.is_ready)
        return process

    async def accept(self, key: str, **request: Any) -> OrderId:
        fields: dict[str, Any] = {"instrument": INFY, "side": Side.BUY, "total_quantity": 100}
        command = AcceptCommand(
            client_id=CLIENT, order_unique_key=key, request=OrderRequest(**fields | request), source=Source.API
        )
        return (await self._accept(command)).order_id

    async def planned(self, *quantities: int, due_in_s: float | Sequence[float] = 0.0, **over: Any) -> OrderId:
        """An order that is split already, with instants closer than a request can ask for."""
        new = new_order(self.ids, instrument=INFY, total_quantity=sum(quantities), **over)
        async with self.by_hand:
            await self.store.accept(new)
            [order] = await self.store.claim_orders(1, "by-hand", 60.0)
        rows = [[quantity] for quantity in quantities]
        saved = await self.store.save_split(order.order_id, plan(order, rows, due_in_s=due_in_s))
        assert saved is SplitResult.SAVED
        return order.order_id

    async def view(self, order_id: OrderId) -> OrderView:
        view = await self.store.get(order_id)
        assert view is not None
        return view

    async def state(self, order_id: OrderId) -> OrderState:
        return (await self.view(order_id)).summary.state

    async def executions(self, order_id: OrderId) -> list[Execution]:
        return [e for slice_ in await self.store.slices(order_id) for e in slice_.executions]

    async def done(self, *order_ids: OrderId) -> None:
        async def are_done() -> bool:
            return all([(await self.view(order_id)).summary.done for order_id in order_ids])

        await until(are_done)

    async def live(self, order_id: OrderId, count: int) -> None:
        async def are_live() -> bool:
            return sum(e.phase is Phase.LIVE for e in await self.executions(order_id)) == count

        await until(are_live)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def floor(migrated_dsn: str, database: asyncpg.Pool) -> AsyncIterator[Floor]:
    workers_pool = await create_pool(f"{migrated_dsn}?application_name=worker")
    floor = Floor(migrated_dsn, database, workers_pool)
    async with running(floor.exchange.run()):
        yield floor
        for process in floor.processes:
            await process.kill()
    await floor.exchange.close()
    workers_pool.terminate()
    # Nothing of theirs may reach into the next test: neither a call nor a lead.
    await until(lambda: _nobody_leads(database))


async def _somebody_leads(database: asyncpg.Pool) -> bool:
    return bool(
        await database.fetch("""
        SELECT FROM pg_locks JOIN pg_database d ON d.oid = database
        WHERE datname = current_database() AND locktype = 'advisory' AND granted AND objid = 8102
    """)
    )


async def _nobody_leads(database: asyncpg.Pool) -> bool:
    return not await _somebody_leads(database)


@asynccontextmanager
async def running(work: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def filled_at(exchange_rows: Sequence[BrokerOrder]) -> int:
    return sum(row.filled_quantity for row in exchange_rows)


# --- one process


async def test_an_order_without_a_split_is_accepted_woken_up_and_filled(floor: Floor) -> None:
    # Without the hint nothing would be split before the test has lost its patience.
    await floor.start(order_splitter_poll_interval_seconds=3600.0)
    order_id = await floor.accept("key-1")
    await floor.done(order_id)

    view = await floor.view(order_id)
    assert (view.summary.state, view.summary.average_price) == (OrderState.FILLED, Decimal("100.0500"))
    [execution] = await floor.executions(order_id)
    assert (execution.status, execution.attempt, len(execution.fills)) == (ExecutionStatus.FILLED, 1, 1)


async def test_an_order_whose_hint_was_lost_is_filled_all_the_same(floor: Floor) -> None:
    await floor.queue.close()
    await floor.start()
    order_id = await floor.accept("key-1")
    await floor.done(order_id)

    assert await floor.state(order_id) is OrderState.FILLED


async def test_the_slices_of_a_split_order_are_stored_and_the_first_is_sent(floor: Floor) -> None:
    await floor.start()
    split = SplitConfig(num_splits=5, duration_minutes=60, randomize=True)
    order_id = await floor.accept("key-1", split_config=split, total_quantity=1000)
    await until(lambda: _has_filled(floor, order_id))

    slices = await floor.store.slices(order_id)
    assert (len(slices), sum(slice_.quantity for slice_ in slices)) == (5, 1000)
    assert [len(slice_.executions[0].fills) for slice_ in slices] == [1, 0, 0, 0, 0]
    assert (await floor.view(order_id)).summary.quantities.balanced


async def _has_filled(floor: Floor, order_id: OrderId, *, more_than: int = 0) -> bool:
    return (await floor.view(order_id)).summary.quantities.filled > more_than


async def test_an_order_left_by_an_earlier_process_is_taken_up(floor: Floor) -> None:
    order_ids = [await floor.planned(10, 20), await floor.accept("key-1")]

    await floor.start()
    await floor.done(*order_ids)

    assert {await floor.state(order_id) for order_id in order_ids} == {OrderState.FILLED}


async def test_a_refusal_ends_the_order(floor: Floor) -> None:
    floor.exchange.faults.on(Call.PLACE, Refuse("MARGIN", "not enough"))
    await floor.start()
    order_id = await floor.planned(10)
    await floor.done(order_id)

    [execution] = await floor.executions(order_id)
    assert (execution.reason_code, floor.exchange.placed[execution.tag]) == ("MARGIN", 1)
    assert await floor.state(order_id) is OrderState.REJECTED


async def test_a_refusal_in_words_that_cannot_be_stored_ends_the_order_too(floor: Floor) -> None:
    floor.exchange.faults.on(Call.PLACE, Refuse("MARGIN\0", "not \0 enough \ud800"))
    await floor.start()
    order_ids = [await floor.planned(10), await floor.planned(20)]
    await floor.done(*order_ids)

    assert sorted([await floor.state(order_id) for order_id in order_ids]) == [
        OrderState.FILLED,
        OrderState.REJECTED,
    ]


async def test_a_broker_that_is_away_for_a_moment_costs_attempts_and_no_order(floor: Floor) -> None:
    floor.exchange.faults.on(Call.PLACE, Unavailable())
    await floor.start()
    order_id = await floor.planned(10)
    await floor.done(order_id)

    [execution] = await floor.executions(order_id)
    assert (execution.status, execution.attempt) == (ExecutionStatus.FILLED, 2)


async def test_a_lost_answer_is_found_in_the_book_and_never_sent_again(floor: Floor) -> None:
    floor.exchange.faults.on(Call.PLACE, LoseAnswer())
    floor.exchange.faults.lost_updates = 100
    await floor.start(broker_call_timeout_seconds=0.2)
    order_id = await floor.planned(10)
    await floor.done(order_id)

    [execution] = await floor.executions(order_id)
    assert (execution.status, execution.attempt) == (ExecutionStatus.FILLED, 1)
    assert floor.exchange.placed == {execution.tag: 1}


async def test_a_lost_request_is_sent_again_once_its_absence_is_proven(floor: Floor) -> None:
    floor.exchange.faults.on(Call.PLACE, LoseRequest())
    await floor.start(broker_call_timeout_seconds=0.2, unknown_settle_seconds=0.1)
    order_id = await floor.planned(10)
    await floor.done(order_id)

    [execution] = await floor.executions(order_id)
    [row] = await floor.exchange.rows()
    assert (execution.status, execution.attempt, row.tags) == (ExecutionStatus.FILLED, 2, (execution.tag,))


# --- cancel and halt in the middle


async def test_a_cancel_in_the_middle_ends_what_rests_and_what_was_not_sent(floor: Floor) -> None:
    await floor.start()
    order_id = await floor.planned(10, 20, 30, due_in_s=(0, 0, 3600), **LIMIT)
    await floor.live(order_id, 2)

    await RequestCancel(floor.store, floor.queue)(order_id, CLIENT, "desk-1")
    await floor.done(order_id)

    view = await floor.view(order_id)
    assert view.summary.state is OrderState.CANCELLED
    assert (view.summary.quantities.cancelled, view.summary.quantities.balanced) == (60, True)
    assert {row.status for row in await floor.exchange.rows()} == {BrokerOrderStatus.CANCELLED}
    assert sum(floor.exchange.placed.values()) == 2


async def test_a_cancel_keeps_what_was_filled(floor: Floor) -> None:
    await floor.start()
    order_id = await floor.planned(10, 20, due_in_s=(0, 3600))
    await until(lambda: _has_filled(floor, order_id))

    await RequestCancel(floor.store, floor.queue)(order_id, CLIENT, "desk-1")
    await floor.done(order_id)

    view = await floor.view(order_id)
    assert view.summary.state is OrderState.PARTIALLY_FILLED
    assert (view.summary.quantities.filled, view.summary.quantities.cancelled) == (10, 20)


async def test_a_cancel_in_a_crowd_of_instants_loses_no_unit(floor: Floor) -> None:
    """The cancel falls among slices that are being claimed, are in the air, or rest."""
    for number in range(2):
        await floor.start(f"worker-{number}")
    order_id = await floor.planned(*[10] * 40, due_in_s=[n / 40 for n in range(40)], **LIMIT)
    await until(lambda: _some_are_live(floor, order_id))

    await RequestCancel(floor.store, floor.queue)(order_id, CLIENT, "desk-1")
    await floor.done(order_id)

    view = await floor.view(order_id)
    assert view.summary.state is OrderState.CANCELLED
    assert view.summary.quantities.cancelled == 400
    sent = [row for row in await floor.exchange.rows() if row.quantity == 10]
    assert {row.status for row in sent} == {BrokerOrderStatus.CANCELLED}
    assert set(floor.exchange.placed.values()) == {1}


async def _some_are_live(floor: Floor, order_id: OrderId) -> bool:
    return 5 <= sum(e.phase is Phase.LIVE for e in await floor.executions(order_id)) < 40


async def test_a_halt_in_the_middle_keeps_the_rest_back_until_trading_is_resumed(floor: Floor) -> None:
    await floor.start()
    order_id = await floor.planned(10, 20, 30, due_in_s=(0, 0.6, 0.7))
    await until(lambda: _has_filled(floor, order_id))

    halted = await HaltTrading(floor.store, floor.clock)("desk-1", "test")
    placed = sum(floor.exchange.placed.values())
    executions = await floor.executions(order_id)
    # Well past the instants, and past many looks of the executor.
    await until(lambda: _is_past(floor, executions[-1], 0.5))
    kept_back = sum(floor.exchange.placed.values())
    await ResumeTrading(floor.store)("desk-1", "test")
    await floor.done(order_id)

    assert (halted.in_flight, placed, kept_back) == ((), 1, 1)
    assert await floor.state(order_id) is OrderState.FILLED
    assert sum(floor.exchange.placed.values()) == 3


async def _is_past(floor: Floor, execution: Execution, seconds: float) -> bool:
    return (floor.clock.now() - execution.due_at).total_seconds() > seconds


# --- several processes


async def test_two_processes_place_every_slice_once(floor: Floor) -> None:
    processes = [await floor.start(f"worker-{number}") for number in range(2)]
    order_ids = [await floor.planned(*[10] * 5, due_in_s=0.1) for _ in range(20)]
    await floor.done(*order_ids)

    executions = [e for order_id in order_ids for e in await floor.executions(order_id)]
    rows = [row for row in await floor.exchange.rows() if row.quantity == 10]
    tags = [tag for row in rows for tag in row.tags]
    assert len(tags) == len(set(tags)) == 100
    assert set(tags) == {execution.tag for execution in executions}
    assert floor.exchange.placed == dict.fromkeys(tags, 1)
    assert {(e.status, e.attempt, e.flags) for e in executions} == {(ExecutionStatus.FILLED, 1, ())}
    assert filled_at(rows) == 1000
    assert await floor.pool.fetchval("SELECT sum(quantity) FROM fills WHERE quantity = 10") == 1000
    for order_id in order_ids:
        view = await floor.view(order_id)
        assert (view.summary.state, view.summary.quantities.filled) == (OrderState.FILLED, 50)
        await assert_journal_has_no_gaps(floor, order_id)
    assert {e.executor for e in executions} <= {"worker-0", "worker-1"}
    assert len(processes[0].late_s) + len(processes[1].late_s) == 100


async def assert_journal_has_no_gaps(floor: Floor, order_id: OrderId) -> None:
    journal = await floor.store.journal(order_id, after_seq=0, limit=1000)
    assert [entry.seq for entry in journal] == list(range(1, len(journal) + 1))


async def test_two_processes_split_every_order_once(floor: Floor) -> None:
    for number in range(2):
        await floor.start(f"worker-{number}", batch_size=3)
    order_ids = await asyncio.gather(*(floor.accept(f"key-{number}") for number in range(40)))
    await floor.done(*order_ids)

    for order_id in order_ids:
        view = await floor.view(order_id)
        assert (view.order.split_attempt, view.summary.state) == (1, OrderState.FILLED)
    assert len(floor.exchange.placed) == sum(floor.exchange.placed.values()) == 40


async def test_a_process_that_is_told_to_stop_finishes_and_the_other_takes_the_rest(floor: Floor) -> None:
    leaving, staying = await floor.start("worker-0"), await floor.start("worker-1")
    order_id = await floor.planned(*[10] * 40, due_in_s=[n / 40 for n in range(40)])
    await until(lambda: _has_filled(floor, order_id))

    await leaving.finish()
    left = [e for e in await floor.executions(order_id) if e.executor == "worker-0"]
    await floor.done(order_id)

    assert Phase.CLAIMED not in {execution.phase for execution in left}
    assert await floor.state(order_id) is OrderState.FILLED
    assert set(floor.exchange.placed.values()) == {1}
    assert not staying.task.done()


async def test_connections_that_break_in_the_middle_lose_no_slice_and_double_none(floor: Floor) -> None:
    for number in range(2):
        await floor.start(f"worker-{number}")
    order_id = await floor.planned(*[10] * 60, due_in_s=[n / 60 for n in range(60)])

    for filled in range(20, 600, 20):
        await until(partial(_has_filled, floor, order_id, more_than=filled - 10))
        await floor.pool.execute("""
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'worker'
        """)
    await floor.done(order_id)

    executions = await floor.executions(order_id)
    assert await floor.state(order_id) is OrderState.FILLED
    assert floor.exchange.placed == {execution.tag: 1 for execution in executions}


# --- a process is killed

SHORT: dict[str, Any] = {"broker_call_timeout_seconds": 0.3, "slice_execution_timeout_minutes": 0.8 / 60}


async def killed_with_orders_in_the_air(floor: Floor, count: int) -> OrderId:
    """Kill a process whose orders have all reached the exchange, and that has not heard of one of them."""
    killed = await floor.start("killed", may_lead=False, **SHORT)
    killed.life.is_deaf = True
    order_id = await floor.planned(*[10] * count)
    await until(lambda: _are_at_the_exchange(floor, count))
    await killed.kill()
    claimed = await floor.executions(order_id)
    assert {(e.phase, e.executor) for e in claimed} == {(Phase.CLAIMED, "killed")}
    return order_id


async def _are_at_the_exchange(floor: Floor, count: int) -> bool:
    return len(await floor.exchange.rows()) == count


async def test_what_a_killed_process_had_in_the_air_is_adopted_by_its_tag_and_never_sent_again(
    floor: Floor,
) -> None:
    order_id = await killed_with_orders_in_the_air(floor, 10)

    await floor.start("successor", **SHORT)
    await floor.done(order_id)

    adopted = await floor.executions(order_id)
    assert {(e.status, e.attempt) for e in adopted} == {(ExecutionStatus.FILLED, 1)}
    assert floor.exchange.placed == {e.tag: 1 for e in adopted}
    assert (await floor.view(order_id)).summary.quantities.filled == 100


async def test_what_the_book_does_not_show_yet_is_unknown_after_its_lease_until_the_book_shows_it(
    floor: Floor,
) -> None:
    order_id = await killed_with_orders_in_the_air(floor, 10)
    floor.exchange.shows_its_book = False
    await floor.start("successor", **SHORT)
    await until(lambda: _phases_are(floor, order_id, Phase.UNKNOWN))
    unknown = await floor.view(order_id)

    floor.exchange.shows_its_book = True
    await floor.done(order_id)

    assert (unknown.summary.state, unknown.summary.quantities.unknown) == (OrderState.WORKING, 100)
    adopted = await floor.executions(order_id)
    rows = {row.tags: row.broker_order_id for row in await floor.exchange.rows()}
    assert {(e.tag,): e.broker_order_id for e in adopted} == rows
    assert {(e.status, e.attempt) for e in adopted} == {(ExecutionStatus.FILLED, 1)}
    assert floor.exchange.placed == {e.tag: 1 for e in adopted}


async def _phases_are(floor: Floor, order_id: OrderId, phase: Phase) -> bool:
    return {e.phase for e in await floor.executions(order_id)} == {phase}


async def test_what_a_killed_process_claimed_and_never_sent_is_sent_by_nobody(floor: Floor) -> None:
    """Nobody can tell that the call has ended: its absence is proven, and still it is not sent again."""
    order_id = await floor.planned(10)
    await floor.store.claim_executions(1, "killed", 0.3)

    await floor.start("successor", unknown_settle_seconds=0.1)
    await floor.done(order_id)

    assert await floor.state(order_id) is OrderState.FAILED
    assert floor.exchange.placed == {}


async def test_what_a_killed_process_had_not_claimed_is_sent_by_the_other(floor: Floor) -> None:
    killed, survivor = await floor.start("killed"), await floor.start("survivor")
    order_id = await floor.planned(*[10] * 20, due_in_s=[0.5 + n / 40 for n in range(20)])

    await killed.kill()
    await floor.done(order_id)

    assert await floor.state(order_id) is OrderState.FILLED
    assert {e.executor for e in await floor.executions(order_id)} == {"survivor"}
    assert not survivor.task.done()


async def test_a_process_killed_among_its_instants_doubles_no_slice(floor: Floor) -> None:
    """What it had claimed and not yet sent fails; everything else is placed once."""
    killed = await floor.start("killed", **SHORT)
    await floor.start("survivor", unknown_settle_seconds=0.1, **SHORT)
    order_id = await floor.planned(*[10] * 60, due_in_s=[n / 60 for n in range(60)])
    await until(partial(_has_filled, floor, order_id))

    await killed.kill()
    await floor.done(order_id)

    executions = await floor.executions(order_id)
    unsent = [e for e in executions if e.tag not in floor.exchange.placed]
    assert set(floor.exchange.placed.values()) == {1}
    assert {(e.executor, e.terminal) for e in unsent} <= {("killed", TerminalReason.FAILED)}
    assert {e.status for e in executions if e not in unsent} == {ExecutionStatus.FILLED}
    quantities = (await floor.view(order_id)).summary.quantities
    assert (quantities.filled, quantities.failed) == (600 - 10 * len(unsent), 10 * len(unsent))


async def test_an_order_that_a_killed_process_was_splitting_is_split_by_the_other(floor: Floor) -> None:
    order_id = await floor.accept("key-1")
    await floor.store.claim_orders(1, "killed", 0.5)

    await floor.start("survivor")
    await floor.done(order_id)

    view = await floor.view(order_id)
    assert (view.summary.state, view.order.split_attempt) == (OrderState.FILLED, 2)


async def test_a_killed_leader_is_followed_by_another(floor: Floor) -> None:
    leader = await floor.start("leader")
    await floor.start("follower")
    await until(lambda: _somebody_leads(floor.pool))
    await leader.kill()

    # What only a leader does: it reads of a fill that came later.
    order_id = await floor.planned(10, **LIMIT)
    await floor.live(order_id, 1)
    floor.market.set(INFY, "89.00")
    await floor.done(order_id)

    assert await floor.state(order_id) is OrderState.FILLED
