"""The risk gate: limits that count orders are held where orders are stored, and a kill may square off.

Acceptances take the halt's lock shared, as claims do, so that nothing is stored once a halt was answered.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Whether an order is taken: without a kill while trading goes on, and of a kill while that is in force.
_ACCEPTING = """
CREATE FUNCTION pulse_accepting(kill text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(8101);
    IF kill IS NULL THEN
        RETURN NOT coalesce((SELECT halted FROM trading_halts ORDER BY id DESC LIMIT 1), false);
    END IF;
    RETURN coalesce((SELECT kill_id = kill FROM trading_halts ORDER BY id DESC LIMIT 1), false);
END $$
"""
# What may be claimed: null for nothing, an empty text for what is of no kill, else the kill in force.
_CLAIMABLE = """
CREATE FUNCTION pulse_claimable() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    last record;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(8101);
    IF NOT coalesce((SELECT identity = pulse_store_identity() FROM store_identity), true) THEN
        RETURN NULL;
    END IF;
    SELECT halted, kill_id INTO last FROM trading_halts ORDER BY id DESC LIMIT 1;
    RETURN CASE WHEN last.halted THEN last.kill_id ELSE '' END;
END $$
"""
# One after another where `hold` is set: whoever comes next sees what was stored before. An order id begins with
# the clock of the process that made it, which is trusted to an hour; its instant is that of the store.
_COUNTS = """
CREATE FUNCTION pulse_order_counts(
    wanted boolean, hold boolean, count_open boolean, recent_max int, recent_window interval,
    same_window interval, same_client text, same_print text, same_tag text
) RETURNS TABLE (
    counted_at timestamptz, open_orders int, recent_orders timestamptz[], same_orders timestamptz[]
)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    longest interval := greatest(recent_window, same_window) + interval '1 hour';
    first_ms bigint;
    first_id text;
BEGIN
    IF NOT wanted THEN
        RETURN;
    END IF;
    IF hold THEN
        PERFORM pg_advisory_xact_lock(8102);
    END IF;
    counted_at := clock_timestamp();
    first_ms := floor(extract(epoch FROM counted_at - longest) * 1000);
    first_id := 'ord_' || (
        SELECT string_agg(
            substr('0123456789abcdefghjkmnpqrstvwxyz', ((first_ms >> (45 - 5 * i)) & 31)::int + 1, 1),
            '' ORDER BY i
        )
        FROM generate_series(0, 9) AS i
    );
    IF count_open THEN
        open_orders := (SELECT count(*) FROM (
            SELECT o.order_id FROM orders o
            WHERE o.order_queue_status = 'PENDING' OR o.order_queue_status = 'IN_PROGRESS'
            UNION
            SELECT l.order_id FROM order_ledger l WHERE l.phase = 'PLANNED'
            UNION
            SELECT l.order_id FROM order_ledger l
            WHERE l.phase IN ('CLAIMED', 'UNKNOWN') OR (l.phase = 'LIVE' AND l.execution_status <> 'FILLED')
        ) u);
    END IF;
    IF recent_max IS NOT NULL THEN
        recent_orders := ARRAY(
            SELECT o.created_at FROM orders o
            WHERE o.order_id >= first_id COLLATE "C" AND o.created_at > counted_at - recent_window
            ORDER BY o.created_at DESC LIMIT recent_max
        );
    END IF;
    IF same_window IS NOT NULL THEN
        same_orders := ARRAY(
            SELECT o.created_at FROM orders o
            WHERE o.order_id >= first_id COLLATE "C" AND o.created_at > counted_at - same_window
              AND o.fingerprint = same_print AND (same_tag IS NOT NULL OR o.client_id = same_client)
            ORDER BY o.created_at DESC
        );
    END IF;
    RETURN NEXT;
END $$
"""


def upgrade() -> None:
    op.execute('ALTER TABLE orders ADD COLUMN kill_id VARCHAR COLLATE "C"')
    op.execute('ALTER TABLE trading_halts ADD COLUMN kill_id VARCHAR COLLATE "C"')
    op.execute(_ACCEPTING)
    op.execute(_CLAIMABLE)
    op.execute(_COUNTS)


def downgrade() -> None:
    op.execute(
        "DROP FUNCTION pulse_order_counts(boolean, boolean, boolean, int, interval, interval, text, text, text)"
    )
    op.execute("DROP FUNCTION pulse_claimable()")
    op.execute("DROP FUNCTION pulse_accepting(text)")
    op.execute("ALTER TABLE trading_halts DROP COLUMN kill_id")
    op.execute("ALTER TABLE orders DROP COLUMN kill_id")
