"""How fast slices are executed: the whole durable path against the no-op jobs of two queues.

Our side: two worker processes as deployed, with the limiter lifted, on Postgres with fsync on. For every slice
the claim is durable before the broker is called, over HTTP, and what came of it is booked with journal and
record of the call. The peers' jobs do nothing but note that they ran. procrastinate keeps its jobs in the
same Postgres, Dramatiq in a Redis that writes nothing to disk, which is the way it is run. Rounds take turns;
the first of each is thrown away.

procrastinate lives in an environment of its own under .venv-peers; `make clean` removes it.
"""

import argparse
import asyncio
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg

from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded.postgres import EmbeddedPostgres
from pulse_adapters.embedded.redis import EmbeddedRedis
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.store import PostgresOrderStore
from tests.benchmarks.peers.environments import python_of
from tests.benchmarks.planned import plan_orders
from tests.benchmarks.report import median, report
from tests.benchmarks.servers import free_port, processes
from tests.benchmarks.stub_desk import StubDesk, stub_broker, stub_worker

WORKERS = 2
ROUNDS = 5
ORDERS, SLICES_EACH = 500, 10
PROCRASTINATE_JOBS, DRAMATIQ_JOBS = 2_000, 10_000
# All slices are due in this time, which is enough to store them; then one slice of every order a millisecond.
DUE_IN_S, APART_S = 6.0, 0.001
PATIENCE_S = 120.0
ORDER_TABLES = ("orders", "order_slices", "order_ledger", "fills", "order_events", "broker_events")


class Ours:
    """Two workers that wait for slices to become due."""

    name = "pulse"

    def __init__(self, dsn: str, redis_url: str, broker_port: int) -> None:
        self._dsn, self._broker = dsn, StubDesk(broker_port)
        self._command = stub_worker(broker_port)
        self._env = {
            "DATABASE_URL": dsn,
            "REDIS_URL": redis_url,
            "LOG_LEVEL": "WARNING",
            # Nothing is to be split, and what is live stays so.
            "ORDER_SPLITTER_POLL_INTERVAL_SECONDS": "3600",
            "BROKER_SYNC_INTERVAL_SECONDS": "3600",
        }

    async def round(self) -> tuple[int, float]:
        self._broker.ask("forget")
        pool = await create_pool(self._dsn)
        # The broker's book is empty again, and so are the tables.
        await pool.execute(f"TRUNCATE {', '.join(ORDER_TABLES)}")
        due_in_s = [DUE_IN_S + APART_S * number for number in range(SLICES_EACH)]
        jobs = ORDERS * SLICES_EACH
        with processes([self._command] * WORKERS, self._env):
            await self._broker.ready(WORKERS)
            await plan_orders(PostgresOrderStore(Database(pool)), RandomIds(SystemClock()), ORDERS, due_in_s)
            deadline = time.monotonic() + PATIENCE_S
            while await pool.fetchval(
                "SELECT count(*) FROM order_ledger WHERE phase IN ('PLANNED', 'CLAIMED')"
            ):
                assert time.monotonic() < deadline, "slices are left over"
                await asyncio.sleep(0.2)
        # Timed by the journal: from the first claim to the last outcome.
        took_s = await pool.fetchval(
            "SELECT extract(epoch FROM max(at) FILTER (WHERE kind = 'execution_accepted')"
            " - min(at) FILTER (WHERE kind = 'execution_claimed')) FROM order_events"
        )
        accepted, claimed, recorded, live = await pool.fetchrow(
            "SELECT (SELECT count(*) FROM order_events WHERE kind = 'execution_accepted'),"
            " (SELECT count(*) FROM order_events WHERE kind = 'execution_claimed'),"
            " (SELECT count(*) FROM broker_events),"
            " (SELECT count(*) FROM order_ledger WHERE phase = 'LIVE' AND exchange_id IS NOT NULL)"
        )
        batches = await pool.fetch(
            "SELECT kind, round(count(*)::numeric / count(DISTINCT txid::text), 1) AS each FROM order_events"
            " WHERE kind LIKE 'execution_%' GROUP BY kind ORDER BY kind DESC"
        )
        print("   per statement:", *(f"{row['kind']} {row['each']}" for row in batches), file=sys.stderr)
        await pool.close()
        tags = [tag for _, tag, _ in self._broker.ask("receipts")]
        assert len(tags) == len(set(tags)) == jobs, f"{len(tags)} calls, {len(set(tags))} tags, {jobs} slices"
        counts = (accepted, claimed, recorded, live)
        assert set(counts) == {jobs}, f"outcomes, claims, calls and live executions: {counts}"
        return jobs, float(took_s)


class Procrastinate:
    """Timed by its own events, from the first start to the last success."""

    name = "procrastinate"

    def __init__(self, dsn: str, python: str, options: Mapping[str, str]) -> None:
        self._dsn, self._options = dsn, options
        module = "tests.benchmarks.peers.procrastinate_jobs"
        self._base = [python, "-c", f"from {module} import start; start()"]
        self._env = {"DATABASE_URL": dsn}

    def prepare(self) -> None:
        run([*self._base, "schema"], self._env)

    async def round(self) -> tuple[int, float]:
        connection = await asyncpg.connect(self._dsn)
        before = await connection.fetchval("SELECT coalesce(max(id), 0) FROM procrastinate_events")
        run([*self._base, "defer", str(PROCRASTINATE_JOBS)], self._env)
        with processes([[*self._base, "work", *self._options.values()]] * WORKERS, self._env):
            deadline = time.monotonic() + PATIENCE_S
            while await connection.fetchval(
                "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
            ):
                assert time.monotonic() < deadline, "jobs are left over"
                await asyncio.sleep(0.2)
        done, took_s = await connection.fetchrow(
            "SELECT count(*) FILTER (WHERE type = 'succeeded'), extract(epoch FROM"
            " max(at) FILTER (WHERE type = 'succeeded') - min(at) FILTER (WHERE type = 'started'))"
            " FROM procrastinate_events WHERE id > $1",
            before,
        )
        await connection.close()
        assert done == PROCRASTINATE_JOBS, f"{done} jobs succeeded"
        return done, float(took_s)


class Dramatiq:
    """Timed by the notes of the jobs, from the first to the last."""

    name = "dramatiq"

    def __init__(self, redis_url: str, threads: int) -> None:
        self._redis_url, self._threads = redis_url, threads

    async def round(self) -> tuple[int, float]:
        with tempfile.TemporaryDirectory() as folder:
            env = {"REDIS_URL": self._redis_url, "NOTES": folder}
            module = "tests.benchmarks.peers.dramatiq_jobs"
            run([sys.executable, "-m", module, str(DRAMATIQ_JOBS)], env)
            dramatiq = [sys.executable, "-m", "dramatiq", module]
            options = ["--processes", str(WORKERS), "--threads", str(self._threads), "--skip-logging"]
            with processes([[*dramatiq, *options]], env):
                deadline = time.monotonic() + PATIENCE_S
                while len(times := notes(Path(folder))) < DRAMATIQ_JOBS:
                    assert time.monotonic() < deadline, "jobs are left over"
                    await asyncio.sleep(0.2)
        assert len(times) == DRAMATIQ_JOBS
        return DRAMATIQ_JOBS, max(times) - min(times)


def notes(folder: Path) -> list[float]:
    return [instant for file in folder.iterdir() for (instant,) in struct.iter_unpack("d", file.read_bytes())]


def run(command: list[str], env: Mapping[str, str]) -> None:
    done = subprocess.run(command, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]


async def measure(sides: list[Any], rounds: int) -> dict[str, list[float]]:
    """Jobs per second of every counted round."""
    rates: dict[str, list[float]] = {side.name: [] for side in sides}
    for number in range(rounds + 1):
        for side in sides:
            jobs, took_s = await side.round()
            if number:
                rates[side.name].append(jobs / took_s)
            note = "" if number else "   (not counted)"
            print(f"{side.name:14} {jobs / took_s:9.0f}/s{note}", file=sys.stderr, flush=True)
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-execute")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--procrastinate", type=int, default=20)
    parser.add_argument("--threads", type=int, default=8)
    args = parser.parse_args()
    broker_port = free_port()
    with ExitStack() as stack:
        postgres = stack.enter_context(EmbeddedPostgres.start(None, durable=True))
        redis = stack.enter_context(EmbeddedRedis.start())
        stack.enter_context(stub_broker(broker_port))
        asyncio.run(migrate(postgres.dsn))
        sides: list[Any] = [Ours(postgres.dsn, redis.url, broker_port)]
        if not args.only_ours:
            procrastinate = Procrastinate(
                postgres.dsn, python_of("procrastinate"), {"concurrency": str(args.procrastinate)}
            )
            procrastinate.prepare()
            sides += [procrastinate, Dramatiq(redis.url, args.threads)]
        rates = asyncio.run(measure(sides, args.rounds))
    ours = rates["pulse"]
    ratios = {
        f"vs_{name}": median([mine / theirs for mine, theirs in zip(ours, theirs_all, strict=True)])
        for name, theirs_all in rates.items()
        if name != "pulse"
    }
    figures = {f"{name}_per_s": [round(rate) for rate in values] for name, values in rates.items()}
    report("execute", ratios, figures)


if __name__ == "__main__":
    main()
