"""Planned executions in the order in which they are claimed, and by no other index.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DROP INDEX ix_order_ledger_overdue")
    op.execute("DROP INDEX ix_order_ledger_due")
    op.execute(
        "CREATE INDEX ix_order_ledger_due ON order_ledger (due_at, order_id, seq, chunk)"
        " WHERE phase = 'PLANNED'"
    )


def downgrade() -> None:
    op.execute("DROP INDEX ix_order_ledger_due")
    op.execute("CREATE INDEX ix_order_ledger_due ON order_ledger (due_at) WHERE phase = 'PLANNED'")
    op.execute("CREATE INDEX ix_order_ledger_overdue ON order_ledger (expires_at) WHERE phase = 'PLANNED'")
