"""What an operator needs: paused orders, what is in doubt, halts that a reconcile ends, which store this is.

Revision ID: 0006
Revises: 0005
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


# Which store this is: the server, its timeline, the database, and the table itself; NULL on a standby. A
# promoted standby and a recovery begin a new timeline (told by the file that is written now: pg_control tells
# it only after the next checkpoint); a dump that is restored into the same database makes the table anew.
_IDENTITY = """
CREATE FUNCTION pulse_store_identity() RETURNS text LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    IF pg_is_in_recovery() THEN
        RETURN NULL;
    END IF;
    RETURN (SELECT system_identifier FROM pg_control_system())
        || '-' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
        || '-' || (SELECT oid FROM pg_database WHERE datname = current_database())
        || '-' || CAST(CAST('orders' AS regclass) AS oid);
END $$
"""

# Nothing is claimed in a store that is another one than was noted last, even before anybody has noticed.
_TRADING_OPEN = """
CREATE OR REPLACE FUNCTION pulse_trading_open() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(8101);
    RETURN NOT coalesce((SELECT halted FROM trading_halts ORDER BY id DESC LIMIT 1), false)
       AND coalesce((SELECT identity = pulse_store_identity() FROM store_identity), true);
END $$
"""
_TRADING_OPEN_BEFORE = """
CREATE OR REPLACE FUNCTION pulse_trading_open() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(8101);
    RETURN NOT coalesce((SELECT halted FROM trading_halts ORDER BY id DESC LIMIT 1), false);
END $$
"""


def upgrade() -> None:
    op.execute("ALTER TABLE orders ADD COLUMN paused_at TIMESTAMP WITH TIME ZONE")
    op.execute("ALTER TABLE trading_halts ADD COLUMN needs_reconcile BOOLEAN DEFAULT 'false' NOT NULL")
    op.execute("""
        CREATE INDEX ix_order_ledger_in_doubt ON order_ledger (due_at)
        WHERE phase = 'UNKNOWN' OR terminal = 'UNRESOLVED' OR 'UNPLANNED' = ANY (flags)
              OR 'FOUND_BY_HAND' = ANY (flags)
    """)
    op.execute("""
        CREATE TABLE book_findings (
            the_only BOOLEAN DEFAULT 'true' NOT NULL,
            complete BOOLEAN NOT NULL,
            strangers JSONB NOT NULL,
            known VARCHAR[] DEFAULT '{}' NOT NULL,
            noted_at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT pk_book_findings PRIMARY KEY (the_only),
            CONSTRAINT ck_book_findings_the_only CHECK (the_only)
        )
    """)
    op.execute("""
        CREATE TABLE store_identity (
            the_only BOOLEAN DEFAULT 'true' NOT NULL,
            identity VARCHAR NOT NULL,
            noted_at TIMESTAMP WITH TIME ZONE NOT NULL,
            CONSTRAINT pk_store_identity PRIMARY KEY (the_only),
            CONSTRAINT ck_store_identity_the_only CHECK (the_only)
        )
    """)
    op.execute(_IDENTITY)
    op.execute(_TRADING_OPEN)


def downgrade() -> None:
    op.execute(_TRADING_OPEN_BEFORE)
    op.execute("DROP FUNCTION pulse_store_identity()")
    op.execute("DROP TABLE store_identity")
    op.execute("DROP TABLE book_findings")
    op.execute("DROP INDEX ix_order_ledger_in_doubt")
    op.execute("ALTER TABLE trading_halts DROP COLUMN needs_reconcile")
    op.execute("ALTER TABLE orders DROP COLUMN paused_at")
