"""Who asked for what, and what came of it.

Revision ID: 0009
Revises: 0008
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE audit_log (
            id BIGINT GENERATED ALWAYS AS IDENTITY,
            at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
            channel VARCHAR COLLATE "C" NOT NULL,
            actor VARCHAR NOT NULL,
            place VARCHAR NOT NULL,
            action VARCHAR NOT NULL,
            outcome VARCHAR COLLATE "C" NOT NULL,
            detail VARCHAR NOT NULL,
            CONSTRAINT pk_audit_log PRIMARY KEY (id)
        )
    """)


def downgrade() -> None:
    op.execute("DROP TABLE audit_log")
