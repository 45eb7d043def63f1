"""The last prices for the risk gate, and the strategies that are to run.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE market_prices (
            instrument VARCHAR COLLATE "C" NOT NULL,
            at TIMESTAMP WITH TIME ZONE NOT NULL,
            last_price NUMERIC NOT NULL,
            minute_vwap NUMERIC,
            lower_circuit NUMERIC,
            upper_circuit NUMERIC,
            CONSTRAINT pk_market_prices PRIMARY KEY (instrument)
        ) WITH (fillfactor = 50)
    """)
    op.execute("""
        CREATE TABLE strategies (
            name VARCHAR COLLATE "C" NOT NULL,
            kind VARCHAR COLLATE "C" NOT NULL,
            instruments VARCHAR[] NOT NULL,
            parameters JSONB NOT NULL,
            mode VARCHAR COLLATE "C" NOT NULL,
            wanted VARCHAR COLLATE "C" NOT NULL,
            version INTEGER NOT NULL,
            changed_by VARCHAR NOT NULL,
            changed_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            state VARCHAR COLLATE "C" NOT NULL,
            detail VARCHAR,
            reported_at TIMESTAMP WITH TIME ZONE,
            CONSTRAINT pk_strategies PRIMARY KEY (name),
            CONSTRAINT ck_strategies_mode CHECK (mode IN ('live', 'paper')),
            CONSTRAINT ck_strategies_wanted CHECK (wanted IN ('RUNNING', 'STOPPED')),
            CONSTRAINT ck_strategies_state CHECK (state IN ('RUNNING', 'STOPPED', 'FAILED'))
        )
    """)
    op.execute("""
        CREATE TABLE strategy_checkpoints (
            name VARCHAR COLLATE "C" NOT NULL,
            version INTEGER NOT NULL,
            at TIMESTAMP WITH TIME ZONE NOT NULL,
            state JSONB NOT NULL,
            saved_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            CONSTRAINT pk_strategy_checkpoints PRIMARY KEY (name)
        ) WITH (fillfactor = 50)
    """)


def downgrade() -> None:
    for table in ("strategy_checkpoints", "strategies", "market_prices"):
        op.execute(f"DROP TABLE {table}")
