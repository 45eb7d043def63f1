"""The statements that change something, one per step of the protocol.

How they keep apart: a step that changes an order first holds the row of the order, and steps that hold
several take them in the order of their ids; claims skip rows that are held and never wait. So no two
steps can wait for each other in a circle. Under READ COMMITTED a statement that waited for a row sees
its newest version and tests its conditions again; what else it reads is as old as its start, so every
condition that a step relies on is a condition on a row it writes or locks.
"""

from sqlalchemy import text

from pulse_adapters.postgres.queries import CLOSING, COUNTS_ARGS, FILL_COLUMNS, fills_of
from pulse_adapters.postgres.rows import LEDGER_CHANGES
from pulse_adapters.postgres.statements import Statement

# The shared half of the halt's lock, taken by pulse_claimable() and pulse_accepting() in the database.
HALT_LOCK = 8101

_ORDER_VALUES = {
    "order_id": "text",
    "client_id": "text",
    "order_unique_key": "text",
    "fingerprint": "text",
    "fingerprint_version": "smallint",
    "instrument": "text",
    "side": "text",
    "total_quantity": "int",
    "order_type": "text",
    "limit_price": "numeric",
    "trigger_price": "numeric",
    "product": "text",
    "validity": "text",
    "strategy_tag": "text",
    "num_splits": "smallint",
    "duration_minutes": "smallint",
    "randomize": "boolean",
    "start_at": "timestamptz",
    "lot_size": "int",
    "tick_size": "numeric",
    "freeze_quantity": "int",
    "units_per_broker_quantity": "int",
    "source": "text",
    "request_id": "text",
    "trace_id": "text",
    "kill_id": "text",
}


# The window, where the market's hours have moved it; else it counts from the order's own start, or from now.
_GIVEN = _ORDER_VALUES | {"window_starts_at": "timestamptz", "window_ends_at": "timestamptz"}

_NAMES = ", ".join(_ORDER_VALUES)
_GIVEN_NAMES = ", ".join(_GIVEN)
_ARRAYS = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in _GIVEN.items())
_ONE_ROW = ", ".join(f"CAST(:{name} AS {kind}) AS {name}" for name, kind in _GIVEN.items())
_WINDOW = """
    coalesce(window_starts_at, start_at, now),
    coalesce(window_ends_at, coalesce(start_at, now) + make_interval(mins => coalesce(duration_minutes, 0)))
"""
_STORED = f"""
    INSERT INTO orders ({_NAMES}, starts_at, ends_at, created_at, order_queue_status, last_seq)
    SELECT {_NAMES}, {_WINDOW}, now, 'PENDING', 1
"""
# Under the halt's lock, shared: what is stored once a halt was answered would be cancelled by nobody.
_GATE = """
    gate AS MATERIALIZED (SELECT NOT pulse_accepting(NULL) AS halted, clock_timestamp() AS now)
"""
_ACCEPTING = "pulse_accepting(CAST(:kill_id AS text))"
# What may be claimed may be accepted, under the same lock.
_CLAIMING = "coalesce(pulse_claimable() = coalesce(CAST(:kill_id AS text), ''), false)"


def _guard(accepting: str) -> str:
    """For one order, with limits that count orders where `guarded` is set. Those come one by one, and each at
    an instant of its own: that of the count."""
    return f"""
    open AS MATERIALIZED (SELECT {accepting} AS accepting),
    counts AS MATERIALIZED (
        SELECT c.*, w.*
        FROM open, LATERAL pulse_order_counts(accepting AND CAST(:guarded AS boolean), true, {COUNTS_ARGS}) c,
             LATERAL {CLOSING} w
    ),
    gate AS MATERIALIZED (
        SELECT NOT accepting AS halted, coalesce((SELECT counted_at FROM counts), clock_timestamp()) AS now,
               coalesce((SELECT open_orders >= CAST(:open_max AS int) FROM counts), false)
               OR coalesce((SELECT cardinality(recent_orders) >= CAST(:recent_max AS int) FROM counts), false)
               OR coalesce((SELECT cardinality(same_orders) > 0 FROM counts), false)
               OR coalesce((SELECT closing + CAST(:total_quantity AS int) > closable FROM counts), false)
               AS refused
        FROM open
    )
    """  # noqa: S608  # constants of ours


_GUARD = _guard(_ACCEPTING)
# What was counted is told where it refuses, to be put into words.
_GUARDED_ANSWER = """
    SELECT halted, refused, ARRAY(SELECT order_id FROM stored) AS stored, counts.*
    FROM gate LEFT JOIN counts ON refused
"""

# Any number of orders in one statement: one round trip and one commit for all that came together.
ACCEPT = Statement(
    text(f"""
    WITH {_GATE},
    stored AS (
        {_STORED}
        FROM gate, unnest({_ARRAYS}) AS u ({_GIVEN_NAMES})
        WHERE NOT halted
        ON CONFLICT (client_id, order_unique_key) DO NOTHING
        RETURNING order_id, created_at
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT order_id, 1, created_at, 'order_accepted', CAST(e.event AS jsonb)
        FROM stored JOIN unnest(CAST(:order_id AS text[]), CAST(:event AS text[])) AS e (order_id, event)
                    USING (order_id)
    )
    SELECT halted, ARRAY(SELECT order_id FROM stored) AS stored FROM gate
    """)  # noqa: S608  # column names of our own table
)
# One order, held against limits that count orders.
ACCEPT_GUARDED = Statement(
    text(f"""
    WITH {_GUARD},
    stored AS (
        {_STORED}
        FROM gate, (SELECT {_ONE_ROW}) u
        WHERE NOT halted AND NOT refused
        ON CONFLICT (client_id, order_unique_key) DO NOTHING
        RETURNING order_id, created_at
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT order_id, 1, created_at, 'order_accepted', CAST(:event AS jsonb) FROM stored
    )
    {_GUARDED_ANSWER}
    """)  # noqa: S608  # column names of our own table
)
# One order that is known by its sender and body; stored only where that is the first sight.
ACCEPT_SIGHTED = Statement(
    text(f"""
    WITH {_GUARD},
    sighting AS (
        INSERT INTO webhook_sightings AS s (client_id, body_digest, order_id, first_seen_at)
        SELECT CAST(:client_id AS text), CAST(:body_digest AS text), CAST(:order_id AS text), now
        FROM gate WHERE NOT halted AND NOT refused
        ON CONFLICT (client_id, body_digest) DO UPDATE
            SET order_id = excluded.order_id, first_seen_at = excluded.first_seen_at
            WHERE s.first_seen_at < excluded.first_seen_at - make_interval(secs => :replay_window_s)
        RETURNING 1
    ),
    stored AS (
        {_STORED}
        FROM gate, sighting,
             (SELECT {_ONE_ROW}) u
        ON CONFLICT (client_id, order_unique_key) DO NOTHING
        RETURNING order_id, created_at
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT order_id, 1, created_at, 'order_accepted', CAST(:event AS jsonb) FROM stored
    )
    {_GUARDED_ANSWER}
    """)  # noqa: S608  # column names of our own table
)

# One order, split and with its only execution claimed: what CLAIM_ORDERS, SAVE_SPLIT and CLAIM_EXECUTIONS would
# write for it, in one commit.
ACCEPT_CLAIMED = Statement(
    text(f"""
    WITH {_guard(_CLAIMING)},
    stored AS (
        INSERT INTO orders ({_NAMES}, starts_at, ends_at, created_at, order_queue_status, split_attempt,
                            split_executor, last_seq)
        SELECT {_NAMES}, {_WINDOW}, now, 'DONE', 1, CAST(:executor AS text), 4
        FROM gate, (SELECT {_ONE_ROW}) u
        WHERE NOT halted AND NOT refused
        ON CONFLICT (client_id, order_unique_key) DO NOTHING
        RETURNING *
    ),
    sliced AS (
        INSERT INTO order_slices (order_id, seq, quantity, scheduled_at, chunks, stage, version)
        SELECT order_id, 1, total_quantity, starts_at, 1, 'IN_PROGRESS', 1 FROM stored
        RETURNING *
    ),
    claimed AS (
        INSERT INTO order_ledger (order_id, seq, chunk, internal_id, tag, strategy_tag, execution_status,
                                  phase, planned_quantity, quantity, due_at, expires_at, attempt, executor,
                                  lease_until)
        SELECT order_id, 1, 0, CAST(:internal_id AS uuid), CAST(:tag AS text), strategy_tag, 'CLAIMED',
               'CLAIMED', total_quantity, total_quantity, starts_at,
               ends_at + make_interval(secs => :grace_s), 1, split_executor,
               clock_timestamp() + make_interval(secs => :lease_s)
        FROM stored
        RETURNING *
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT c.order_id, e.seq, o.created_at, e.data ->> 'kind', e.data
        FROM claimed c JOIN stored o USING (order_id), LATERAL (VALUES
            (1, CAST(:event AS jsonb)),
            (2, jsonb_build_object('kind', 'split_claimed', 'attempt', 1, 'executor', c.executor)),
            (3, jsonb_build_object('kind', 'split_saved', 'attempt', 1, 'expires_at', c.expires_at, 'slices',
                    jsonb_build_array(jsonb_build_array(
                        c.quantity, c.due_at, jsonb_build_array(jsonb_build_array(c.quantity, c.tag)))))),
            (4, jsonb_build_object('kind', 'execution_claimed', 'seq', 1, 'chunk', 0, 'attempt', 1,
                                   'executor', c.executor, 'lease_until', c.lease_until))
        ) AS e (seq, data)
    )
    SELECT refused, counts.*, c.*, o.*, s.version AS slice_version, s.chunks AS slice_chunks,
           s.quantity AS slice_quantity, s.scheduled_at AS slice_scheduled_at
    FROM gate LEFT JOIN counts ON refused LEFT JOIN stored o ON true LEFT JOIN claimed c ON true
         LEFT JOIN sliced s ON true
    """)  # noqa: S608  # column names of our own table
)

REQUEST_CANCEL = Statement(
    text("""
    WITH held AS (
        SELECT order_id, order_queue_status = 'PENDING' AS pending FROM orders
        WHERE order_id = :order_id AND cancel_requested_at IS NULL
        FOR NO KEY UPDATE
    ),
    wished AS (
        UPDATE orders o SET
            cancel_requested_at = clock_timestamp(),
            order_queue_skip_reason = CASE WHEN pending THEN CAST(:skip_reason AS text)
                                      ELSE order_queue_skip_reason END,
            last_seq = last_seq + CASE WHEN pending THEN 2 ELSE 1 END,
            order_queue_status = CASE WHEN pending THEN 'SKIPPED' ELSE order_queue_status END
        FROM held WHERE o.order_id = held.order_id
        RETURNING o.order_id, last_seq, cancel_requested_at, pending AS skipped
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT order_id, last_seq - CASE WHEN skipped THEN 1 ELSE 0 END, cancel_requested_at,
               'cancel_requested', CAST(:cancel_event AS jsonb) FROM wished
        UNION ALL
        SELECT order_id, last_seq, cancel_requested_at, 'order_skipped', CAST(:skip_event AS jsonb)
        FROM wished WHERE skipped
    )
    SELECT EXISTS (SELECT FROM wished) AS requested,
           EXISTS (SELECT FROM orders WHERE order_id = :order_id) AS known
    """)
)

SET_PAUSED = Statement(
    text("""
    WITH changed AS (
        UPDATE orders SET paused_at = CASE WHEN CAST(:paused AS boolean) THEN clock_timestamp() END,
                          last_seq = last_seq + 1
        WHERE order_id = :order_id AND (paused_at IS NULL) = CAST(:paused AS boolean)
        RETURNING order_id, last_seq, paused_at
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT order_id, last_seq, coalesce(paused_at, clock_timestamp()), CAST(:kind AS text),
               CAST(:event AS jsonb)
        FROM changed
    )
    SELECT EXISTS (SELECT FROM changed) AS changed,
           EXISTS (SELECT FROM orders WHERE order_id = :order_id) AS known
    """)
)

CLAIM_ORDERS = Statement(
    text("""
    WITH picked AS (
        SELECT order_id FROM orders WHERE order_queue_status = 'PENDING'
          -- Past its window a paused order is split all the same: so that its slices lapse.
          AND (paused_at IS NULL OR ends_at <= (SELECT clock_timestamp()))
        ORDER BY order_id LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
    ),
    taken AS (
        UPDATE orders o SET
            order_queue_status = 'IN_PROGRESS',
            split_attempt = split_attempt + 1,
            split_executor = CAST(:executor AS text),
            split_lease_until = clock_timestamp() + make_interval(secs => :lease_s),
            last_seq = last_seq + 1
        FROM picked WHERE o.order_id = picked.order_id
        RETURNING o.*
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT order_id, last_seq, clock_timestamp(), 'split_claimed',
               jsonb_build_object('kind', 'split_claimed', 'attempt', split_attempt, 'executor', split_executor)
        FROM taken
    )
    SELECT * FROM taken ORDER BY order_id
    """)
)

SAVE_SPLIT = Statement(
    text("""
    WITH held AS (
        UPDATE orders SET
            order_queue_status = CASE WHEN cancel_requested_at IS NULL THEN 'DONE' ELSE 'SKIPPED' END,
            order_queue_skip_reason = CASE WHEN cancel_requested_at IS NULL THEN NULL
                                      ELSE CAST(:skip_reason AS text) END,
            last_seq = last_seq + 1
        WHERE order_id = :order_id AND order_queue_status = 'IN_PROGRESS' AND split_attempt = :attempt
        RETURNING order_id, last_seq, order_queue_status, strategy_tag, cancel_requested_at IS NULL AS live
    ),
    slices AS (
        INSERT INTO order_slices (order_id, seq, quantity, scheduled_at, chunks, stage)
        SELECT order_id, u.seq, u.quantity, u.scheduled_at, u.chunks, 'SCHEDULED'
        FROM held, unnest(CAST(:seqs AS smallint[]), CAST(:quantities AS int[]),
                          CAST(:instants AS timestamptz[]), CAST(:chunks AS smallint[]))
                   AS u (seq, quantity, scheduled_at, chunks)
        WHERE live
    ),
    ledger AS (
        INSERT INTO order_ledger (order_id, seq, chunk, internal_id, tag, strategy_tag, execution_status, phase,
                                  planned_quantity, quantity, due_at, expires_at)
        SELECT order_id, u.seq, u.chunk, u.internal_id, u.tag, strategy_tag, 'PLANNED', 'PLANNED',
               u.quantity, u.quantity, u.due_at, CAST(:expires_at AS timestamptz)
        FROM held, unnest(CAST(:e_seqs AS smallint[]), CAST(:e_chunks AS smallint[]),
                          CAST(:e_internal_ids AS uuid[]), CAST(:e_tags AS text[]),
                          CAST(:e_quantities AS int[]), CAST(:e_instants AS timestamptz[]))
                   AS u (seq, chunk, internal_id, tag, quantity, due_at)
        WHERE live
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT order_id, last_seq, clock_timestamp(),
               CASE WHEN live THEN 'split_saved' ELSE 'order_skipped' END,
               CASE WHEN live THEN CAST(:plan AS jsonb) ELSE CAST(:skip_event AS jsonb) END
        FROM held
    )
    SELECT live FROM held
    """)
)

# Who claims, while its session lock is held: by then the row is there, and names this life of the server.
ENTER_EXECUTOR = Statement(
    text("""
    INSERT INTO executors (executor, lock_key, server_started_at)
    VALUES (:executor, CAST(:lock_key AS bigint), pg_postmaster_start_time())
    ON CONFLICT (executor) DO UPDATE
        SET server_started_at = excluded.server_started_at, seen_at = clock_timestamp()
    """)
)

FAIL_SPLIT = Statement(
    text("""
    WITH held AS (
        UPDATE orders SET order_queue_status = 'FAILED', failure = CAST(:reason AS text),
            last_seq = last_seq + 1
        WHERE order_id = :order_id AND order_queue_status = 'IN_PROGRESS' AND split_attempt = :attempt
        RETURNING order_id, last_seq
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT order_id, last_seq, clock_timestamp(), 'split_failed', CAST(:event AS jsonb) FROM held
    )
    SELECT EXISTS (SELECT FROM held) AS failed
    """)
)

RECOVER_SPLITS = Statement(
    text("""
    WITH picked AS (
        SELECT order_id FROM orders
        WHERE order_queue_status = 'IN_PROGRESS' AND split_lease_until <= (SELECT clock_timestamp())
        ORDER BY order_id LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED
    ),
    recovered AS (
        UPDATE orders o SET
            order_queue_status = CASE WHEN cancel_requested_at IS NOT NULL THEN 'SKIPPED'
                                      WHEN split_attempt < :attempts_max THEN 'PENDING' ELSE 'FAILED' END,
            order_queue_skip_reason = CASE WHEN cancel_requested_at IS NOT NULL
                                           THEN CAST(:skip_reason AS text) END,
            failure = CASE WHEN cancel_requested_at IS NULL AND split_attempt >= :attempts_max
                           THEN CAST(:failure AS text) END,
            last_seq = last_seq + 1
        FROM picked WHERE o.order_id = picked.order_id
        RETURNING o.*
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT order_id, last_seq, clock_timestamp(),
               CASE order_queue_status WHEN 'SKIPPED' THEN 'order_skipped'
                                       WHEN 'PENDING' THEN 'split_lease_expired' ELSE 'split_failed' END,
               CASE order_queue_status
                   WHEN 'SKIPPED' THEN jsonb_build_object('kind', 'order_skipped',
                                                          'reason', CAST(:skip_reason AS text))
                   WHEN 'PENDING' THEN jsonb_build_object('kind', 'split_lease_expired',
                                                          'attempt', split_attempt)
                   ELSE jsonb_build_object('kind', 'split_failed', 'attempt', split_attempt,
                                           'reason', CAST(:failure AS text)) END
        FROM recovered
    )
    SELECT order_id FROM recovered ORDER BY order_id
    """)
)

# Walks the index of planned executions in its order and stops at the limit: what else is planned, or was, must
# not matter. So there is no other index of them, which the planner might read all of and sort.
CLAIM_EXECUTIONS = Statement(
    text("""
    WITH lets AS MATERIALIZED (SELECT pulse_claimable() AS kill),
    picked AS (
        SELECT l.order_id, l.seq, l.chunk
        FROM order_ledger l JOIN orders o USING (order_id)
        WHERE (SELECT kill FROM lets) IS NOT NULL
          AND CASE WHEN (SELECT kill FROM lets) = '' THEN o.kill_id IS NULL
                   ELSE o.kill_id = (SELECT kill FROM lets) END
          AND l.phase = 'PLANNED' AND l.due_at <= (SELECT clock_timestamp())
          AND l.due_at > (SELECT clock_timestamp()) - make_interval(secs => :late_s)
          AND l.due_at >= CAST(:not_before AS timestamptz)
          AND l.expires_at > (SELECT clock_timestamp())
          AND o.cancel_requested_at IS NULL AND NOT l.cancel_requested AND o.paused_at IS NULL
        ORDER BY l.due_at, l.order_id, l.seq, l.chunk LIMIT :limit
        FOR NO KEY UPDATE OF l, o SKIP LOCKED
    ),
    taken AS (
        UPDATE order_ledger l SET
            phase = 'CLAIMED', execution_status = 'CLAIMED', attempt = attempt + 1,
            executor = CAST(:executor AS text),
            lease_until = clock_timestamp() + make_interval(secs => :lease_s),
            unanswered = false, call_ended_at = NULL, absences = 0, last_absence_at = NULL, reason = NULL
        FROM picked p WHERE l.order_id = p.order_id AND l.seq = p.seq AND l.chunk = p.chunk
        RETURNING l.*
    ),
    staged AS (
        UPDATE order_slices s SET stage = 'IN_PROGRESS', version = version + 1
        FROM (SELECT DISTINCT order_id, seq FROM taken) t
        WHERE s.order_id = t.order_id AND s.seq = t.seq
        RETURNING s.order_id, s.seq, s.version, s.chunks, s.quantity, s.scheduled_at
    ),
    numbered AS (
        UPDATE orders o SET last_seq = last_seq + c.events
        FROM (SELECT order_id, count(*) AS events FROM taken GROUP BY order_id) c
        WHERE o.order_id = c.order_id
        RETURNING o.*, c.events
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT t.order_id,
               n.last_seq - n.events + row_number() OVER (PARTITION BY t.order_id ORDER BY t.seq, t.chunk),
               clock_timestamp(), 'execution_claimed',
               jsonb_build_object('kind', 'execution_claimed', 'seq', t.seq, 'chunk', t.chunk,
                                  'attempt', t.attempt, 'executor', t.executor, 'lease_until', t.lease_until)
        FROM taken t JOIN numbered n USING (order_id)
    )
    SELECT t.*, n.*, s.version AS slice_version, s.chunks AS slice_chunks,
           s.quantity AS slice_quantity, s.scheduled_at AS slice_scheduled_at
    FROM taken t JOIN staged s USING (order_id, seq) JOIN numbered n USING (order_id)
    ORDER BY t.due_at, t.order_id, t.seq, t.chunk
    """)
)


def _book() -> Statement:
    columns = [name for name, _, _ in LEDGER_CHANGES]
    kinds = {name: "text" if kind in ("json", "texts") else kind for name, kind, _ in LEDGER_CHANGES}
    arrays = ", ".join(f"CAST(:l_{name} AS {kinds[name]}[])" for name in columns)

    def value(name: str, kind: str) -> str:
        if kind == "texts":
            return f"{name} = ARRAY(SELECT jsonb_array_elements_text(CAST(c.{name} AS jsonb)))"
        return f"{name} = CAST(c.{name} AS jsonb)" if kind == "json" else f"{name} = c.{name}"

    changes = ", ".join(value(name, kind) for name, kind, _ in LEDGER_CHANGES)
    return Statement(
        text(f"""
    WITH wanted AS (
        SELECT * FROM unnest(CAST(:order_ids AS text[]), CAST(:seqs AS smallint[]), CAST(:versions AS int[]),
                             CAST(:stages AS text[]), CAST(:outcomes AS text[]))
               AS w (order_id, seq, version, stage, outcome)
    ),
    held AS (
        SELECT order_id FROM orders WHERE order_id IN (SELECT order_id FROM wanted)
        ORDER BY order_id FOR NO KEY UPDATE
    ),
    changed AS (
        UPDATE order_slices s SET stage = w.stage, outcome = w.outcome, version = s.version + 1
        FROM wanted w JOIN held USING (order_id)
        WHERE s.order_id = w.order_id AND s.seq = w.seq AND s.version = w.version
        RETURNING s.order_id, s.seq
    ),
    ledger AS (
        UPDATE order_ledger l SET {changes},
               metadata = CASE WHEN c.answer IS NULL THEN l.metadata
                               ELSE l.metadata || CAST(c.answer AS jsonb) END
        FROM unnest(CAST(:l_order_ids AS text[]), CAST(:l_seqs AS smallint[]), CAST(:l_chunks AS smallint[]),
                    CAST(:l_answers AS text[]), {arrays})
                 AS c (order_id, seq, chunk, answer, {", ".join(columns)})
        JOIN changed USING (order_id, seq)
        WHERE l.order_id = c.order_id AND l.seq = c.seq AND l.chunk = c.chunk
    ),
    happened AS (
        SELECT e.order_id, e.kind, e.data, row_number() OVER (PARTITION BY e.order_id ORDER BY e.place) AS rank
        FROM unnest(CAST(:e_order_ids AS text[]), CAST(:e_seqs AS smallint[]), CAST(:e_kinds AS text[]),
                    CAST(:e_data AS text[])) WITH ORDINALITY AS e (order_id, seq, kind, data, place)
        JOIN changed USING (order_id, seq)
    ),
    numbered AS (
        UPDATE orders o SET last_seq = o.last_seq + c.events
        FROM (SELECT order_id, count(*) AS events FROM happened GROUP BY order_id) c
        WHERE o.order_id = c.order_id
        RETURNING o.order_id, o.last_seq - c.events AS before, o.instrument
    ),
    journal AS (
        INSERT INTO order_events (order_id, seq, at, kind, data)
        SELECT h.order_id, n.before + h.rank, clock_timestamp(), h.kind, CAST(h.data AS jsonb)
        FROM happened h JOIN numbered n USING (order_id)
    ),
    traded AS (
        INSERT INTO fills (exchange, broker_order_id, trade_id, trade_day, order_id, seq, chunk,
                           quantity, price, filled_at)
        SELECT split_part(n.instrument, ':', 1), f.broker_order_id, f.trade_id, f.trade_day, f.order_id, f.seq,
               f.chunk, f.quantity, f.price, f.filled_at
        FROM unnest(CAST(:f_order_ids AS text[]), CAST(:f_seqs AS smallint[]), CAST(:f_chunks AS smallint[]),
                    CAST(:f_broker_order_ids AS text[]), CAST(:f_trade_ids AS text[]),
                    CAST(:f_trade_days AS date[]), CAST(:f_quantities AS int[]), CAST(:f_prices AS numeric[]),
                    CAST(:f_filled_ats AS timestamptz[]))
                 AS f (order_id, seq, chunk, broker_order_id, trade_id, trade_day, quantity, price, filled_at)
        JOIN changed USING (order_id, seq) JOIN numbered n USING (order_id)
        ON CONFLICT (exchange, broker_order_id, trade_id, trade_day) DO NOTHING
    ),
    busted AS (
        UPDATE fills f SET busted = true
        FROM unnest(CAST(:b_order_ids AS text[]), CAST(:b_seqs AS smallint[]), CAST(:b_chunks AS smallint[]),
                    CAST(:b_trade_ids AS text[]), CAST(:b_trade_days AS date[]))
                 AS b (order_id, seq, chunk, trade_id, trade_day)
        JOIN changed USING (order_id, seq)
        WHERE f.order_id = b.order_id AND f.seq = b.seq AND f.chunk = b.chunk AND f.trade_id = b.trade_id
          AND f.trade_day = b.trade_day
    ),
    called AS (
        INSERT INTO broker_events (order_id, seq, chunk, broker, operation, began_at, duration_ms,
                                   request, answer, error)
        SELECT c.order_id, c.seq, c.chunk, c.broker, c.operation, c.began_at, c.duration_ms,
               CAST(c.request AS jsonb), CAST(c.answer AS jsonb), c.error
        FROM unnest(CAST(:c_order_ids AS text[]), CAST(:c_seqs AS smallint[]), CAST(:c_chunks AS smallint[]),
                    CAST(:c_brokers AS text[]), CAST(:c_operations AS text[]),
                    CAST(:c_began_ats AS timestamptz[]), CAST(:c_durations AS int[]),
                    CAST(:c_requests AS text[]), CAST(:c_answers AS text[]), CAST(:c_errors AS text[]))
                 AS c (order_id, seq, chunk, broker, operation, began_at, duration_ms, request, answer, error)
        ON CONFLICT (order_id, seq, chunk, operation, began_at) DO NOTHING
    )
    SELECT order_id, seq FROM changed
    """)  # noqa: S608  # column names of our own table
    )


BOOK = _book()

# --- the trading state: each step of it runs under the exclusive half of the halt's lock

_LAST_HALT = "last AS (SELECT * FROM trading_halts ORDER BY id DESC LIMIT 1)"
_TRADING_STATE = "halted, changed_by, reason, changed_at, needs_reconcile, kill_id"


def _set_trading(
    halted: str, needs_reconcile: str, condition: str, before: str = "", kill_id: str = "NULL"
) -> Statement:
    return Statement(
        text(f"""
    WITH {_LAST_HALT},
    {before}
    now_is AS (SELECT coalesce((SELECT needs_reconcile FROM last), false) AS needed)
    INSERT INTO trading_halts (halted, changed_by, reason, changed_at, needs_reconcile, kill_id)
    SELECT {halted}, CAST(:changed_by AS text), CAST(:reason AS text), clock_timestamp(), {needs_reconcile},
           {kill_id}
    FROM now_is WHERE {condition}
    RETURNING {_TRADING_STATE}
    """)  # noqa: S608  # constants of this module
    )


HALT = _set_trading("true", "needed", "true")
HALT_TO_SQUARE_OFF = _set_trading(
    "true",
    "needed",
    "true",
    kill_id="""CASE WHEN NOT needed
        THEN coalesce((SELECT kill_id FROM last),
                      to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMMDD"T"HH24MISSUS')) END""",
)
RESUME = _set_trading("false", "false", "NOT needed")
HALT_FOR_RECONCILE = _set_trading("true", "true", "NOT needed")
CONFIRM_RECONCILED = _set_trading(
    "false",
    "false",
    "NOT needed OR EXISTS (SELECT FROM seen)",
    """
    seen AS (
        UPDATE book_findings f
        SET known = ARRAY(SELECT jsonb_array_elements(f.strangers) ->> 'broker_order_id')
        FROM last WHERE f.complete AND f.noted_at > last.changed_at
        RETURNING 1
    ),
    """,
)

NOTE_FINDINGS = Statement(
    text("""
    INSERT INTO book_findings AS f (complete, strangers, noted_at)
    VALUES (:complete, CAST(:strangers AS jsonb), clock_timestamp())
    ON CONFLICT (the_only) DO UPDATE
        SET complete = excluded.complete, strangers = excluded.strangers, noted_at = excluded.noted_at
    """)
)

NOTICE_RESTORE = Statement(
    text("""
    WITH was AS (SELECT identity FROM store_identity),
    noted AS (
        INSERT INTO store_identity AS s (identity, noted_at)
        SELECT identity, clock_timestamp() FROM (SELECT pulse_store_identity() AS identity) i
        ON CONFLICT (the_only) DO UPDATE SET identity = excluded.identity, noted_at = excluded.noted_at
            WHERE s.identity <> excluded.identity
        RETURNING 1
    ),
    halted AS (
        INSERT INTO trading_halts (halted, changed_by, reason, changed_at, needs_reconcile)
        SELECT true, CAST(:changed_by AS text), CAST(:reason AS text), clock_timestamp(), true FROM noted, was
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM halted) AS restored
    """)
)
# --- housekeeping


_ARCHIVED_PARTS = {
    "slices": ("order_slices", "r.seq"),
    "ledger": ("order_ledger", "r.seq, r.chunk"),
    "fills": ("fills", "r.entry"),
    "journal": ("order_events", "r.seq"),
    "broker_events": ("broker_events", "r.id"),
}
_ARCHIVED_ROWS = ", ".join(
    f"'{name}', (SELECT coalesce(jsonb_agg(to_jsonb(r) ORDER BY {key}), '[]') FROM {table} r"  # noqa: S608
    " WHERE r.order_id = h.order_id)"
    for name, (table, key) in _ARCHIVED_PARTS.items()
)
_ARCHIVED_GONE = ", ".join(
    f"{table}_gone AS (DELETE FROM {table} r USING held h WHERE r.order_id = h.order_id)"  # noqa: S608
    for table in ("orders", "webhook_sightings", *(table for table, _ in _ARCHIVED_PARTS.values()))
)
# Whatever changes an order changes its last_seq with it: where that is not the newest row that is seen here,
# what else is seen of the order is old too.
ARCHIVE = Statement(
    text(f"""
    WITH horizon AS (
        SELECT clock_timestamp() - make_interval(secs => :done_for_s) AS instant
    ),
    page AS MATERIALIZED (
        SELECT order_id, created_at FROM orders WHERE order_id > :after ORDER BY order_id LIMIT :limit
    ),
    old AS MATERIALIZED (
        SELECT order_id FROM page, horizon WHERE created_at < instant
    ),
    held AS (
        SELECT o.*, newest.at AS done_at
        FROM old JOIN orders o USING (order_id),
             LATERAL (SELECT e.seq, e.at FROM order_events e WHERE e.order_id = o.order_id
                      ORDER BY e.seq DESC LIMIT 1) newest
        WHERE o.last_seq = newest.seq AND newest.at < (SELECT instant FROM horizon)
          AND o.order_queue_status IN ('DONE', 'FAILED', 'SKIPPED')
          AND NOT EXISTS (
              SELECT FROM order_ledger l
              WHERE l.order_id = o.order_id
                AND (l.terminal = 'UNRESOLVED' OR (l.terminal IS NULL AND l.execution_status <> 'FILLED'))
          )
        ORDER BY o.order_id FOR UPDATE OF o SKIP LOCKED
    ),
    kept AS (
        INSERT INTO order_archive (order_id, client_id, order_unique_key, created_at, done_at, archived_at,
                                   data)
        SELECT order_id, client_id, order_unique_key, created_at, done_at, clock_timestamp(),
               jsonb_build_object('order', to_jsonb(h) - 'done_at', {_ARCHIVED_ROWS})
        FROM held h
    ),
    carried AS (
        INSERT INTO archived_fills ({FILL_COLUMNS}) SELECT {FILL_COLUMNS} FROM ({fills_of("held")}) f
    ),
    {_ARCHIVED_GONE}
    SELECT (SELECT count(*) FROM held) AS archived, (SELECT max(order_id) FROM old) AS last
    """)  # noqa: S608  # tables of our own
)

FORGET_SIGHTINGS = Statement(
    text("""
    WITH gone AS (
        DELETE FROM webhook_sightings
        WHERE first_seen_at < (SELECT clock_timestamp()) - make_interval(secs => :older_than_s)
        RETURNING 1
    )
    SELECT count(*) AS gone FROM gone
    """)
)
