"""Executors, known by the session locks that they hold.

Revision ID: 0005
Revises: 0004
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE UNLOGGED TABLE executors (
            executor VARCHAR COLLATE "C" NOT NULL,
            lock_key BIGINT NOT NULL,
            server_started_at TIMESTAMP WITH TIME ZONE NOT NULL,
            seen_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            CONSTRAINT pk_executors PRIMARY KEY (executor)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE executors")
