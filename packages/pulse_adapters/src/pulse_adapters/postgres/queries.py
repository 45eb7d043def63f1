"""What is read: orders, slices, journals, and the executions that some loop looks after.

Each is one statement on what is committed; nothing here locks a row.
"""

from sqlalchemy import any_, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import ARRAY, TEXT

from pulse_adapters.postgres.statements import Statement
from pulse_adapters.postgres.tables import (
    book_findings,
    broker_events,
    order_events,
    order_ledger,
    orders,
    trading_halts,
)
from pulse_domain.ports.order_store import LATE_S, Selection

FIND_BY_KEY = Statement(
    select(orders.c.order_id, orders.c.order_unique_key, orders.c.fingerprint).where(
        orders.c.client_id == bindparam("client_id"),
        orders.c.order_unique_key == bindparam("order_unique_key"),
    )
)
FIND_SIGHTED = Statement(
    text("""
    SELECT o.order_id, o.order_unique_key, o.fingerprint
    FROM webhook_sightings s JOIN orders o USING (order_id)
    WHERE s.client_id = :client_id AND s.body_digest = :body_digest
      AND s.first_seen_at >= (SELECT clock_timestamp()) - make_interval(secs => :replay_window_s)
    """)
)

# Seconds until the earliest planned execution of an order that is not to be cancelled, in the index's order
# (see CLAIM_EXECUTIONS); and how long it took to find it.
NEXT_DUE = Statement(
    text("""
    WITH last AS MATERIALIZED (SELECT halted, kill_id FROM trading_halts ORDER BY id DESC LIMIT 1),
    lets AS MATERIALIZED (
        SELECT CASE WHEN (SELECT halted FROM last) THEN (SELECT kill_id FROM last) ELSE '' END AS kill
    )
    SELECT extract(epoch FROM l.due_at - (SELECT clock_timestamp())) AS seconds, l.due_at,
           CAST(extract(epoch FROM pg_catalog.clock_timestamp() - statement_timestamp()) AS float8) AS took_s
    FROM order_ledger l JOIN orders o USING (order_id)
    WHERE l.phase = 'PLANNED' AND l.due_at >= CAST(:not_before AS timestamptz)
      AND l.expires_at > (SELECT clock_timestamp())
      AND o.cancel_requested_at IS NULL AND NOT l.cancel_requested AND o.paused_at IS NULL
      AND (SELECT kill FROM lets) IS NOT NULL
      AND CASE WHEN (SELECT kill FROM lets) = '' THEN o.kill_id IS NULL
               ELSE o.kill_id = (SELECT kill FROM lets) END
    ORDER BY l.due_at, l.order_id, l.seq, l.chunk LIMIT 1
    """)
)

_FILLS = """
    (SELECT jsonb_agg(jsonb_build_object('trade_id', f.trade_id, 'broker_order_id', f.broker_order_id,
                                         'quantity', f.quantity, 'price', f.price::text, 'at', f.filled_at)
                      ORDER BY f.entry)
     FROM fills f
     WHERE f.order_id = l.order_id AND f.seq = l.seq AND f.chunk = l.chunk AND NOT f.busted) AS fills
"""

READ_SLICES = Statement(
    text(f"""
    SELECT l.*, s.version AS slice_version, s.chunks AS slice_chunks, s.quantity AS slice_quantity,
           s.scheduled_at AS slice_scheduled_at, o.instrument, {_FILLS}
    FROM unnest(CAST(:order_ids AS text[]), CAST(:seqs AS smallint[])) AS u (order_id, seq)
    JOIN order_slices s USING (order_id, seq)
    JOIN order_ledger l USING (order_id, seq)
    JOIN orders o USING (order_id)
    ORDER BY l.order_id, l.seq, l.chunk
    """)  # noqa: S608  # a constant of this module
)

SLICES_OF_ORDER = Statement(
    text(f"""
    SELECT l.*, s.version AS slice_version, s.chunks AS slice_chunks, s.quantity AS slice_quantity,
           s.scheduled_at AS slice_scheduled_at, {_FILLS}
    FROM order_slices s JOIN order_ledger l USING (order_id, seq)
    WHERE s.order_id = :order_id
    ORDER BY l.seq, l.chunk
    """)  # noqa: S608  # a constant of this module
)


# Whom trades belong to already.
TRADE_OWNERS = Statement(
    text("""
    SELECT f.broker_order_id, f.trade_id, f.trade_day, f.order_id, f.seq, f.chunk
    FROM unnest(CAST(:order_ids AS text[]), CAST(:broker_order_ids AS text[]), CAST(:trade_ids AS text[]),
                CAST(:trade_days AS date[])) AS u (order_id, broker_order_id, trade_id, trade_day)
    JOIN orders o USING (order_id)
    JOIN fills f ON f.exchange = split_part(o.instrument, ':', 1) AND f.broker_order_id = u.broker_order_id
                AND f.trade_id = u.trade_id AND f.trade_day = u.trade_day AND NOT f.busted
    """)
)


TRADING_STATE = Statement(
    select(
        trading_halts.c.halted,
        trading_halts.c.changed_by,
        trading_halts.c.reason,
        trading_halts.c.changed_at,
        trading_halts.c.needs_reconcile,
        trading_halts.c.kill_id,
    )
    .order_by(trading_halts.c.id.desc())
    .limit(1)
)

FINDINGS = Statement(
    select(book_findings.c.complete, book_findings.c.strangers, book_findings.c.known, book_findings.c.noted_at)
)
STORE_IDENTITY = Statement(
    text("SELECT pulse_store_identity() AS identity, (SELECT identity FROM store_identity) AS noted")
)

# An order with its executions counted by how they stand: enough to tell its state.
_TALLIES = """
    (SELECT jsonb_agg(to_jsonb(t)) FROM (
        SELECT l.phase, l.execution_status AS status, l.terminal, count(*) AS count,
               sum(l.planned_quantity) AS planned, sum(l.quantity) AS quantity,
               sum(l.cumulative_quantity) AS filled,
               sum(CASE WHEN l.terminal IS NULL THEN greatest(0, l.quantity - l.cumulative_quantity)
                        ELSE 0 END) AS leaves,
               sum(greatest(0, l.cumulative_quantity - l.planned_quantity)) AS overfilled,
               sum(CASE WHEN l.provisional_quantity <= booked.units THEN booked.value
                        ELSE coalesce(l.provisional_price * l.provisional_quantity,
                                      booked.value * l.provisional_quantity / nullif(booked.units, 0),
                                      0) END)::text AS value,
               (l.terminal IS NOT NULL OR l.execution_status = 'FILLED') AS final
        FROM order_ledger l,
             LATERAL (SELECT coalesce(sum(f.quantity), 0) AS units,
                             coalesce(sum(f.quantity * f.price), 0) AS value
                      FROM fills f
                      WHERE f.order_id = l.order_id AND f.seq = l.seq AND f.chunk = l.chunk
                        AND NOT f.busted) booked
        WHERE l.order_id = o.order_id
        GROUP BY l.phase, l.execution_status, l.terminal) t) AS tallies
"""

GET = Statement(
    text(f"""
    SELECT o.*, {_TALLIES} FROM orders o
    WHERE o.order_id = :order_id AND (CAST(:client_id AS text) IS NULL OR o.client_id = :client_id)
    """)  # noqa: S608  # a constant of this module
)
LIST_OF_CLIENT = Statement(
    text(f"""
    SELECT o.*, {_TALLIES} FROM orders o
    WHERE o.client_id = :client_id AND o.order_id < :before
    ORDER BY o.order_id DESC LIMIT :limit
    """)  # noqa: S608  # a constant of this module
)
LIST_ALL = Statement(
    text(f"""
    SELECT o.*, {_TALLIES} FROM orders o WHERE o.order_id < :before ORDER BY o.order_id DESC LIMIT :limit
    """)  # noqa: S608  # a constant of this module
)

# One branch for each partial index.
OPEN_ORDERS = Statement(
    text("""
    WITH found AS (
    SELECT o.order_id FROM orders o
    WHERE o.cancel_requested_at IS NULL
      AND (o.order_queue_status = 'PENDING' OR o.order_queue_status = 'IN_PROGRESS')
    UNION
    SELECT l.order_id FROM order_ledger l JOIN orders o USING (order_id)
    WHERE o.cancel_requested_at IS NULL AND l.phase = 'PLANNED'
    UNION
    SELECT l.order_id FROM order_ledger l JOIN orders o USING (order_id)
    WHERE o.cancel_requested_at IS NULL
      AND (l.phase IN ('CLAIMED', 'UNKNOWN') OR (l.phase = 'LIVE' AND l.execution_status <> 'FILLED'))
    )
    SELECT order_id FROM found JOIN orders USING (order_id)
    WHERE kill_id IS NULL
       OR kill_id IS DISTINCT FROM (SELECT kill_id FROM trading_halts ORDER BY id DESC LIMIT 1)
    ORDER BY order_id LIMIT :limit
    """)
)

# The same, and those that are to be cancelled; and what nobody knows the fate of.
UNSETTLED = Statement(
    text("""
    SELECT DISTINCT o.instrument FROM orders o
    WHERE o.order_queue_status = 'PENDING' OR o.order_queue_status = 'IN_PROGRESS'
    UNION
    SELECT o.instrument FROM order_ledger l JOIN orders o USING (order_id) WHERE l.phase = 'PLANNED'
    UNION
    SELECT o.instrument FROM order_ledger l JOIN orders o USING (order_id)
    WHERE l.phase IN ('CLAIMED', 'UNKNOWN') OR (l.phase = 'LIVE' AND l.execution_status <> 'FILLED')
    UNION
    SELECT o.instrument FROM order_ledger l JOIN orders o USING (order_id)
    WHERE (l.phase = 'UNKNOWN' OR l.terminal = 'UNRESOLVED' OR 'UNPLANNED' = ANY (l.flags)
           OR 'FOUND_BY_HAND' = ANY (l.flags))
      AND l.terminal = 'UNRESOLVED' AND l.due_at > (SELECT clock_timestamp()) - interval '1 day'
    """)
)

COUNTS_ARGS = """
    CAST(:count_open AS boolean), CAST(:recent_max AS int), CAST(:recent_window AS interval),
    CAST(:same_window AS interval), CAST(:same_client AS text), CAST(:same_print AS text),
    CAST(:same_tag AS text)
"""
# After the counts, whose instant it is given for that: it looks once their lock is held.
CLOSING = """
    pulse_closing(
        c.counted_at, CAST(:closing_side AS text), CAST(:closing_instrument AS text),
        CAST(:closing_product AS text), CAST(:carried AS int), CAST(:carried_since AS timestamptz)
    )
"""
COUNT_ORDERS = Statement(
    text(f"""
    SELECT c.*, w.* FROM pulse_order_counts(true, false, {COUNTS_ARGS}) c, LATERAL {CLOSING} w
    """)  # noqa: S608  # constants above
)

JOURNAL = Statement(
    select(order_events.c.seq, order_events.c.at, order_events.c.data)
    .where(order_events.c.order_id == bindparam("order_id"), order_events.c.seq > bindparam("after_seq"))
    .order_by(order_events.c.seq)
    .limit(bindparam("limit"))
)
JOURNAL_HEADS = Statement(
    select(orders.c.order_id, orders.c.last_seq).where(
        orders.c.order_id == any_(bindparam("order_ids", type_=ARRAY(TEXT)))
    )
)


FILL_COLUMNS = (
    "order_id, seq, chunk, trade_id, client_id, strategy_tag, instrument, product, side, source, quantity,"
    " value, filled_at"
)


def fills_of(orders: str) -> str:
    """Fills that count, of some orders, as FILL_COLUMNS: trades, and what the broker told beyond them.

    What it told is dated by the last journal row that tells a running total, or that all is filled.
    """
    return f"""
    SELECT f.order_id, f.seq, f.chunk, f.trade_id, o.client_id, o.strategy_tag, o.instrument, o.product, o.side,
           o.source, f.quantity, f.price * f.quantity AS value, f.filled_at
    FROM fills f JOIN {orders} o USING (order_id)
    WHERE NOT f.busted
    UNION ALL
    (SELECT l.order_id, l.seq, l.chunk, '' AS trade_id, o.client_id, o.strategy_tag, o.instrument, o.product,
           o.side, o.source, l.provisional_quantity - booked.units AS quantity,
           CASE WHEN l.provisional_price <> 0 THEN l.provisional_price * l.provisional_quantity
                ELSE booked.value * l.provisional_quantity / nullif(booked.units, 0) END
               - booked.value AS value,
           coalesce((SELECT max(e.at) FROM order_events e
                     WHERE e.order_id = l.order_id AND (e.data ->> 'seq')::int = l.seq
                       AND (e.data ->> 'chunk')::int = l.chunk
                       AND e.kind IN ('execution_cumulative_reported', 'execution_completed')),
                    o.created_at) AS filled_at
    FROM order_ledger l JOIN {orders} o USING (order_id),
         LATERAL (SELECT coalesce(sum(f.quantity), 0)::int AS units,
                         coalesce(sum(f.quantity * f.price), 0) AS value
                  FROM fills f
                  WHERE f.order_id = l.order_id AND f.seq = l.seq AND f.chunk = l.chunk
                    AND NOT f.busted) booked
    WHERE l.provisional_quantity > 0 AND l.provisional_quantity > booked.units
    -- Read as it stands: the instant is looked up for the few that the condition leaves.
    OFFSET 0)
    """  # noqa: S608  # a table of ours


_EVERY_FILL = f"""
    (SELECT {FILL_COLUMNS} FROM ({fills_of("orders")}) live
     UNION ALL
     SELECT {FILL_COLUMNS} FROM archived_fills) f
"""  # noqa: S608  # constants of this module

# Sorted by whoever asks: the database would compare texts for it.
FILLS = Statement(
    text(f"""
    SELECT * FROM {_EVERY_FILL}
    WHERE filled_at >= CAST(:since AS timestamptz) AND filled_at < CAST(:until AS timestamptz)
    """)  # noqa: S608  # constants of this module
)
UNITS_SINCE = Statement(
    text(f"""
    SELECT strategy_tag, instrument, product,
           sum(CASE side WHEN 'BUY' THEN quantity ELSE -quantity END) AS units
    FROM {_EVERY_FILL} WHERE filled_at >= CAST(:since AS timestamptz)
    GROUP BY strategy_tag, instrument, product
    """)  # noqa: S608  # constants of this module
)
# The same whatever the order of the rows is, and wherever they are.
FILLS_MARK = Statement(
    text(f"""
    SELECT concat_ws(' ', count(*), sum(hashtextextended(
               concat_ws('/', order_id, seq, chunk, trade_id, quantity, value, extract(epoch FROM filled_at)), 0
           )::numeric)) AS mark
    FROM {_EVERY_FILL} WHERE filled_at < CAST(:until AS timestamptz)
    """)  # noqa: S608  # constants of this module
)

# Walks the primary key from the newest row on.
LEDGER = Statement(
    text(f"""
    SELECT l.*, o.*, {_FILLS} FROM order_ledger l JOIN orders o USING (order_id)
    WHERE (l.order_id, l.seq, l.chunk) < (CAST(:order_id AS text), CAST(:seq AS int), CAST(:chunk AS int))
      AND (CAST(:client_id AS text) IS NULL OR o.client_id = :client_id)
      AND (CAST(:strategy_tag AS text) IS NULL OR o.strategy_tag = :strategy_tag)
      AND (CAST(:instrument AS text) IS NULL OR o.instrument = :instrument)
      AND (CAST(:status AS text) IS NULL OR l.status = :status)
      AND (CAST(:since AS timestamptz) IS NULL OR l.due_at >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR l.due_at < :until)
    ORDER BY l.order_id DESC, l.seq DESC, l.chunk DESC LIMIT :limit
    """)  # noqa: S608  # a constant of this module
)


def _tracked(condition: str) -> Statement:
    return Statement(
        text(f"""
        SELECT l.*, o.*, {_FILLS} FROM order_ledger l JOIN orders o USING (order_id)
        WHERE {condition} ORDER BY l.due_at, l.order_id, l.seq, l.chunk LIMIT :limit
        """)  # noqa: S608  # constants of this module
    )


SELECTIONS = {
    Selection.OVERDUE: _tracked("l.phase = 'PLANNED' AND l.expires_at <= (SELECT clock_timestamp())"),
    Selection.LATE: _tracked(
        "l.phase = 'PLANNED'"
        f" AND l.due_at <= (SELECT clock_timestamp()) - make_interval(secs => {LATE_S})"
        " AND l.expires_at > (SELECT clock_timestamp())"
        " AND o.cancel_requested_at IS NULL AND NOT l.cancel_requested AND o.paused_at IS NULL"
    ),
    Selection.LEASE_EXPIRED: _tracked("l.phase = 'CLAIMED' AND l.lease_until <= (SELECT clock_timestamp())"),
    Selection.FOUND_BY_HAND: _tracked(
        "'FOUND_BY_HAND' = ANY (l.flags)"
        " AND (l.phase = 'LIVE' OR l.due_at > (SELECT clock_timestamp()) - interval '1 day')"
    ),
    Selection.IN_DOUBT: _tracked(
        "(l.phase = 'UNKNOWN' OR l.terminal = 'UNRESOLVED' OR ('UNPLANNED' = ANY (l.flags)"
        " AND l.due_at > (SELECT clock_timestamp()) - interval '1 day'))"
    ),
    Selection.UNKNOWN: _tracked("l.phase = 'UNKNOWN'"),
    Selection.WORKING: _tracked("l.phase = 'LIVE' AND l.execution_status <> 'FILLED'"),
    Selection.TO_WITHDRAW: _tracked(
        "l.phase = 'PLANNED' AND (o.cancel_requested_at IS NOT NULL OR l.cancel_requested)"
    ),
    Selection.TO_CANCEL: _tracked(
        "((l.phase = 'LIVE' AND l.execution_status <> 'FILLED'"
        "  AND (o.cancel_requested_at IS NOT NULL OR l.cancel_requested))"
        " OR (l.phase IN ('CLAIMED', 'UNKNOWN') AND NOT l.cancel_requested"
        "     AND o.cancel_requested_at IS NOT NULL))"
    ),
    Selection.PAST_WINDOW: _tracked(
        "l.phase = 'LIVE' AND l.execution_status <> 'FILLED' AND NOT l.cancel_requested"
        " AND o.num_splits IS NOT NULL AND o.ends_at <= (SELECT clock_timestamp())"
    ),
}
IN_FLIGHT = _tracked("l.phase = 'CLAIMED' AND l.lease_until > (SELECT clock_timestamp())")
FIND_BY_BROKER_ORDER_IDS = _tracked(
    "l.exchange_id IS NOT NULL AND l.due_at > (SELECT clock_timestamp()) - interval '1 day'"
    " AND l.exchange_id = ANY(CAST(:ids AS text[]))"
)
FIND_BY_TAGS = _tracked("l.tag = ANY(CAST(:tags AS text[]))")
BROKER_ORDER_IDS = Statement(
    select(order_ledger.c.exchange_id).where(
        order_ledger.c.exchange_id.is_not(None), order_ledger.c.due_at >= bindparam("since")
    )
)
# The lock is looked at, not taken: who looks at the same time must not take it for held. Rows of another life
# of the server prove nothing: its end freed all locks, of frozen processes too. (After a crash the table is
# empty, as it is not logged.)
DEAD_EXECUTORS = Statement(
    text("""
    SELECT e.executor FROM executors e
    WHERE e.executor = ANY(CAST(:executors AS text[]))
      AND e.server_started_at = pg_postmaster_start_time()
      AND NOT EXISTS (
          SELECT FROM pg_locks l
          WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.classid = ((e.lock_key >> 32) & 4294967295)::oid
            AND l.objid = (e.lock_key & 4294967295)::oid
      )
    """)
)
NOW = Statement(text("SELECT clock_timestamp() AS now"))
BROKER_CALLS = Statement(
    select(func.count().label("calls")).where(broker_events.c.began_at >= bindparam("since"))
)
