"""The order tables in their final shape."""

# ruff: noqa: E501  (the statements are kept as Postgres reads them)

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = """
CREATE TABLE broker_events (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    order_id VARCHAR COLLATE "C" NOT NULL,
    seq SMALLINT NOT NULL,
    chunk SMALLINT NOT NULL,
    broker VARCHAR COLLATE "C" NOT NULL,
    operation VARCHAR COLLATE "C" NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    duration_ms INTEGER NOT NULL,
    request JSONB NOT NULL,
    answer JSONB,
    error VARCHAR,
    CONSTRAINT pk_broker_events PRIMARY KEY (id),
    CONSTRAINT uq_broker_events_call UNIQUE (order_id, seq, chunk, operation, began_at)
);

CREATE TABLE fills (
    exchange VARCHAR COLLATE "C" NOT NULL,
    broker_order_id VARCHAR COLLATE "C" NOT NULL,
    trade_id VARCHAR COLLATE "C" NOT NULL,
    trade_day DATE NOT NULL,
    order_id VARCHAR COLLATE "C" NOT NULL,
    seq SMALLINT NOT NULL,
    chunk SMALLINT NOT NULL,
    quantity INTEGER NOT NULL,
    price NUMERIC NOT NULL,
    filled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    entry BIGINT GENERATED ALWAYS AS IDENTITY,
    busted BOOLEAN DEFAULT 'false' NOT NULL,
    CONSTRAINT pk_fills PRIMARY KEY (exchange, broker_order_id, trade_id, trade_day)
);

CREATE INDEX ix_fills_execution ON fills (order_id, seq, chunk);

CREATE TABLE order_events (
    order_id VARCHAR COLLATE "C" NOT NULL,
    seq INTEGER NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    kind VARCHAR COLLATE "C" NOT NULL,
    data JSONB NOT NULL,
    position BIGINT GENERATED ALWAYS AS IDENTITY,
    txid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT pk_order_events PRIMARY KEY (order_id, seq)
);

CREATE TABLE order_ledger (
    order_id VARCHAR COLLATE "C" NOT NULL,
    seq SMALLINT NOT NULL,
    chunk SMALLINT NOT NULL,
    internal_id UUID NOT NULL,
    tag VARCHAR COLLATE "C" NOT NULL,
    strategy_tag VARCHAR,
    exchange_id VARCHAR COLLATE "C",
    status VARCHAR COLLATE "C" GENERATED ALWAYS AS (CASE execution_status WHEN 'FILLED' THEN 'TRADED' WHEN 'REJECTED' THEN 'REJECTED' WHEN 'CANCELLED' THEN 'CANCELLED' WHEN 'EXPIRED' THEN 'CANCELLED' ELSE 'OPEN' END) STORED NOT NULL,
    execution_status VARCHAR COLLATE "C" NOT NULL,
    phase VARCHAR COLLATE "C" NOT NULL,
    planned_quantity INTEGER NOT NULL,
    quantity INTEGER NOT NULL,
    cumulative_quantity INTEGER DEFAULT '0' NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    attempt INTEGER DEFAULT '0' NOT NULL,
    executor VARCHAR COLLATE "C",
    lease_until TIMESTAMP WITH TIME ZONE,
    unanswered BOOLEAN DEFAULT 'false' NOT NULL,
    call_ended_at TIMESTAMP WITH TIME ZONE,
    absences INTEGER DEFAULT '0' NOT NULL,
    last_absence_at TIMESTAMP WITH TIME ZONE,
    trigger_pending BOOLEAN DEFAULT 'false' NOT NULL,
    provisional_quantity INTEGER DEFAULT '0' NOT NULL,
    provisional_price NUMERIC,
    cancel_requested BOOLEAN DEFAULT 'false' NOT NULL,
    pending_replace JSONB,
    terminal VARCHAR COLLATE "C",
    reason_code VARCHAR,
    reason VARCHAR,
    flags VARCHAR[] DEFAULT '{}' NOT NULL,
    busted VARCHAR[] DEFAULT '{}' NOT NULL,
    metadata JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_order_ledger PRIMARY KEY (order_id, seq, chunk),
    CONSTRAINT uq_order_ledger_tag UNIQUE (tag),
    CONSTRAINT ck_order_ledger_execution_status CHECK (execution_status IN ('PLANNED', 'CLAIMED', 'UNKNOWN', 'OPEN', 'TRIGGER_PENDING', 'PARTIALLY_FILLED', 'PENDING_CANCEL', 'FILLED', 'CANCELLED', 'REJECTED', 'EXPIRED')),
    CONSTRAINT ck_order_ledger_phase CHECK (phase IN ('PLANNED', 'CLAIMED', 'UNKNOWN', 'LIVE', 'ENDED', 'GIVEN_UP')),
    CONSTRAINT ck_order_ledger_terminal CHECK (terminal IN ('COMPLETED', 'CANCELLED', 'REJECTED', 'EXPIRED', 'FAILED', 'UNRESOLVED', 'WITHDRAWN', 'LAPSED') OR terminal IS NULL)
)
 WITH (fillfactor = 70);

CREATE INDEX ix_order_ledger_due ON order_ledger (due_at) WHERE phase = 'PLANNED';

CREATE INDEX ix_order_ledger_open ON order_ledger (phase, due_at) WHERE phase IN ('CLAIMED', 'UNKNOWN') OR (phase = 'LIVE' AND execution_status <> 'FILLED');

CREATE INDEX ix_order_ledger_overdue ON order_ledger (expires_at) WHERE phase = 'PLANNED';

CREATE INDEX ix_order_ledger_placed ON order_ledger (due_at) INCLUDE (exchange_id) WHERE exchange_id IS NOT NULL;

CREATE TABLE order_slices (
    order_id VARCHAR COLLATE "C" NOT NULL,
    seq SMALLINT NOT NULL,
    quantity INTEGER NOT NULL,
    scheduled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    chunks SMALLINT NOT NULL,
    stage VARCHAR COLLATE "C" NOT NULL,
    outcome VARCHAR COLLATE "C",
    version INTEGER DEFAULT '0' NOT NULL,
    CONSTRAINT pk_order_slices PRIMARY KEY (order_id, seq),
    CONSTRAINT ck_order_slices_stage CHECK (stage IN ('SCHEDULED', 'IN_PROGRESS', 'PROCESSED')),
    CONSTRAINT ck_order_slices_outcome CHECK (outcome IN ('FILLED', 'PARTIALLY_FILLED', 'REJECTED', 'CANCELLED', 'EXPIRED', 'FAILED', 'UNRESOLVED') OR outcome IS NULL)
)
 WITH (fillfactor = 70);

CREATE TABLE orders (
    order_id VARCHAR COLLATE "C" NOT NULL,
    client_id VARCHAR COLLATE "C" NOT NULL,
    order_unique_key VARCHAR COLLATE "C" NOT NULL,
    fingerprint VARCHAR COLLATE "C" NOT NULL,
    fingerprint_version SMALLINT NOT NULL,
    instrument VARCHAR COLLATE "C" NOT NULL,
    side VARCHAR COLLATE "C" NOT NULL,
    total_quantity INTEGER NOT NULL CONSTRAINT ck_orders_quantity CHECK (total_quantity > 0),
    order_type VARCHAR COLLATE "C" NOT NULL,
    limit_price NUMERIC,
    trigger_price NUMERIC,
    product VARCHAR COLLATE "C" NOT NULL,
    validity VARCHAR COLLATE "C" NOT NULL,
    strategy_tag VARCHAR,
    num_splits SMALLINT,
    duration_minutes SMALLINT,
    randomize BOOLEAN,
    start_at TIMESTAMP WITH TIME ZONE,
    starts_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE NOT NULL,
    lot_size INTEGER NOT NULL,
    tick_size NUMERIC NOT NULL,
    freeze_quantity INTEGER,
    units_per_broker_quantity INTEGER NOT NULL,
    source VARCHAR COLLATE "C" NOT NULL,
    request_id VARCHAR COLLATE "C" NOT NULL,
    trace_id VARCHAR COLLATE "C" NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    order_queue_status VARCHAR COLLATE "C" NOT NULL,
    order_queue_skip_reason VARCHAR,
    failure VARCHAR,
    split_attempt INTEGER DEFAULT '0' NOT NULL,
    split_executor VARCHAR COLLATE "C",
    split_lease_until TIMESTAMP WITH TIME ZONE,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    last_seq INTEGER NOT NULL,
    CONSTRAINT pk_orders PRIMARY KEY (order_id),
    CONSTRAINT uq_orders_client_id_order_unique_key UNIQUE (client_id, order_unique_key),
    CONSTRAINT ck_orders_order_queue_status CHECK (order_queue_status IN ('PENDING', 'IN_PROGRESS', 'DONE', 'FAILED', 'SKIPPED'))
)
 WITH (fillfactor = 70);

CREATE INDEX ix_orders_cancelled ON orders (order_id) WHERE cancel_requested_at IS NOT NULL;

CREATE INDEX ix_orders_client ON orders (client_id, order_id);

CREATE INDEX ix_orders_pending ON orders (order_id) WHERE order_queue_status = 'PENDING';

CREATE INDEX ix_orders_splitting ON orders (order_id) WHERE order_queue_status = 'IN_PROGRESS';

CREATE TABLE trading_halts (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    halted BOOLEAN NOT NULL,
    changed_by VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_trading_halts PRIMARY KEY (id)
);

CREATE TABLE webhook_sightings (
    client_id VARCHAR COLLATE "C" NOT NULL,
    body_digest VARCHAR COLLATE "C" NOT NULL,
    order_id VARCHAR COLLATE "C" NOT NULL,
    first_seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_webhook_sightings PRIMARY KEY (client_id, body_digest)
);

CREATE INDEX ix_webhook_sightings_first_seen ON webhook_sightings (first_seen_at)
"""

# A function sees what was committed while it waited for the lock; a plain statement would still see
# its own older snapshot, and could claim after a halt.
_TRADING_OPEN = """
CREATE FUNCTION pulse_trading_open() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(8101);
    RETURN NOT coalesce((SELECT halted FROM trading_halts ORDER BY id DESC LIMIT 1), false);
END $$
"""

# Written out: a migration stays what it was, whatever becomes of tables.py.
_NAMES = (
    "broker_events",
    "fills",
    "order_events",
    "order_ledger",
    "order_slices",
    "orders",
    "trading_halts",
    "webhook_sightings",
)


def upgrade() -> None:
    for statement in _TABLES.split(";"):
        op.execute(statement)
    op.execute(_TRADING_OPEN)


def downgrade() -> None:
    op.execute("DROP FUNCTION pulse_trading_open()")
    for name in reversed(_NAMES):
        op.execute(f"DROP TABLE {name}")
