"""A strategy may count with a capital of its own.

Revision ID: 0014
Revises: 0013
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ALTER TABLE strategies
        ADD COLUMN capital NUMERIC CONSTRAINT ck_strategies_capital CHECK (capital > 0)
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE strategies DROP COLUMN capital")
