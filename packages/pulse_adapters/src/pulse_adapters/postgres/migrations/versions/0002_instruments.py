"""What the brokers list, and on which terms since when."""

# ruff: noqa: E501  (the statements are kept as Postgres reads them)

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE instrument_master (
    broker VARCHAR COLLATE "C" NOT NULL,
    token VARCHAR COLLATE "C" NOT NULL,
    valid_from DATE NOT NULL,
    valid_to DATE,
    exchange VARCHAR COLLATE "C" NOT NULL,
    symbol VARCHAR COLLATE "C" NOT NULL,
    broker_symbol VARCHAR COLLATE "C" NOT NULL,
    name VARCHAR NOT NULL,
    kind VARCHAR COLLATE "C" NOT NULL,
    expiry DATE,
    strike NUMERIC,
    tick_size NUMERIC NOT NULL,
    lot_size INTEGER NOT NULL,
    freeze_quantity INTEGER,
    units INTEGER NOT NULL,
    closing_auction BOOLEAN,
    CONSTRAINT pk_instrument_master PRIMARY KEY (broker, token, valid_from),
    CONSTRAINT ck_instrument_master_kind CHECK (kind IN ('EQ', 'FUT', 'CE', 'PE'))
);

CREATE INDEX ix_instrument_master_current ON instrument_master (broker, exchange, symbol) WHERE valid_to IS NULL;

CREATE INDEX ix_instrument_master_underlying ON instrument_master (broker, exchange, name) WHERE valid_to IS NULL AND kind = 'FUT';

CREATE TABLE instrument_syncs (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    broker VARCHAR COLLATE "C" NOT NULL,
    day DATE NOT NULL,
    exchanges VARCHAR[] NOT NULL,
    rows INTEGER NOT NULL,
    added INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    ended INTEGER NOT NULL,
    bad INTEGER NOT NULL,
    synced_at TIMESTAMP WITH TIME ZONE DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT pk_instrument_syncs PRIMARY KEY (id)
);

CREATE INDEX ix_instrument_syncs_broker ON instrument_syncs (broker, id)
"""


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE instrument_syncs")
    op.execute("DROP TABLE instrument_master")
