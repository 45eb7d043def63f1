"""Where orders go that have been done for long.

Revision ID: 0010
Revises: 0009
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE order_archive (
            order_id VARCHAR COLLATE "C" NOT NULL,
            client_id VARCHAR COLLATE "C" NOT NULL,
            order_unique_key VARCHAR COLLATE "C" NOT NULL,
            created_at TIMESTAMP WITH TIME ZONE NOT NULL,
            done_at TIMESTAMP WITH TIME ZONE NOT NULL,
            archived_at TIMESTAMP WITH TIME ZONE NOT NULL,
            data JSONB NOT NULL,
            CONSTRAINT pk_order_archive PRIMARY KEY (order_id)
        )
    """)
    op.execute("CREATE INDEX ix_order_archive_key ON order_archive (client_id, order_unique_key)")


def downgrade() -> None:
    op.execute("DROP TABLE order_archive")
