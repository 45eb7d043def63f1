"""Order tables filled in bulk: finished orders as a long life leaves them, and planned ones that wait."""

import asyncpg

SLICES_EACH = 10
_ORDERS_AT_ONCE = 5_000

# Orders :first to :last with their numbers in their ids. What differs from row to row in life differs here.
_ORDERS = """
INSERT INTO orders (order_id, client_id, order_unique_key, fingerprint, fingerprint_version, instrument, side,
                    total_quantity, order_type, product, validity, strategy_tag, num_splits, duration_minutes,
                    randomize, starts_at, ends_at, lot_size, tick_size, units_per_broker_quantity, source,
                    request_id, trace_id, created_at, order_queue_status, split_attempt, split_executor,
                    last_seq)
SELECT id(n), 'desk-' || n % 7, md5('key' || n), md5(n::text) || md5('f' || n), 1,
       'NSE:' || (ARRAY['RELIANCE', 'TCS', 'INFY', 'SBIN', 'HDFCBANK'])[1 + n % 5],
       (ARRAY['BUY', 'SELL'])[1 + n % 2], 100, 'MARKET', 'MIS', 'DAY', 'trend-' || n % 11, 10, 60, true,
       at(n), at(n) + interval '1 hour', 1, 0.05, 1, 'api', md5('r' || n), md5('t' || n), at(n),
       'DONE', 1, 'exc_' || n % 3, {last_seq}
FROM generate_series($1::int, $2::int) n
"""
_SLICES = """
INSERT INTO order_slices (order_id, seq, quantity, scheduled_at, chunks, stage, outcome, version)
SELECT id(n), k, 10, at(n) + k * interval '6 minutes', 1, {stage}
FROM generate_series($1::int, $2::int) n, generate_series(1, 10) k
"""
_LEDGER = """
INSERT INTO order_ledger (order_id, seq, chunk, internal_id, tag, strategy_tag, exchange_id, execution_status,
                          phase, planned_quantity, quantity, cumulative_quantity, due_at, expires_at, attempt,
                          executor, lease_until, metadata)
SELECT id(n), k, 0, md5(n || '-' || k)::uuid, 'BE' || substr(md5(k || '.' || n), 1, 18), 'trend-' || n % 11,
       {placed}
FROM generate_series($1::int, $2::int) n, generate_series(1, 10) k
"""
_FILLS = """
INSERT INTO fills (exchange, broker_order_id, trade_id, trade_day, order_id, seq, chunk, quantity, price,
                   filled_at)
SELECT 'NSE', broker_id(n, k), (n * 10 + k)::text, at(n)::date, id(n), k, 0, 10, 1400 + n % 90,
       at(n) + k * interval '6 minutes'
FROM generate_series($1::int, $2::int) n, generate_series(1, 10) k
"""
_CALLS = """
INSERT INTO broker_events (order_id, seq, chunk, broker, operation, began_at, duration_ms, request, answer)
SELECT id(n), k, 0, 'zerodha', 'place', at(n) + k * interval '6 minutes', 80,
       jsonb_build_object('tag', 'BE' || substr(md5(k || '.' || n), 1, 18), 'side', 'BUY', 'quantity', 10,
                          'instrument', 'NSE:RELIANCE', 'order_type', 'MARKET'),
       jsonb_build_object('broker_order_id', broker_id(n, k))
FROM generate_series($1::int, $2::int) n, generate_series(1, 10) k
"""
_JOURNAL = """
INSERT INTO order_events (order_id, seq, at, kind, data)
SELECT id(n), 1, at(n), 'order_accepted',
       jsonb_build_object('kind', 'order_accepted', 'source', 'api', 'total_quantity', 100,
                          'padding', repeat('x', 300))
FROM generate_series($1::int, $2::int) n
UNION ALL
SELECT id(n), 2, at(n), 'split_claimed', '{"kind": "split_claimed", "attempt": 1, "executor": "exc_1"}'
FROM generate_series($1::int, $2::int) n
UNION ALL
SELECT id(n), 3, at(n), 'split_saved', jsonb_build_object('kind', 'split_saved', 'attempt', 1, 'slices',
       (SELECT jsonb_agg(jsonb_build_object('quantity', 10, 'scheduled_at', at(n) + k * interval '6 minutes',
        'executions', jsonb_build_array(jsonb_build_object('quantity', 10, 'tag', md5(k || '.' || n)))))
        FROM generate_series(1, 10) k))
FROM generate_series($1::int, $2::int) n
UNION ALL
SELECT id(n), 3 * k + e, at(n) + k * interval '6 minutes',
       (ARRAY['execution_claimed', 'execution_accepted', 'execution_filled'])[e],
       jsonb_build_object('kind', 'execution', 'seq', k, 'chunk', 0, 'attempt', 1, 'executor', 'exc_1',
                          'broker_order_id', broker_id(n, k), 'lease_until', at(n))
FROM generate_series($1::int, $2::int) n, generate_series(1, 10) k, generate_series(1, 3) e
"""
_FINISHED = (
    _ORDERS.format(last_seq=33),
    _SLICES.format(stage="'PROCESSED', 'FILLED', 3"),
    _LEDGER.format(
        placed="broker_id(n, k), 'FILLED', 'LIVE', 10, 10, 10, at(n) + k * interval '6 minutes',"
        " at(n) + interval '61 minutes', 1, 'exc_' || n % 3, at(n),"
        " jsonb_build_object('broker_order_id', broker_id(n, k))"
    ),
    _FILLS,
    _CALLS,
    _JOURNAL,
)
_PLANNED = (
    _ORDERS.format(last_seq=3),
    _SLICES.format(stage="'SCHEDULED', NULL, 0"),
    _LEDGER.format(
        placed="NULL, 'PLANNED', 'PLANNED', 10, 10, 0, clock_timestamp(),"
        " clock_timestamp() + interval '1 hour', 0, NULL, NULL, '{}'"
    ),
)
# Finished orders are 30 days old, and a second apart.
_FUNCTIONS = """
CREATE FUNCTION pg_temp.id(n int) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT 'ord_00' || lpad(n::text, 24, '0') $$;
CREATE FUNCTION pg_temp.at(n int) RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT date_trunc('day', now()) - interval '30 days' + n * interval '1 second' $$;
CREATE FUNCTION pg_temp.broker_id(n int, k int) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT '2601' || lpad((n * 10 + k)::text, 11, '0') $$;
"""
_NAMES = ("id(", "at(", "broker_id(")


class Bulk:
    """Rows from one connection; a number is used once."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._next = 1

    @classmethod
    async def open(cls, dsn: str) -> "Bulk":
        connection = await asyncpg.connect(dsn)
        await connection.execute(_FUNCTIONS)
        await connection.execute("SET search_path = public, pg_temp")
        return cls(connection)

    async def close(self) -> None:
        await self._connection.close()

    async def finished(self, orders: int) -> None:
        """Orders that are filled, with all that a life leaves behind, and the tables looked after."""
        for done in range(0, orders, _ORDERS_AT_ONCE):
            await self._insert(_FINISHED, min(_ORDERS_AT_ONCE, orders - done))
        await self._connection.execute("VACUUM (ANALYZE)")

    async def planned(self, orders: int) -> None:
        """Orders whose slices are all due now."""
        await self._insert(_PLANNED, orders)

    async def _insert(self, statements: tuple[str, ...], orders: int) -> None:
        async with self._connection.transaction():
            for statement in statements:
                await self._connection.execute(_qualified(statement), self._next, self._next + orders - 1)
        self._next += orders


def _qualified(statement: str) -> str:
    for name in _NAMES:
        # Functions of a session are found by their full name only.
        statement = statement.replace(f" {name}", f" pg_temp.{name}").replace(f"({name}", f"(pg_temp.{name}")
    return statement
