"""The order tables in their final shape."""

from alembic import op

from pulse_adapters.postgres.tables import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A function sees what was committed while it waited for the lock; a plain statement would still see
# its own older snapshot, and could claim after a halt.
_TRADING_OPEN = """
CREATE FUNCTION pulse_trading_open() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(8101);
    RETURN NOT coalesce((SELECT halted FROM trading_halts ORDER BY id DESC LIMIT 1), false);
END $$
"""


def upgrade() -> None:
    metadata.create_all(op.get_bind())
    op.execute(_TRADING_OPEN)


def downgrade() -> None:
    op.execute("DROP FUNCTION pulse_trading_open()")
    metadata.drop_all(op.get_bind())
