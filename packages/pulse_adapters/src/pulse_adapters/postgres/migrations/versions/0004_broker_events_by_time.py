"""Broker calls by the time at which they began: how many were made since an instant.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_broker_events_began_at ON broker_events USING brin (began_at)")


def downgrade() -> None:
    op.execute("DROP INDEX ix_broker_events_began_at")
