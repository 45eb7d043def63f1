"""How fast orders are split: the real use case against the bare insert of the same rows.

Both write to one Postgres with fsync on, in turns. The use case claims, plans, tags, writes slices, ledger
and journal, and updates the order; the bare side only inserts slices and ledger rows whose values were
made beforehand.
"""

import asyncio
import time

import asyncpg

from pulse_adapters.clock import SystemClock
from pulse_adapters.embedded.postgres import EmbeddedPostgres
from pulse_adapters.ids import RandomIds
from pulse_adapters.postgres import steps
from pulse_adapters.postgres.migrate import migrate
from pulse_adapters.postgres.pool import Database, create_pool
from pulse_adapters.postgres.store import PostgresOrderStore, _split_args
from pulse_domain.instruments import Instrument, InstrumentTerms
from pulse_domain.orders.ids import ClientId, OrderId
from pulse_domain.orders.model import NewOrder, OrderRequest, Side, Source, SplitConfig
from pulse_domain.use_cases.split import SplitOrders, SplitSettings, plan_of
from tests.benchmarks.report import median, report

SLICES, ORDERS, ROUNDS = 100, 100, 9

# The same rows by the same means, without order, fence and journal.
BARE = """
WITH slices AS (
    INSERT INTO order_slices (order_id, seq, quantity, scheduled_at, chunks, stage)
    SELECT $1, u.seq, u.quantity, u.scheduled_at, u.chunks, 'SCHEDULED'
    FROM unnest($2::smallint[], $3::int[], $4::timestamptz[], $5::smallint[])
             AS u (seq, quantity, scheduled_at, chunks)
)
INSERT INTO order_ledger (order_id, seq, chunk, internal_id, tag, execution_status, phase,
                          planned_quantity, quantity, due_at, expires_at)
SELECT $1, u.seq, u.chunk, u.internal_id, u.tag, 'PLANNED', 'PLANNED', u.quantity, u.quantity, u.due_at, $6
FROM unnest($7::smallint[], $8::smallint[], $9::uuid[], $10::text[], $11::int[], $12::timestamptz[])
         AS u (seq, chunk, internal_id, tag, quantity, due_at)
"""
BARE_NAMES = (
    "order_id", "seqs", "quantities", "instants", "chunks", "expires_at", "e_seqs", "e_chunks",
    "e_internal_ids", "e_tags", "e_quantities", "e_instants",
)  # fmt: skip


async def accept(store: PostgresOrderStore, ids: RandomIds) -> None:
    request = OrderRequest(
        instrument=Instrument.parse("NSE:TCS"),
        side=Side.BUY,
        total_quantity=100_000,
        split_config=SplitConfig(num_splits=SLICES, duration_minutes=375),
    ).normalised()
    for _ in range(ORDERS):
        order_id = ids.order_id()
        await store.accept(
            NewOrder(
                order_id=order_id,
                client_id=ClientId("bench"),
                order_unique_key=order_id,
                request=request,
                terms=InstrumentTerms(),
                source=Source.API,
                fingerprint=request.fingerprint(),
            )
        )


async def split_round(store: PostgresOrderStore, ids: RandomIds) -> float:
    await accept(store, ids)
    split = SplitOrders(store, SplitSettings(executor="bench", tag_prefix="BE"))
    began = time.perf_counter()
    while (await split()).seen:
        pass
    return ORDERS / (time.perf_counter() - began)


async def bare_round(store: PostgresOrderStore, ids: RandomIds, pool: asyncpg.Pool) -> float:
    await accept(store, ids)
    rows = []
    for order in await store.claim_orders(ORDERS, "bench", 300):
        values = dict(
            zip(
                steps.SAVE_SPLIT._order,
                _split_args(order.order_id, plan_of(order, "BE", 60)),
                strict=True,
            )
        )
        rows.append([values[name] for name in BARE_NAMES])
    began = time.perf_counter()
    for args in rows:
        await pool.execute(BARE, *args)
    return ORDERS / (time.perf_counter() - began)


async def run() -> None:
    with EmbeddedPostgres.start(None, durable=True) as server:
        await migrate(server.dsn)
        pool = await create_pool(server.dsn)
        store, ids = PostgresOrderStore(Database(pool)), RandomIds(SystemClock())
        split, bare = [], []
        for _ in range(ROUNDS + 1):
            split.append(await split_round(store, ids))
            bare.append(await bare_round(store, ids, pool))
            print(f"split {split[-1]:8.1f} orders/s   bare insert {bare[-1]:8.1f} orders/s", flush=True)
        await check(store, pool)
        await pool.close()
    # The first round of each warms caches and plans.
    ratios = [a / b for a, b in zip(split[1:], bare[1:], strict=True)]
    figures = {
        "slices_per_order": SLICES,
        "split_orders_per_s": round(median(split[1:]), 1),
        "bare_orders_per_s": round(median(bare[1:]), 1),
        "ratio_per_round": [round(ratio, 3) for ratio in ratios],
    }
    report("split", {"split_vs_unnest": median(ratios)}, figures)


async def check(store: PostgresOrderStore, pool: asyncpg.Pool) -> None:
    done = await pool.fetchval("SELECT count(*) FROM orders WHERE order_queue_status = 'DONE'")
    slices = await pool.fetchval("SELECT count(*) FROM order_slices")
    assert done == ORDERS * (ROUNDS + 1), f"{done} orders were split"
    assert slices == 2 * done * SLICES, f"{slices} slices were stored"
    some = OrderId(await pool.fetchval("SELECT order_id FROM orders WHERE order_queue_status = 'DONE' LIMIT 1"))
    assert sum(s.quantity for s in await store.slices(some)) == 100_000


if __name__ == "__main__":
    asyncio.run(run())
