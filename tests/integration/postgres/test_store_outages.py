"""The store while its server is away, and while a connection breaks in the worst moment."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded import EmbeddedPostgres
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.session_locks import PostgresLeadership
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_domain.errors import DuplicateOrderUniqueKey, StorageUnavailable
from pulse_domain.orders import events as ev
from pulse_domain.orders.ids import BrokerOrderId
from pulse_domain.orders.model import NewOrder, Side
from pulse_domain.orders.plan import tag_of_only_execution
from pulse_domain.ports.order_store import (
    Accepted,
    AtOnce,
    BookFindings,
    Booking,
    BrokerCall,
    LedgerWish,
    OrderStore,
    Selection,
    SplitResult,
)
from pulse_domain.risk import RiskLimits
from pulse_domain.testing.factories import CLIENT, TAG_PREFIX, new_order, order_request, plan, split_order

PATIENCE_S = 20.0
# Nobody waits for a server that refuses connections; the bound is far above what a refusal takes.
QUICK_S = 2.5
IDS = RandomIds(SystemClock())
DIGEST = "0" * 64


@pytest_asyncio.fixture(scope="module")
async def server() -> AsyncIterator[EmbeddedPostgres]:
    """A server of this module's own, which its tests may stop."""
    with EmbeddedPostgres.start(None, durable=False) as running:
        await migrate(running.dsn)
        yield running


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


@asynccontextmanager
async def store_on(dsn: str) -> AsyncIterator[PostgresOrderStore]:
    pool = await create_pool(dsn)
    try:
        yield PostgresOrderStore(Database(pool))
    finally:
        pool.terminate()


@pytest_asyncio.fixture
async def store(server: EmbeddedPostgres) -> AsyncIterator[PostgresOrderStore]:
    async with store_on(server.dsn) as store:
        yield store


@pytest_asyncio.fixture
async def watch(server: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A connection of its own, that nothing cuts."""
    connection = await asyncpg.connect(server.dsn)
    yield connection
    await connection.close()


# --- the server is away

NEW = new_order(IDS)
BOOKING = Booking(
    order_id=NEW.order_id,
    event=ev.ExecutionAccepted(seq=1, chunk=0, broker_order_id=BrokerOrderId("B-1")),
)


def _selecting(wanted: Selection) -> Callable[[OrderStore], Awaitable[Any]]:
    return lambda store: store.select(wanted, limit=10)


def _accept_at_once(store: OrderStore, new: NewOrder) -> Awaitable[Accepted]:
    return store.accept(new, None, AtOnce(executor="worker", lease_s=60.0, tag=_tag(new), grace_s=60.0))


def _tag(new: NewOrder) -> str:
    tag = tag_of_only_execution(new, TAG_PREFIX)
    assert tag is not None
    return tag


METHODS: dict[str, Callable[[OrderStore], Awaitable[Any]]] = {
    "accept": lambda store: store.accept(new_order(IDS)),
    "accept by body": lambda store: store.accept(new_order(IDS, body_digest=DIGEST)),
    "accept under limits": lambda store: store.accept(new_order(IDS), RiskLimits(max_open_orders=10**6)),
    "accept at once": lambda store: _accept_at_once(store, new_order(IDS)),
    "count_orders": lambda store: store.count_orders(CLIENT, NEW.request, RiskLimits(max_orders=1)),
    "unsettled": lambda store: store.unsettled(),
    "find_accepted": lambda store: store.find_accepted(CLIENT, "key"),
    "find_sighted": lambda store: store.find_sighted(CLIENT, DIGEST),
    "request_cancel": lambda store: store.request_cancel(NEW.order_id, "desk"),
    "set_paused": lambda store: store.set_paused(NEW.order_id, True, "desk"),
    "claim_orders": lambda store: store.claim_orders(10, "worker", 60.0),
    "save_split": lambda store: store.save_split(
        NEW.order_id, ev.SplitSaved(attempt=1, expires_at=SystemClock().now(), slices=())
    ),
    "fail_split": lambda store: store.fail_split(NEW.order_id, 1, "no plan"),
    "recover_splits": lambda store: store.recover_splits(3),
    "next_due": lambda store: store.next_due(),
    "claim_executions": lambda store: store.claim_executions(10, "worker", 60.0),
    "book": lambda store: store.book([BOOKING]),
    "halt": lambda store: store.halt("desk", "test"),
    "halt_to_square_off": lambda store: store.halt_to_square_off("desk", "test"),
    "resume": lambda store: store.resume("desk", "test"),
    "halt_for_reconcile": lambda store: store.halt_for_reconcile("desk", "test"),
    "note_findings": lambda store: store.note_findings(BookFindings(complete=True)),
    "confirm_reconciled": lambda store: store.confirm_reconciled("desk", "test"),
    "findings": lambda store: store.findings(),
    "notice_restore": lambda store: store.notice_restore("worker"),
    "trading_state": lambda store: store.trading_state(),
    "in_flight": lambda store: store.in_flight(),
    "get": lambda store: store.get(NEW.order_id),
    "list_orders": lambda store: store.list_orders(CLIENT, limit=10),
    "list_orders of all": lambda store: store.list_orders(None, limit=10),
    "slices": lambda store: store.slices(NEW.order_id),
    "fills": lambda store: store.fills(),
    "units_since": lambda store: store.units_since(SystemClock().now()),
    "fills_mark": lambda store: store.fills_mark(SystemClock().now()),
    "ledger": lambda store: store.ledger(LedgerWish(), limit=10),
    "journal": lambda store: store.journal(NEW.order_id, after_seq=0, limit=10),
    "journal_heads": lambda store: store.journal_heads([NEW.order_id]),
    **{f"select {wanted}": _selecting(wanted) for wanted in Selection},
    "find_by_tags": lambda store: store.find_by_tags(["T1" + "A" * 18]),
    "broker_calls": lambda store: store.broker_calls(SystemClock().now() - timedelta(days=1)),
    "broker_order_ids": lambda store: store.broker_order_ids(SystemClock().now() - timedelta(days=1)),
    "forget_sightings": lambda store: store.forget_sightings(3600.0),
    "archive": lambda store: store.archive(3600.0, limit=10),
    "open_orders": lambda store: store.open_orders(10),
    "find_by_broker_order_ids": lambda store: store.find_by_broker_order_ids(["B-1"]),
    "dead_executors": lambda store: store.dead_executors(["executor-1"]),
    "now": lambda store: store.now(),
    "ping": lambda store: store.ping(),
}


async def answer(call: Awaitable[Any]) -> str:
    try:
        async with asyncio.timeout(QUICK_S):
            await call
    except TimeoutError:
        return "no answer"
    except Exception as error:
        return type(error).__name__
    return "answered"


def test_every_method_of_the_port_is_tried_here() -> None:
    methods = {name for name in vars(OrderStore) if not name.startswith("_")}

    assert {name.split()[0] for name in METHODS} == methods


@pytest.mark.parametrize("connected", [True, False], ids=["connected before", "never connected"])
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_every_method_says_soon_that_the_store_is_away_and_works_when_it_is_back(
    server: EmbeddedPostgres, connected: bool, mode: str
) -> None:
    async with store_on(server.dsn) as store:
        if connected:
            # Several at once leave several idle connections, all of which are broken later.
            await asyncio.gather(*(store.ping() for _ in range(5)))
        server.halt("fast" if mode == "fast" else "immediate")
        try:
            away = {name: await answer(call(store)) for name, call in METHODS.items()}
        finally:
            server.resume()
        back = {name: await answer(call(store)) for name, call in METHODS.items()}

    assert away == dict.fromkeys(METHODS, "StorageUnavailable")
    assert back == dict.fromkeys(METHODS, "answered")


async def test_a_server_that_was_restarted_between_two_steps_is_met_by_a_new_connection(
    server: EmbeddedPostgres, store: PostgresOrderStore
) -> None:
    await asyncio.gather(*(store.ping() for _ in range(5)))
    server.restart()

    await until(lambda: _succeeds(store.ping()))
    for _ in range(10):
        await store.ping()


async def _succeeds(call: Awaitable[Any]) -> bool:
    with contextlib.suppress(StorageUnavailable):
        await call
        return True
    return False


async def test_what_was_stored_before_an_outage_is_there_after_it(
    server: EmbeddedPostgres, store: PostgresOrderStore
) -> None:
    await drain(store)
    order = await split_order(store, IDS, [[10], [20]])
    [claim, _] = await store.claim_executions(10, "worker", 60.0)
    server.restart("immediate")

    await until(lambda: _succeeds(store.ping()))
    accepted = ev.ExecutionAccepted(seq=claim.execution.seq, chunk=0, broker_order_id=BrokerOrderId("B-7"))
    [booked] = await store.book([Booking(order_id=order.order_id, event=accepted)])
    assert (booked.result, booked.execution and booked.execution.broker_order_id) == ("APPLIED", "B-7")


async def drain(store: PostgresOrderStore) -> None:
    """Leave no order behind that waits to be split."""
    while waiting := await store.claim_orders(100, "drain", 60.0):
        for order in waiting:
            await store.fail_split(order.order_id, order.split_attempt, "not wanted")


# --- a connection breaks in mid-statement


class Proxy:
    """A wire to the server that can be cut between a statement and its answer.

    cut_after: tells, of what a client has just sent, whether its connection is to be cut: the statement is
        still carried out, and no answer to it comes back.
    open: whether new connections get through.
    cut: set once an answer was lost.
    """

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.cut_after: Callable[[bytes], bool] = lambda sent: False
        self.open = True
        self.cut = asyncio.Event()
        self._server = server
        self._ends: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._wires: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> "Proxy":
        self._listener = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._listener is not None
        self._listener.close()
        self.hang_up()
        await asyncio.gather(*self._wires)

    def hang_up(self) -> None:
        for end in self._ends:
            end.transport.abort()

    def bid_farewell(self) -> None:
        """Tell every client what a server says that shuts down. It hangs up only a moment later."""
        for client in self._clients:
            client.write(_FAREWELL)

    @property
    def dsn(self) -> str:
        assert self._listener is not None
        port = self._listener.sockets[0].getsockname()[1]
        return self._server.dsn.replace(f":{self._server.port}/", f":{port}/")

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = asyncio.current_task()
        assert wire is not None
        self._wires.add(wire)
        try:
            if self.open:
                await self._carry(reader, writer)
        finally:
            writer.transport.abort()
            self._wires.discard(wire)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        ends = {writer, server_writer}
        self._ends |= ends
        self._clients.add(writer)
        lost = asyncio.Event()
        answers = asyncio.create_task(self._answers(server_reader, writer, lost))
        with contextlib.suppress(OSError):
            while sent := await reader.read(65536):
                if self.cut_after(sent):
                    lost.set()
                server_writer.write(sent)
        server_writer.transport.abort()
        await answers
        self._ends -= ends
        self._clients.discard(writer)

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while answer := await reader.read(65536):
                if not lost.is_set():
                    writer.write(answer)
                elif answer.endswith(_READY):
                    self.cut.set()
                    break
        writer.transport.abort()


# The server says so when a statement has been carried out and committed.
_READY = b"Z\x00\x00\x00\x05I"
_FAREWELL_FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
_FAREWELL = b"E" + (len(_FAREWELL_FIELDS) + 4).to_bytes(4) + _FAREWELL_FIELDS


@pytest_asyncio.fixture
async def proxy(server: EmbeddedPostgres) -> AsyncIterator[Proxy]:
    async with Proxy(server) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def cut_store(proxy: Proxy) -> AsyncIterator[PostgresOrderStore]:
    """A store behind the proxy, whose statements the connections know already."""
    async with store_on(proxy.dsn) as store:
        await store.accept(new_order(IDS))
        yield store


def carries(text: str) -> Callable[[bytes], bool]:
    """Tell once whether a text is in what was sent: in the arguments of the statement, that is."""
    told = False

    def once(sent: bytes) -> bool:
        nonlocal told
        told, told_before = told or text.encode() in sent, told
        return told and not told_before

    return once


async def stored(watch: asyncpg.Connection, new: NewOrder) -> list[str]:
    rows = await watch.fetch(
        "SELECT order_id FROM orders WHERE client_id = $1 AND order_unique_key = $2",
        new.client_id,
        new.order_unique_key,
    )
    return [row["order_id"] for row in rows]


async def journalled(watch: asyncpg.Connection, order_id: str) -> int:
    return int(await watch.fetchval("SELECT count(*) FROM order_events WHERE order_id = $1", order_id))


@pytest.mark.parametrize("by_body", [False, True], ids=["by key", "by body"])
async def test_an_acceptance_whose_answer_was_lost_is_found_by_reading_again(
    proxy: Proxy, cut_store: PostgresOrderStore, watch: asyncpg.Connection, by_body: bool
) -> None:
    order_id = IDS.order_id()
    new = new_order(IDS, order_id=order_id, body_digest=f"{order_id:0>64}" if by_body else None)
    proxy.cut_after = carries(new.order_unique_key)

    accepted = await cut_store.accept(new)

    assert proxy.cut.is_set()
    assert (accepted.order_id, accepted.replayed) == (new.order_id, False)
    assert await stored(watch, new) == [new.order_id]
    assert await journalled(watch, new.order_id) == 1


async def test_a_claim_with_an_acceptance_whose_answer_was_lost_is_not_given_and_can_be_given_back(
    proxy: Proxy, cut_store: PostgresOrderStore, watch: asyncpg.Connection
) -> None:
    new = new_order(IDS)
    proxy.cut_after = carries(new.order_unique_key)

    accepted = await _accept_at_once(cut_store, new)

    assert proxy.cut.is_set()
    assert (accepted.order_id, accepted.replayed, accepted.claim) == (new.order_id, False, None)
    [held] = [each for each in await cut_store.in_flight() if each.order_id == new.order_id]
    release = ev.ExecutionReleased(seq=1, chunk=0, attempt=1, reason="CLAIM_LOST", not_before=held.due_at)
    [booked] = await cut_store.book([Booking(order_id=new.order_id, event=release)])
    assert booked.result == "APPLIED"
    assert await journalled(watch, new.order_id) == 5


async def test_every_acceptance_that_shared_the_lost_statement_is_found(
    proxy: Proxy, cut_store: PostgresOrderStore, watch: asyncpg.Connection
) -> None:
    orders = [new_order(IDS) for _ in range(30)]
    proxy.cut_after = carries(orders[-1].order_unique_key)

    accepted = await asyncio.gather(*(cut_store.accept(new) for new in orders))

    assert proxy.cut.is_set()
    assert [each.order_id for each in accepted] == [new.order_id for new in orders]
    assert not any(each.replayed for each in accepted)
    for new in orders:
        assert await stored(watch, new) == [new.order_id]


async def test_a_repeat_whose_answer_was_lost_names_the_first_order(
    proxy: Proxy, cut_store: PostgresOrderStore, watch: asyncpg.Connection
) -> None:
    first = new_order(IDS)
    await cut_store.accept(first)
    again = new_order(IDS, order_unique_key=first.order_unique_key)
    proxy.cut_after = carries(again.order_id)

    accepted = await cut_store.accept(again)

    assert proxy.cut.is_set()
    assert (accepted.order_id, accepted.replayed) == (first.order_id, True)
    assert await stored(watch, first) == [first.order_id]


async def test_another_request_under_the_key_is_refused_though_the_answer_was_lost(
    proxy: Proxy, cut_store: PostgresOrderStore
) -> None:
    first = new_order(IDS)
    await cut_store.accept(first)
    other = new_order(IDS, order_unique_key=first.order_unique_key, request=order_request(side=Side.SELL))
    proxy.cut_after = carries(other.order_id)

    with pytest.raises(DuplicateOrderUniqueKey):
        await cut_store.accept(other)


async def test_where_the_store_stays_away_the_caller_is_told_and_a_later_repeat_finds_the_order(
    proxy: Proxy, cut_store: PostgresOrderStore, watch: asyncpg.Connection
) -> None:
    new = new_order(IDS)
    cut = carries(new.order_unique_key)

    def cut_and_stay_away(sent: bytes) -> bool:
        proxy.open = proxy.open and not (now := cut(sent))
        return now

    proxy.cut_after = cut_and_stay_away
    with pytest.raises(StorageUnavailable):
        await cut_store.accept(new)
    committed = await stored(watch, new)
    proxy.open = True
    repeated = await cut_store.accept(new_order(IDS, order_unique_key=new.order_unique_key))

    assert (committed, repeated.order_id, repeated.replayed) == ([new.order_id], new.order_id, True)
    assert await stored(watch, new) == [new.order_id]
    assert await journalled(watch, new.order_id) == 1


async def test_a_statement_that_never_reached_the_server_leaves_nothing_and_can_be_repeated(
    proxy: Proxy, cut_store: PostgresOrderStore, watch: asyncpg.Connection, server: EmbeddedPostgres
) -> None:
    new = new_order(IDS)
    proxy.open = False
    await cut_all(watch)

    with pytest.raises(StorageUnavailable):
        await cut_store.accept(new)
    proxy.open = True
    accepted = await cut_store.accept(new)

    assert (accepted.order_id, accepted.replayed) == (new.order_id, False)
    assert await stored(watch, new) == [new.order_id]


async def cut_all(watch: asyncpg.Connection) -> None:
    """End every connection to the server but this one, and wait until they are gone."""
    await watch.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )


async def waiting_backend(watch: asyncpg.Connection) -> int | None:
    """The backend whose statement waits for another transaction."""
    pid: int | None = await watch.fetchval(
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'INSERT INTO orders'"
    )
    return pid


@pytest.mark.parametrize("commits", [True, False], ids=["the rival commits", "the rival is rolled back"])
async def test_a_backend_that_is_killed_while_it_waits_for_a_rival_leaves_one_order(
    server: EmbeddedPostgres, store: PostgresOrderStore, watch: asyncpg.Connection, commits: bool
) -> None:
    """The rival has the same key, and has not committed when the connection is killed."""
    key = f"rival-{IDS.order_id()[4:]}"
    rival, mine = new_order(IDS, order_unique_key=key), new_order(IDS, order_unique_key=key)
    holder = await asyncpg.connect(server.dsn)
    transaction = holder.transaction()
    await transaction.start()
    async with store_on(server.dsn) as other:
        # The rival's own store, on a connection whose transaction stays open.
        await insert_within(holder, rival)
        accepting = asyncio.create_task(store.accept(mine))
        await until(lambda: waiting_backend(watch))
        await watch.execute("SELECT pg_terminate_backend($1, 5000)", await waiting_backend(watch))
        # Reading again finds nothing: the rival's row is not visible yet.
        with pytest.raises(StorageUnavailable):
            await accepting
        await (transaction.commit() if commits else transaction.rollback())
        repeated = await other.accept(new_order(IDS, order_id=mine.order_id, order_unique_key=key))
    await holder.close()

    winner = rival if commits else mine
    assert (repeated.order_id, repeated.replayed) == (winner.order_id, commits)
    assert await stored(watch, mine) == [winner.order_id]


async def insert_within(connection: asyncpg.Connection, new: NewOrder) -> None:
    accepted = await PostgresOrderStore(Database(_Only(connection))).accept(new)
    assert not accepted.replayed


class _Only:
    """A pool of one connection that is never given back."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    def acquire(self, *, timeout: float | None = None) -> "_Only":
        return self

    async def __aenter__(self) -> asyncpg.Connection:
        return self._connection

    async def __aexit__(self, *error: object) -> None:
        pass


async def test_a_claim_whose_answer_was_lost_is_told_as_such_and_handed_to_nobody_else(
    proxy: Proxy, cut_store: PostgresOrderStore
) -> None:
    await drain(cut_store)
    order = await split_order(cut_store, IDS, [[10]])
    proxy.cut_after = carries("cut-worker")

    with pytest.raises(StorageUnavailable):
        await cut_store.claim_executions(10, "cut-worker", 60.0)

    assert proxy.cut.is_set()
    assert await cut_store.claim_executions(10, "other-worker", 60.0) == []
    [slice_] = await cut_store.slices(order.order_id)
    assert slice_.executions[0].executor == "cut-worker"


async def test_a_split_whose_answer_was_lost_is_stored_once(
    proxy: Proxy, cut_store: PostgresOrderStore
) -> None:
    await drain(cut_store)
    await cut_store.accept(new_order(IDS, total_quantity=30))
    [order] = await cut_store.claim_orders(1, "worker", 60.0)
    saved = plan(order, [[10], [20]])
    proxy.cut_after = carries(saved.slices[0].executions[0].tag)

    with pytest.raises(StorageUnavailable):
        await cut_store.save_split(order.order_id, saved)

    assert proxy.cut.is_set()
    assert await cut_store.save_split(order.order_id, saved) is SplitResult.STALE
    assert [slice_.quantity for slice_ in await cut_store.slices(order.order_id)] == [10, 20]


async def test_facts_whose_answer_was_lost_are_booked_once_when_repeated(
    proxy: Proxy, cut_store: PostgresOrderStore, watch: asyncpg.Connection
) -> None:
    await drain(cut_store)
    order = await split_order(cut_store, IDS, [[10]])
    await cut_store.claim_executions(10, "worker", 60.0)
    broker_order_id = BrokerOrderId(f"B-{order.order_id}")
    booking = Booking(
        order_id=order.order_id,
        event=ev.ExecutionAccepted(seq=1, chunk=0, broker_order_id=broker_order_id),
    )
    proxy.cut_after = carries(broker_order_id)

    with pytest.raises(StorageUnavailable):
        await cut_store.book([booking])
    [booked] = await cut_store.book([booking])

    assert proxy.cut.is_set()
    assert booked.result == "UNCHANGED"
    kinds = await watch.fetch("SELECT kind FROM order_events WHERE order_id = $1 ORDER BY seq", order.order_id)
    assert [row["kind"] for row in kinds].count("execution_accepted") == 1


async def test_a_call_at_the_broker_is_on_record_once_though_its_outcome_was_booked_twice(
    proxy: Proxy, cut_store: PostgresOrderStore, watch: asyncpg.Connection
) -> None:
    """Whoever reads the record must not take one order at the broker for two."""
    await drain(cut_store)
    order = await split_order(cut_store, IDS, [[10]])
    await cut_store.claim_executions(10, "worker", 60.0)
    broker_order_id = BrokerOrderId(f"B-{order.order_id}")
    call = BrokerCall(
        broker="virtual", operation="place", began_at=SystemClock().now(), duration_ms=5, request={"tag": "T1"}
    )
    event = ev.ExecutionAccepted(seq=1, chunk=0, broker_order_id=broker_order_id)
    booking = Booking(order_id=order.order_id, event=event, call=call)
    proxy.cut_after = carries(broker_order_id)

    with pytest.raises(StorageUnavailable):
        await cut_store.book([booking])
    await cut_store.book([booking])

    on_record = "SELECT count(*) FROM broker_events WHERE order_id = $1"
    assert await watch.fetchval(on_record, order.order_id) == 1


# --- a server that has said goodbye and not hung up yet


async def farewell(proxy: Proxy, watch: asyncpg.Connection) -> None:
    proxy.bid_farewell()
    # What was written before this round trip has arrived after it.
    await watch.fetchval("SELECT 1")


async def test_a_step_between_the_servers_farewell_and_its_hanging_up_finds_the_store_away(
    proxy: Proxy, cut_store: PostgresOrderStore, watch: asyncpg.Connection
) -> None:
    await farewell(proxy, watch)

    assert await answer(cut_store.ping()) == "StorageUnavailable"

    proxy.hang_up()
    await until(lambda: _succeeds(cut_store.ping()))


async def test_an_acceptance_between_the_servers_farewell_and_its_hanging_up_can_be_repeated(
    proxy: Proxy, cut_store: PostgresOrderStore, watch: asyncpg.Connection
) -> None:
    new = new_order(IDS)
    await farewell(proxy, watch)

    assert await answer(cut_store.accept(new)) == "StorageUnavailable"

    proxy.hang_up()
    await until(lambda: _succeeds(cut_store.accept(new)))
    assert await stored(watch, new) == [new.order_id]


async def test_a_leader_between_the_servers_farewell_and_its_hanging_up_leads_no_more(
    proxy: Proxy, watch: asyncpg.Connection
) -> None:
    leader = PostgresLeadership(proxy.dsn)
    await until(leader.hold)
    await farewell(proxy, watch)

    assert not await leader.hold()

    await until(leader.hold)
    await leader.release()
