"""Recording ticks into a real Postgres, through kills and lost connections."""

import asyncio
import signal
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import asyncpg

from pulse_adapters.clock import SystemClock
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.ticks import NUMBERS_EACH, PostgresTickStore
from pulse_background.bootstrap import open_ports
from pulse_background.settings import read_settings
from pulse_background.workers.tick_recorder import RecorderSettings, TickRecorder
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick
from service_kit import Metrics

ROOT = Path(__file__).parents[3]
LIMIT_S = 60.0
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
UNSAVED_MAX = 400

# Records as fast as it can and tells after each tick how many it has taken.
RECORDS_FOR_EVER = f"""
import asyncio, sys, structlog
from datetime import UTC, datetime
from decimal import Decimal
from pulse_adapters.clock import SystemClock
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.ticks import PostgresTickStore
from pulse_background.workers.tick_recorder import RecorderSettings, TickRecorder
from pulse_domain.instruments import Instrument
from pulse_domain.matching import Tick

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

async def main():
    pool = await create_pool(sys.argv[1])
    settings = RecorderSettings(unsaved_max={UNSAVED_MAX}, batch=100, flush_s=0.05)
    recorder = TickRecorder(PostgresTickStore(Database(pool)), SystemClock(), "synthetic", settings)
    running = asyncio.create_task(recorder.run())
    tcs = Instrument.parse("NSE:TCS")
    while True:
        recorder.append([Tick(tcs, datetime.now(UTC), Decimal("3000.05"))])
        figures = recorder.figures()
        print(figures.received, figures.dropped, figures.stored, flush=True)
        await asyncio.sleep(0)

asyncio.run(main())
"""


async def test_a_kill_costs_one_batch_at_most_and_shows(database: asyncpg.Pool, migrated_dsn: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RECORDS_FOR_EVER, migrated_dsn, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    last = b""
    try:
        async with asyncio.timeout(LIMIT_S):
            while (line := await process.stdout.readline()) and (last := line):
                if int(line.split()[2]) >= 1000:
                    break
    finally:
        process.send_signal(signal.SIGKILL)
        while line := await process.stdout.readline():
            last = line if line.endswith(b"\n") else last
        await process.wait()
    received, dropped, _ = map(int, last.split())

    [recording] = await PostgresTickStore(Database(database)).recordings(LONG_AGO)
    seqs = [
        row["seq"] % NUMBERS_EACH for row in await database.fetch("SELECT seq FROM market_ticks ORDER BY seq")
    ]
    assert recording.ended_at is None, "which tells that it was killed"
    assert recording.received == seqs[-1]
    assert recording.stored == len(seqs) == len(set(seqs))
    assert recording.lost <= dropped
    assert received - dropped - recording.stored <= UNSAVED_MAX


async def test_lost_connections_lose_and_double_nothing(database: asyncpg.Pool, migrated_dsn: str) -> None:
    name = f"{'&' if '?' in migrated_dsn else '?'}application_name=recorder"
    pool = await create_pool(migrated_dsn + name, size=2)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'recorder'"
    settings = RecorderSettings(unsaved_max=1_000_000, batch=50, flush_s=0.01)
    recorder = TickRecorder(PostgresTickStore(Database(pool)), HastyClock(), "synthetic", settings)
    running = asyncio.create_task(recorder.run())
    began, tcs = datetime.now(UTC), Instrument.parse("NSE:TCS")
    killed = taken = 0
    async with asyncio.timeout(LIMIT_S):
        while killed < 20 or taken < 6000:
            ticks = [Tick(tcs, began + timedelta(microseconds=taken), Decimal(each + 1)) for each in range(20)]
            recorder.append(ticks)
            taken += len(ticks)
            if taken % 300 == 0:
                killed += len(await database.fetch(kill))
            await asyncio.sleep(0.002)
        recorder.stop()
        await running
    await pool.close()

    assert recorder.figures().stored == recorder.figures().received == taken
    counts = "SELECT count(*), count(DISTINCT seq), max(seq) - min(seq) + 1 FROM market_ticks"
    assert tuple(await database.fetchrow(counts)) == (taken, taken, taken)
    [recording] = await PostgresTickStore(Database(database)).recordings(LONG_AGO)
    assert (recording.received, recording.lost) == (taken, 0)


class HastyClock(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.02))


async def test_the_leader_of_the_workers_makes_the_days(database: asyncpg.Pool, migrated_dsn: str) -> None:
    settings = read_settings({"DATABASE_URL": migrated_dsn})
    attached = (
        "SELECT CAST(inhrelid AS regclass)::text FROM pg_inherits WHERE inhparent = 'market_ticks'::regclass"
    )
    for row in await database.fetch(attached):
        await database.execute(f"DROP TABLE {row[0]}")

    async with open_ports(settings, Metrics("test")) as ports:
        loops = [asyncio.ensure_future(loop()) for loop in ports.leader_loops]
        async with asyncio.timeout(LIMIT_S):
            while True:
                if len(await database.fetch(attached)) == 3:
                    break
                await asyncio.sleep(0.02)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
