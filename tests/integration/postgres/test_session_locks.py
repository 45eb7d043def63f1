"""Leadership by a session lock: at most one process that is told so, and a new one when it goes; and presence,
which proves the death of a killed process, and of no other."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
import pytest_asyncio

from pulse_adapters.embedded import EmbeddedPostgres
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.session_locks import PostgresLeadership, PostgresPresence
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_background.scheduler import Scheduler
from pulse_domain.errors import StorageUnavailable
from pulse_domain.testing.fake_clock import FakeClock

PATIENCE_S = 20.0
HOLDERS = """
    SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database
    WHERE datname = current_database() AND locktype = 'advisory' AND granted AND objid = 8102
"""
# A number that the operating system hands to nobody.
NO_PORT = 1


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def watch(postgres_dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection that looks at the locks from outside."""
    connection = await asyncpg.connect(postgres_dsn)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def processes(
    postgres_dsn: str, watch: asyncpg.Connection
) -> AsyncIterator[tuple[PostgresLeadership, PostgresLeadership]]:
    dsn = f"{postgres_dsn}?application_name=leadership"
    one, other = PostgresLeadership(dsn), PostgresLeadership(dsn)
    yield one, other
    for process in (one, other):
        await process.release()
    # The server takes a moment to notice, and the next test begins with a free lock.
    await until(lambda: nobody_holds(watch))


async def nobody_holds(watch: asyncpg.Connection) -> bool:
    return not await watch.fetch(HOLDERS)


Processes = tuple[PostgresLeadership, PostgresLeadership]


async def test_of_two_processes_one_leads(processes: Processes) -> None:
    one, other = processes

    assert await one.hold()
    assert not await other.hold()


async def test_of_many_processes_that_ask_at_once_one_leads(postgres_dsn: str, processes: Processes) -> None:
    crowd = [*processes, *(PostgresLeadership(postgres_dsn) for _ in range(6))]

    answers = await asyncio.gather(*(process.hold() for process in crowd))

    assert sum(answers) == 1
    for process in crowd:
        await process.release()


async def test_who_leads_goes_on_leading(processes: Processes) -> None:
    one, other = processes
    await one.hold()

    for _ in range(10):
        assert (await one.hold(), await other.hold()) == (True, False)


async def test_asking_again_holds_the_lock_once(processes: Processes, watch: asyncpg.Connection) -> None:
    for _ in range(5):
        await processes[0].hold()

    assert len(await watch.fetch(HOLDERS)) == 1


async def test_who_does_not_lead_keeps_no_connection(processes: Processes, watch: asyncpg.Connection) -> None:
    one, other = processes
    await one.hold()
    for _ in range(5):
        await other.hold()

    async def only_the_leader_is_connected() -> bool:
        connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leadership'"
        return bool(await watch.fetchval(connected) == 1)

    await until(only_the_leader_is_connected)


async def test_a_release_hands_over(processes: Processes) -> None:
    one, other = processes
    await one.hold()

    await one.release()

    await until(other.hold)
    assert not await one.hold()


async def test_a_release_of_nothing_is_harmless(processes: Processes) -> None:
    await processes[0].release()
    await processes[0].release()

    assert await processes[0].hold()


async def test_a_killed_connection_loses_the_lead_and_it_can_be_had_again(
    processes: Processes, watch: asyncpg.Connection
) -> None:
    one, other = processes
    await one.hold()
    [holder] = await watch.fetch(HOLDERS)
    await watch.execute("SELECT pg_terminate_backend($1, 5000)", holder["pid"])

    assert not await one.hold()
    await until(one.hold)
    assert not await other.hold()


async def test_when_the_leaders_connection_is_killed_the_other_takes_over(
    processes: Processes, watch: asyncpg.Connection
) -> None:
    one, other = processes
    await one.hold()
    [holder] = await watch.fetch(HOLDERS)
    await watch.execute("SELECT pg_terminate_backend($1, 5000)", holder["pid"])

    await until(other.hold)
    assert not await one.hold()
    assert not await one.hold()


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start(None, durable=False) as running:
        yield running


async def test_without_a_server_nobody_leads_and_nothing_is_raised(server: EmbeddedPostgres) -> None:
    process = PostgresLeadership(server.dsn)
    server.halt()
    try:
        answers = [await process.hold() for _ in range(3)]
    finally:
        server.resume()

    assert answers == [False, False, False]
    await until(process.hold)
    await process.release()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_goes_away_takes_the_lead_along(server: EmbeddedPostgres, mode: str) -> None:
    one, other = PostgresLeadership(server.dsn), PostgresLeadership(server.dsn)
    await until(one.hold)
    server.halt("fast" if mode == "fast" else "immediate")
    try:
        answers = [await one.hold(), await one.hold(), await other.hold()]
    finally:
        server.resume()

    assert answers == [False, False, False]
    await until(other.hold)
    assert not await one.hold()
    await other.release()


async def test_a_leader_that_is_silent_is_deposed_and_knows_when_it_wakes(
    postgres_dsn: str, watch: asyncpg.Connection
) -> None:
    asleep, other = PostgresLeadership(postgres_dsn), PostgresLeadership(postgres_dsn, silent_s=0.5)
    assert await asleep.hold()
    assert not await other.hold()

    await until(other.hold)

    assert not await asleep.hold()
    assert await other.hold()
    await other.release()
    await asleep.release()
    await until(lambda: nobody_holds(watch))


async def test_a_leader_that_looks_after_its_lock_is_not_deposed(
    postgres_dsn: str, watch: asyncpg.Connection
) -> None:
    leader, other = PostgresLeadership(postgres_dsn), PostgresLeadership(postgres_dsn, silent_s=2.0)
    assert await leader.hold()
    for _ in range(15):
        assert await leader.hold()
        assert not await other.hold()
        await asyncio.sleep(0.2)

    assert await leader.hold()
    await leader.release()
    await until(lambda: nobody_holds(watch))


async def test_an_address_where_nobody_listens_is_no_lead(server: EmbeddedPostgres) -> None:
    nowhere = server.dsn.replace(f":{server.port}/", f":{NO_PORT}/")

    assert not await PostgresLeadership(nowhere).hold()


async def test_a_scheduler_hands_its_loops_over_with_the_lock(processes: Processes) -> None:
    clock = FakeClock(auto=True)
    working: list[str] = []

    def loop(name: str) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            working.append(name)
            try:
                await asyncio.Event().wait()
            finally:
                working.remove(name)

        return work

    async def working_is(*names: str) -> bool:
        return working == list(names)

    first = asyncio.create_task(Scheduler(processes[0], clock, (loop("first"),)).run())
    await until(lambda: working_is("first"))
    second = asyncio.create_task(Scheduler(processes[1], clock, (loop("second"),)).run())
    first.cancel()
    await until(lambda: working_is("second"))
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)

    assert working == []


# --- presence

HOLD_A_PRESENCE = """
import asyncio, sys
from pulse_adapters.postgres.session_locks import PostgresPresence

async def main():
    presence = PostgresPresence(sys.argv[1], sys.argv[2])
    assert await presence.hold()
    print("held", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def present(dsn: str, executor: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of its own that holds a presence."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD_A_PRESENCE, dsn, executor, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            assert await process.stdout.readline() == b"held\n"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def store_at(dsn: str) -> AsyncIterator[PostgresOrderStore]:
    pool = await create_pool(dsn, size=1)
    yield PostgresOrderStore(Database(pool))
    await pool.close()


@pytest_asyncio.fixture
async def migrated(server: EmbeddedPostgres) -> str:
    await migrate(server.dsn)
    return server.dsn


async def test_a_killed_process_is_proven_dead_and_a_stopped_one_is_not(migrated: str) -> None:
    async with (
        store_at(migrated) as store,
        present(migrated, "executor-k") as killed,
        present(migrated, "executor-s") as stopped,
    ):
        stopped.send_signal(signal.SIGSTOP)
        killed.kill()

        async def is_proven() -> bool:
            return await store.dead_executors(["executor-k", "executor-s"]) == {"executor-k"}

        await until(is_proven)
        await asyncio.sleep(0.5)
        assert await is_proven()


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_was_restarted_proves_no_deaths(
    server: EmbeddedPostgres, migrated: str, mode: str
) -> None:
    # All locks are gone with the server, those of living processes too.
    async with store_at(migrated) as store, present(migrated, "executor-r"):
        server.halt("fast" if mode == "fast" else "immediate")
        server.resume()

        async def answers() -> bool:
            try:
                await store.ping()
            except StorageUnavailable:
                return False
            return True

        await until(answers)
        assert await store.dead_executors(["executor-r"]) == set()


async def test_a_process_that_took_its_lock_again_can_be_proven_dead_again(
    server: EmbeddedPostgres, migrated: str
) -> None:
    async with store_at(migrated) as store:
        presence = PostgresPresence(migrated, "executor-a")
        assert await presence.hold()
        server.halt("immediate")
        server.resume()
        await until(presence.hold)
        assert await store.dead_executors(["executor-a"]) == set()

        await presence.release()

        async def is_proven() -> bool:
            return await store.dead_executors(["executor-a"]) == {"executor-a"}

        await until(is_proven)
