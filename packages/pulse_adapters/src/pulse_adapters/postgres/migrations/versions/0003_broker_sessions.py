"""Sessions at brokers, sealed."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE broker_sessions (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    broker VARCHAR COLLATE "C" NOT NULL,
    user_id VARCHAR COLLATE "C" NOT NULL,
    sealed_token BYTEA NOT NULL,
    valid_until TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_broker_sessions PRIMARY KEY (id)
);

CREATE INDEX ix_broker_sessions_newest ON broker_sessions (broker, id)
"""


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE broker_sessions")
