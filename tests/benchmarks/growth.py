"""Whether what is finished slows what is new.

Claims and acceptances on full tables and on empty ones, and claims beside a transaction that holds an old
snapshot. All databases are on one Postgres with fsync on, and take turns. Full tables hold a million finished
slices with their orders, fills, journal and records of calls, vacuumed and analysed as autovacuum would have by
then. Claims are asked for as the executor does it: what is due next, then a batch. Beside the open transaction
they go on at full rate for a minute, on slices that become due while it runs.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import asyncpg
import uvloop

from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded.postgres import EmbeddedPostgres
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.store import PostgresOrderStore
from pulse_domain.testing.factories import new_order
from tests.benchmarks.history import SLICES_EACH, Bulk
from tests.benchmarks.report import median, report

FINISHED_SLICES = 1_000_000
ROUNDS = 9
ORDERS, CLIENTS = 8_000, 32
# Orders, claims, and how often a round plans and claims.
PLANNED_AT_ONCE, BATCH, TIMES = 200, 50, 5
SECONDS = 60.0


class Tables:
    """One database with its own tables."""

    def __init__(self, dsn: str, pool: asyncpg.Pool, bulk: Bulk) -> None:
        self.dsn, self.pool, self.bulk = dsn, pool, bulk
        self.store = PostgresOrderStore(Database(pool))
        self._ids = RandomIds(SystemClock())

    @classmethod
    async def create(cls, server: EmbeddedPostgres, name: str) -> "Tables":
        admin = await asyncpg.connect(server.dsn)
        await admin.execute(f"CREATE DATABASE {name}")
        await admin.close()
        dsn = server.dsn_for(name)
        await migrate(dsn)
        return cls(dsn, await create_pool(dsn), await Bulk.open(dsn))

    async def close(self) -> None:
        await self.bulk.close()
        await self.pool.close()

    async def accept(self) -> float:
        """Orders accepted per second, from so many clients."""
        waiting = iter([new_order(self._ids, total_quantity=100) for _ in range(ORDERS)])

        async def client() -> None:
            for order in waiting:
                await self.store.accept(order)

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(CLIENTS)))
        took_s = time.perf_counter() - began
        # They are not to be split.
        await self.pool.execute(
            "UPDATE orders SET order_queue_status = 'SKIPPED' WHERE order_queue_status = 'PENDING'"
        )
        return ORDERS / took_s

    async def claim(self) -> float:
        """Executions claimed per second."""
        claimed, seconds = 0, 0.0
        for _ in range(TIMES):
            some, took_s = await self.claim_all(PLANNED_AT_ONCE)
            claimed += some
            seconds += took_s
        return claimed / seconds

    async def claim_all(self, orders: int) -> tuple[int, float]:
        """Plan the slices of so many orders and claim them: how many, and in how many seconds."""
        await self.bulk.planned(orders)
        claimed, began = 0, time.perf_counter()
        while (due_in := await self.store.next_due()) is not None and due_in <= 0:
            claims = await self.store.claim_executions(BATCH, "bench", 120.0)
            assert claims, "what is due cannot be claimed"
            claimed += len(claims)
        assert claimed == orders * SLICES_EACH, f"{claimed} executions were claimed"
        return claimed, time.perf_counter() - began


Measure = Callable[[Tables], Coroutine[Any, Any, float]]


async def on_full_tables(server: EmbeddedPostgres, slices: int, rounds: int) -> dict[str, list[list[float]]]:
    """Rates by measure, each on full tables and on empty ones."""
    full, empty = await Tables.create(server, "full_tables"), await Tables.create(server, "empty_tables")
    began = time.perf_counter()
    await full.bulk.finished(slices // SLICES_EACH)
    print(f"{slices} finished slices in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    measures: dict[str, Measure] = {"accept": Tables.accept, "claim": Tables.claim}
    rates: dict[str, list[list[float]]] = {name: [[], []] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            both = [0.0, 0.0]
            # Neither is always the first.
            for index in (0, 1) if number % 2 else (1, 0):
                both[index] = await measure((full, empty)[index])
            print(f"{name:7} full {both[0]:7.0f}/s   empty {both[1]:7.0f}/s", file=sys.stderr, flush=True)
            if number:  # the first is for warming up
                for rate, into in zip(both, rates[name], strict=True):
                    into.append(rate)
    await full.close()
    await empty.close()
    return rates


async def beside_an_old_snapshot(server: EmbeddedPostgres, seconds: float) -> list[tuple[float, float]]:
    """Claims per second beside the open transaction and without one, for every twelfth of the time."""
    held, free = await Tables.create(server, "held_tables"), await Tables.create(server, "free_tables")
    holder = await asyncpg.connect(held.dsn)
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await holder.fetch("SELECT * FROM order_ledger LIMIT 1")
    parts: list[tuple[float, float]] = []
    spent_s = 0.0
    while spent_s < seconds:
        counts, took = [0, 0], [0.0, 0.0]
        while took[0] < seconds / 12:
            for index, tables in enumerate((held, free)):
                claimed, took_s = await tables.claim_all(PLANNED_AT_ONCE)
                counts[index] += claimed
                took[index] += took_s
        spent_s += took[0]
        parts.append((counts[0] / took[0], counts[1] / took[1]))
        print(f"held {parts[-1][0]:7.0f}/s   free {parts[-1][1]:7.0f}/s", file=sys.stderr, flush=True)
    await holder.execute("ROLLBACK")
    await holder.close()
    await held.close()
    await free.close()
    return parts


async def main() -> None:
    parser = argparse.ArgumentParser(prog="bench-growth")
    parser.add_argument("--slices", type=int, default=FINISHED_SLICES, help="finished ones")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of claims beside the open transaction")
    args = parser.parse_args()
    with EmbeddedPostgres.start(None, durable=True) as server:
        parts = await beside_an_old_snapshot(server, args.seconds)
        rates = await on_full_tables(server, args.slices, args.rounds)
    ratios = {
        f"{name}_at_1m": median([a / b for a, b in zip(full, empty, strict=True)])
        for name, (full, empty) in rates.items()
    }
    # Both sides worked for the same part of the time: the rates of the parts weigh the same.
    ratios["claim_under_idle_txn"] = sum(held for held, _ in parts) / sum(free for _, free in parts)
    figures: dict[str, Any] = {
        f"{name}_{tables}_per_s": [round(rate) for rate in both[index]]
        for name, both in rates.items()
        for index, tables in enumerate(("full", "empty"))
    }
    figures |= {
        "finished_slices": args.slices,
        "idle_txn_seconds": args.seconds,
        "claims_held_per_s": [round(held) for held, _ in parts],
        "claims_free_per_s": [round(free) for _, free in parts],
        "last_twelfth_held_vs_free": round(parts[-1][0] / parts[-1][1], 3),
    }
    report("growth", ratios, figures)


if __name__ == "__main__":
    uvloop.run(main())
