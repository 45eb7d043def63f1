"""Days of ticks come and go on a real server, and nobody who inserts or reads notices."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import asyncpg
import pytest
import pytest_asyncio

from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.tick_partitions import TickPartitions, partition_name
from pulse_adapters.postgres.ticks import PostgresTickStore
from pulse_domain.errors import StorageUnavailable
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from pulse_domain.ports.tick_store import TickBatch
from pulse_domain.testing.fake_clock import FakeClock

TCS = Instrument.parse("NSE:TCS")
START = datetime(2026, 1, 20, 3, 45, tzinfo=UTC)
LIMIT_S = 60.0


@pytest_asyncio.fixture
async def pool(database: asyncpg.Pool) -> AsyncIterator[asyncpg.Pool]:
    """A pool on tables without any day."""
    await drop_days(database)
    yield database
    await drop_days(database)


async def drop_days(pool: asyncpg.Pool) -> None:
    for name in await days(pool):
        await pool.execute(f"DROP TABLE {name}")


async def days(pool: asyncpg.Pool, *, attached: bool = False) -> list[str]:
    sql = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^market_ticks_\\d' ORDER BY relname"
    if attached:
        sql = sql.replace("WHERE", "JOIN pg_inherits ON inhrelid = pg_class.oid WHERE")
    return [row["relname"] for row in await pool.fetch(sql)]


def day(number: int) -> date:
    return (START + timedelta(days=number)).date()


def names(first: int, last: int) -> list[str]:
    return [partition_name(day(number)) for number in range(first, last + 1)]


class Inserter:
    """Stores a tick after the other at the clock's present, until it is stopped."""

    def __init__(self, pool: asyncpg.Pool, clock: FakeClock) -> None:
        self._store = PostgresTickStore(Database(pool))
        self._clock = clock
        self.stored: list[datetime] = []

    async def run(self) -> None:
        recording = await self._store.begin("synthetic")
        while True:
            at = self._clock.now() + timedelta(microseconds=len(self.stored))
            tick = Tick(TCS, at, Decimal("3000.05"))
            await self._store.save(TickBatch(recording=recording, first=len(self.stored) + 1, ticks=[tick]))
            self.stored.append(at)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.run())
        try:
            await self.more()
            yield
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def more(self, count: int = 5) -> None:
        """Wait until so many more are stored."""
        wanted = len(self.stored) + count
        async with asyncio.timeout(LIMIT_S):
            while True:
                if len(self.stored) >= wanted:
                    return
                await asyncio.sleep(0.005)


@asynccontextmanager
async def long_reader(dsn: str) -> AsyncIterator[None]:
    """Somebody who has looked into all days, and goes on."""
    reader = await asyncpg.connect(dsn)
    try:
        async with reader.transaction():
            await reader.fetch("SELECT * FROM market_ticks")
            yield
    finally:
        await reader.close()


async def test_ten_days_pass_and_seven_are_kept_while_others_insert(pool: asyncpg.Pool) -> None:
    clock = FakeClock(START)
    partitions, inserter = TickPartitions(Database(pool)), Inserter(pool, clock)
    async with inserter.running():
        for number in range(10):
            await partitions.keep(clock.now())
            await inserter.more()
            assert await days(pool, attached=True) == await days(pool) == names(max(0, number - 6), number + 2)
            await clock.advance(86_400)
            await inserter.more()
        await partitions.keep(clock.now() - timedelta(days=1))

    kept = await days(pool)
    up_to_now = [name for name in kept if name <= partition_name(day(9))]
    assert all(re.fullmatch(r"market_ticks_2026_\d{2}_\d{2}", name) for name in kept)
    assert up_to_now == names(3, 9)
    of_kept_days = [at for at in inserter.stored if at.date() >= day(3)]
    rows = await pool.fetch("SELECT timestamp FROM market_ticks ORDER BY timestamp")
    # What was being stored when the inserter was stopped may be there too.
    assert [row["timestamp"] for row in rows][: len(of_kept_days)] == of_kept_days
    assert len(rows) - len(of_kept_days) <= 1


async def test_a_day_holds_exactly_its_utc_day(pool: asyncpg.Pool) -> None:
    await TickPartitions(Database(pool)).create([day(0)])
    store = PostgresTickStore(Database(pool))
    midnight = datetime(2026, 1, 20, tzinfo=UTC)
    instants = [midnight, midnight + timedelta(days=1, microseconds=-1)]
    recording = await store.begin("synthetic")
    await store.save(
        TickBatch(recording=recording, first=1, ticks=[Tick(TCS, at, Decimal(1)) for at in instants])
    )

    found = await pool.fetch("SELECT timestamp FROM market_ticks_2026_01_20 ORDER BY timestamp")

    assert [row["timestamp"] for row in found] == instants
    assert await days(pool) == ["market_ticks_2026_01_20"]


async def test_a_tick_of_a_day_without_a_partition_gets_one(pool: asyncpg.Pool) -> None:
    store = PostgresTickStore(Database(pool))
    recording = await store.begin("synthetic")
    ticks = [Tick(TCS, START + timedelta(days=number), Decimal(1)) for number in (0, 3)]

    await store.save(TickBatch(recording=recording, first=1, ticks=ticks))

    assert await days(pool, attached=True) == [partition_name(day(0)), partition_name(day(3))]
    assert await pool.fetchval("SELECT count(*) FROM market_ticks") == 2


async def test_a_long_reader_holds_up_nobody_who_inserts(pool: asyncpg.Pool, migrated_dsn: str) -> None:
    clock = FakeClock(START + timedelta(days=20))
    patient = await create_pool(migrated_dsn, size=1, command_timeout_s=LIMIT_S)
    partitions, inserter = TickPartitions(Database(patient)), Inserter(pool, clock)
    await partitions.create([day(0)])

    async with inserter.running():
        async with long_reader(migrated_dsn):
            keeping = asyncio.create_task(partitions.keep(clock.now()))
            await inserter.more(50)
            assert not keeping.done(), "the reader may still look into the old day"
        report = await asyncio.wait_for(keeping, LIMIT_S)
    await patient.close()

    assert report.dropped == (day(0),)


async def test_a_drop_that_was_cut_off_is_finished_by_the_next(pool: asyncpg.Pool, migrated_dsn: str) -> None:
    partitions = TickPartitions(Database(pool))
    await partitions.create([day(0), day(1)])
    hasty = await create_pool(migrated_dsn, size=1, command_timeout_s=0.3)

    async with long_reader(migrated_dsn):
        with pytest.raises(StorageUnavailable):
            await TickPartitions(Database(hasty)).keep(START + timedelta(days=20))
        assert await pool.fetchval("SELECT bool_or(inhdetachpending) FROM pg_inherits")
    await hasty.close()
    report = await partitions.keep(START + timedelta(days=20))

    assert report.dropped == (day(0), day(1))
    assert await days(pool) == names(20, 22)


async def test_keeping_at_once_makes_every_day_once(pool: asyncpg.Pool) -> None:
    reports = await asyncio.gather(*(TickPartitions(Database(pool)).keep(START) for _ in range(4)))

    assert sorted(made for report in reports for made in report.created) == [day(0), day(1), day(2)]
    assert await days(pool, attached=True) == names(0, 2)


async def test_what_is_noted_of_recordings_goes_with_their_days(pool: asyncpg.Pool) -> None:
    store, now = PostgresTickStore(Database(pool)), datetime.now(UTC)
    ended, killed = await store.begin("ended"), await store.begin("killed")
    for recording in (ended, killed):
        await store.save(TickBatch(recording=recording, first=1, ticks=[Tick(TCS, now, Decimal(1))]))
    await store.end(ended, 1)
    keep = TickPartitions(Database(pool)).keep

    await keep(now + timedelta(days=6))
    assert len(await store.recordings(START - timedelta(days=9999))) == 2
    await keep(now + timedelta(days=8))
    assert [each.source for each in await store.recordings(START - timedelta(days=9999))] == ["killed"]
    await keep(now + timedelta(days=70))

    assert await store.recordings(START - timedelta(days=9999)) == []
    assert await pool.fetchval("SELECT count(*) FROM tick_batches") == 0


async def test_a_day_that_somebody_has_detached_is_left_to_them(pool: asyncpg.Pool) -> None:
    partitions = TickPartitions(Database(pool))
    await partitions.create([day(0), day(1)])
    await pool.execute(f"ALTER TABLE market_ticks DETACH PARTITION {partition_name(day(0))}")

    report = await partitions.keep(START + timedelta(days=20))

    assert report.dropped == (day(1),)
    assert await days(pool) == [partition_name(day(0)), *names(20, 22)]


async def test_a_day_between_detaching_and_dropping_is_dropped_by_the_next(pool: asyncpg.Pool) -> None:
    partitions = TickPartitions(Database(pool))
    await partitions.create([day(0)])
    name = partition_name(day(0))
    await pool.execute(f"COMMENT ON TABLE {name} IS 'an old day: to be dropped'")
    await pool.execute(f"ALTER TABLE market_ticks DETACH PARTITION {name}")

    assert (await partitions.keep(START + timedelta(days=20))).dropped == (day(0),)


async def test_a_role_that_may_not_create_tables_is_told_so(pool: asyncpg.Pool, migrated_dsn: str) -> None:
    await pool.execute("DROP ROLE IF EXISTS only_rows")
    await pool.execute("CREATE ROLE only_rows")
    limited = await create_pool(f"{migrated_dsn}{'&' if '?' in migrated_dsn else '?'}role=only_rows", size=1)
    store = PostgresTickStore(Database(limited))
    try:
        await pool.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO only_rows")
        recording = await store.begin("synthetic")
        batch = TickBatch(recording=recording, first=1, ticks=[Tick(TCS, START, Decimal(1))])
        with pytest.raises(StorageUnavailable, match="the days of ticks cannot be made and dropped"):
            await store.save(batch)
        with pytest.raises(StorageUnavailable, match="the days of ticks cannot be made and dropped"):
            await TickPartitions(Database(limited)).keep(START)

        await TickPartitions(Database(pool)).keep(START)
        await pool.execute("GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO only_rows")
        await store.save(batch)
    finally:
        await limited.close()
        await pool.execute("DROP OWNED BY only_rows; DROP ROLE only_rows")

    assert await pool.fetchval("SELECT count(*) FROM market_ticks") == 1
