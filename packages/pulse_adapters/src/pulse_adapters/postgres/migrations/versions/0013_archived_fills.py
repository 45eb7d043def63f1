"""Positions outlive their orders: what counts of the fills of archived ones, those of earlier archives too.

Revision ID: 0013
Revises: 0012
"""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE archived_fills (
            id BIGINT GENERATED ALWAYS AS IDENTITY NOT NULL,
            order_id VARCHAR COLLATE "C" NOT NULL,
            seq SMALLINT NOT NULL,
            chunk SMALLINT NOT NULL,
            trade_id VARCHAR COLLATE "C" NOT NULL,
            client_id VARCHAR COLLATE "C" NOT NULL,
            strategy_tag VARCHAR,
            instrument VARCHAR COLLATE "C" NOT NULL,
            product VARCHAR COLLATE "C" NOT NULL,
            side VARCHAR COLLATE "C" NOT NULL,
            source VARCHAR COLLATE "C" NOT NULL,
            quantity INTEGER NOT NULL,
            value NUMERIC,
            filled_at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT pk_archived_fills PRIMARY KEY (id)
        )
    """)
    op.execute("""
        WITH archived AS (
            SELECT order_id, client_id, created_at, data, data -> 'order' AS o FROM order_archive
        ),
        trades AS (
            SELECT a.order_id, f.seq, f.chunk, f.trade_id, f.quantity, f.price * f.quantity AS value,
                   f.filled_at
            FROM archived a, jsonb_to_recordset(a.data -> 'fills')
                AS f (seq smallint, chunk smallint, trade_id text, quantity int, price numeric,
                      filled_at timestamptz, busted boolean)
            WHERE NOT f.busted
        ),
        beyond AS (
            SELECT a.order_id, l.seq, l.chunk, '' AS trade_id,
                   l.provisional_quantity - booked.units AS quantity,
                   CASE WHEN l.provisional_price <> 0 THEN l.provisional_price * l.provisional_quantity
                        ELSE booked.value * l.provisional_quantity / nullif(booked.units, 0) END
                       - booked.value AS value,
                   coalesce((SELECT max(e.at)
                             FROM jsonb_to_recordset(a.data -> 'journal')
                                 AS e (at timestamptz, kind text, data jsonb)
                             WHERE e.kind IN ('execution_cumulative_reported', 'execution_completed')
                               AND (e.data ->> 'seq')::int = l.seq AND (e.data ->> 'chunk')::int = l.chunk),
                            a.created_at) AS filled_at
            FROM archived a, jsonb_to_recordset(a.data -> 'ledger')
                AS l (seq smallint, chunk smallint, provisional_quantity int, provisional_price numeric),
                LATERAL (SELECT coalesce(sum(t.quantity), 0)::int AS units, coalesce(sum(t.value), 0) AS value
                         FROM trades t
                         WHERE t.order_id = a.order_id AND t.seq = l.seq AND t.chunk = l.chunk) booked
            WHERE l.provisional_quantity > booked.units
        )
        INSERT INTO archived_fills (order_id, seq, chunk, trade_id, client_id, strategy_tag, instrument,
                                    product, side, source, quantity, value, filled_at)
        SELECT f.order_id, f.seq, f.chunk, f.trade_id, a.client_id, o ->> 'strategy_tag', o ->> 'instrument',
               o ->> 'product', o ->> 'side', o ->> 'source', f.quantity, f.value, f.filled_at
        FROM (SELECT * FROM trades UNION ALL SELECT * FROM beyond) f JOIN archived a USING (order_id)
    """)
    op.execute("CREATE INDEX ix_archived_fills_filled_at ON archived_fills (filled_at)")
    op.execute("CREATE INDEX ix_fills_filled_at ON fills (filled_at)")
    op.execute(
        "CREATE INDEX ix_order_ledger_provisional ON order_ledger (order_id) WHERE provisional_quantity > 0"
    )


def downgrade() -> None:
    op.execute("DROP INDEX ix_order_ledger_provisional")
    op.execute("DROP INDEX ix_fills_filled_at")
    op.execute("DROP TABLE archived_fills")
