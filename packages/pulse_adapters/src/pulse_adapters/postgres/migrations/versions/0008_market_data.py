"""Ticks by day, what was lost of them, and candles.

The days' partitions are made by the processes: `market_ticks_2026_01_20` and so on.

Revision ID: 0008
Revises: 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE tick_instruments (
            token INTEGER GENERATED ALWAYS AS IDENTITY,
            instrument VARCHAR COLLATE "C" NOT NULL,
            CONSTRAINT pk_tick_instruments PRIMARY KEY (token),
            CONSTRAINT uq_tick_instruments_instrument UNIQUE (instrument)
        )
    """)
    op.execute("""
        CREATE TABLE market_ticks (
            timestamp TIMESTAMP WITH TIME ZONE NOT NULL,
            token INTEGER NOT NULL,
            seq BIGINT NOT NULL,
            ltp NUMERIC NOT NULL,
            bid NUMERIC,
            ask NUMERIC,
            volume BIGINT NOT NULL,
            day_low NUMERIC,
            day_high NUMERIC,
            CONSTRAINT pk_market_ticks PRIMARY KEY (timestamp, token, seq)
        ) PARTITION BY RANGE (timestamp)
    """)
    op.execute("""
        CREATE TABLE tick_recordings (
            recording INTEGER GENERATED ALWAYS AS IDENTITY,
            source VARCHAR NOT NULL,
            started_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            ended_at TIMESTAMP WITH TIME ZONE,
            received BIGINT,
            CONSTRAINT pk_tick_recordings PRIMARY KEY (recording)
        )
    """)
    op.execute("""
        CREATE TABLE tick_batches (
            recording INTEGER NOT NULL,
            first BIGINT NOT NULL,
            rows INTEGER NOT NULL,
            stored_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            CONSTRAINT pk_tick_batches PRIMARY KEY (recording, first)
        )
    """)
    op.execute("""
        CREATE TABLE candles (
            instrument VARCHAR COLLATE "C" NOT NULL,
            minutes SMALLINT NOT NULL,
            start TIMESTAMP WITH TIME ZONE NOT NULL,
            open NUMERIC NOT NULL,
            high NUMERIC NOT NULL,
            low NUMERIC NOT NULL,
            close NUMERIC NOT NULL,
            volume BIGINT NOT NULL,
            CONSTRAINT pk_candles PRIMARY KEY (instrument, minutes, start)
        )
    """)


def downgrade() -> None:
    for table in ("candles", "tick_batches", "tick_recordings", "market_ticks", "tick_instruments"):
        op.execute(f"DROP TABLE {table}")
