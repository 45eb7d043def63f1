"""An order that passes the risk gate as it takes a position down is held to that where it is stored.

Revision ID: 0015
Revises: 0014
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# What is held of an instrument and product that a side takes down, and what open orders of that side may still
# fill: of one snapshot, so that a fill is either in the one or in the other. `looked_at` is the instant of
# pulse_order_counts(), which holds the lock by then. `carried` is null where nothing is asked for.
_CLOSING = """
CREATE FUNCTION pulse_closing(
    looked_at timestamptz, of_side text, of_instrument text, of_product text, carried int, since timestamptz
) RETURNS TABLE (closable bigint, closing bigint)
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF carried IS NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT CASE of_side WHEN 'SELL' THEN held.units ELSE -held.units END, working.units INTO closable, closing
    FROM (
        SELECT carried + coalesce(sum(CASE f.side WHEN 'BUY' THEN f.quantity ELSE -f.quantity END), 0) AS units
        FROM (
            -- Order by order of the day's fills, however many orders there are: others wait for it.
            SELECT o.side, f.quantity
            FROM fills f,
                 LATERAL (SELECT * FROM orders o WHERE o.order_id = f.order_id OFFSET 0) o
            WHERE f.filled_at >= since AND NOT f.busted
              AND o.instrument = of_instrument AND o.product = of_product
            UNION ALL
            SELECT f.side, f.quantity FROM archived_fills f
            WHERE f.filled_at >= since AND f.instrument = of_instrument AND f.product = of_product
            UNION ALL
            -- What the broker told beyond its trades, dated as the ledger of fills dates it.
            SELECT p.side, p.units
            FROM (
                SELECT l.order_id, l.seq, l.chunk, o.side, o.created_at,
                       l.provisional_quantity - booked.units AS units
                FROM order_ledger l JOIN orders o USING (order_id),
                     LATERAL (SELECT coalesce(sum(f.quantity), 0)::int AS units FROM fills f
                              WHERE f.order_id = l.order_id AND f.seq = l.seq AND f.chunk = l.chunk
                                AND NOT f.busted) booked
                WHERE l.provisional_quantity > 0 AND l.provisional_quantity > booked.units
                  AND o.instrument = of_instrument AND o.product = of_product
                -- The instant is looked up for the few that the condition leaves.
                OFFSET 0
            ) p
            WHERE coalesce((SELECT max(e.at) FROM order_events e
                            WHERE e.order_id = p.order_id AND (e.data ->> 'seq')::int = p.seq
                              AND (e.data ->> 'chunk')::int = p.chunk
                              AND e.kind IN ('execution_cumulative_reported', 'execution_completed')),
                           p.created_at) >= since
        ) f
    ) held, (
        -- One branch for each partial index.
        SELECT coalesce(sum(w.units), 0) AS units
        FROM (
            SELECT o.total_quantity AS units FROM orders o
            WHERE (o.order_queue_status = 'PENDING' OR o.order_queue_status = 'IN_PROGRESS')
              AND o.instrument = of_instrument AND o.product = of_product AND o.side = of_side
            UNION ALL
            SELECT greatest(0, l.quantity - l.cumulative_quantity)
            FROM order_ledger l JOIN orders o USING (order_id)
            WHERE l.phase = 'PLANNED'
              AND o.instrument = of_instrument AND o.product = of_product AND o.side = of_side
            UNION ALL
            SELECT greatest(0, l.quantity - l.cumulative_quantity)
            FROM order_ledger l JOIN orders o USING (order_id)
            WHERE (l.phase IN ('CLAIMED', 'UNKNOWN') OR (l.phase = 'LIVE' AND l.execution_status <> 'FILLED'))
              AND o.instrument = of_instrument AND o.product = of_product AND o.side = of_side
        ) w
    ) working;
    RETURN NEXT;
END $$
"""


def upgrade() -> None:
    op.execute(_CLOSING)


def downgrade() -> None:
    op.execute("DROP FUNCTION pulse_closing(timestamptz, text, text, text, int, timestamptz)")
